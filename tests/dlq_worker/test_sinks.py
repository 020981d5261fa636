"""Alerts over real HTTP, and through apprise; what they carry and what they never carry."""

import asyncio
import hashlib
import hmac
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from dlq_stories import NOW, Facts
from http_receiver import Receiver, receiving

from chassis.facts import Noticed
from dlq_worker.notices import Notice
from dlq_worker.sinks.alertmanager import AlertmanagerSink, alert_of
from dlq_worker.sinks.apprise import AppriseSink
from dlq_worker.sinks.lane import Lane
from dlq_worker.sinks.log import LogSink
from dlq_worker.sinks.port import SinkFailed
from dlq_worker.sinks.webhook import WebhookSink
from dlq_worker.statuses import Severity
from messaging.errors import ConfigurationError

NOTICE = Notice(
    alert_id=7,
    key="saga|order-42|pay",
    round=1,
    is_resolved=False,
    severity=Severity.CRITICAL,
    title="compensation exhausted: step pay of saga Order order-42",
    summary="the compensation still fails after 5 replays",
    reason="compensation_exhausted",
    signature="compensation_exhausted PaymentService pay: gateway <n> said <n>",
    saga_id="order-42",
    saga_type="Order",
    step_name="pay",
    error="gateway 17 said 503",
    letter_id=3,
    letters=1,
    created_at=NOW,
    sent_at=NOW,
    closed_at=None,
    commands=("saga dlq show 3", "saga dlq retry 3"),
    link="https://console.example/dead-letters/3",
)
RESOLVED = replace(NOTICE, round=2, is_resolved=True, closed_at=NOW + timedelta(minutes=5))

# apprise loads a module of the standard library that Python 3.13 no longer has.
of_apprise = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def webhook(url: str, *, secret: str | None = None, timeout: float = 5) -> WebhookSink:
    return WebhookSink(url, secret=secret, timeout=timeout, clock=lambda: 1_700_000_000.9)


async def test_a_webhook_gets_a_signed_post_that_says_how_to_go_on(receiver: Receiver) -> None:
    await webhook(f"{receiver.url}/hook?token=1", secret="tops3cret").send(NOTICE)
    (post,) = receiver.posts
    assert post.path == "/hook?token=1"
    assert post.headers["Content-Type"] == "application/json"
    assert post.headers["Idempotency-Key"] == "7-1"
    timestamp = post.headers["Saga-Timestamp"]
    signed = timestamp.encode() + b"." + post.body
    expected = hmac.new(b"tops3cret", signed, hashlib.sha256).hexdigest()
    assert (timestamp, post.headers["Saga-Signature"]) == ("1700000000", f"v1={expected}")
    told = post.json
    assert (told["status"], told["severity"]) == ("firing", "critical")
    assert (told["saga_id"], told["step_name"], told["dead_letter_id"]) == ("order-42", "pay", 3)
    assert told["commands"] == ["saga dlq show 3", "saga dlq retry 3"]
    assert told["link"] == "https://console.example/dead-letters/3"


async def test_without_a_secret_nothing_is_signed(receiver: Receiver) -> None:
    await webhook(receiver.url).send(RESOLVED)
    (post,) = receiver.posts
    assert "Saga-Signature" not in post.headers
    assert post.json["status"] == "resolved"


@pytest.mark.parametrize(
    ("code", "is_final"), [(500, False), (503, False), (429, False), (400, True), (404, True)]
)
async def test_an_answer_that_is_no_success_is_a_failure(
    code: int, is_final: bool, receiver: Receiver
) -> None:
    receiver.answers = [code]
    with pytest.raises(SinkFailed, match=rf"127\.0\.0\.1 answered {code}") as failure:
        await webhook(receiver.url).send(NOTICE)
    assert failure.value.is_final is is_final


@pytest.mark.parametrize("code", [301, 302, 307])
async def test_a_redirect_is_not_followed(code: int, receiver: Receiver) -> None:
    receiver.answers = [code]
    with pytest.raises(SinkFailed, match=str(code)):
        await webhook(receiver.url).send(NOTICE)
    assert len(receiver.posts) == 1


async def test_a_receiver_that_is_not_there_is_named_without_its_secret_path() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/secret-token"
        with pytest.raises(SinkFailed, match=r"127\.0\.0\.1 is out of reach") as failure:
            await webhook(url).send(NOTICE)
    assert "secret-token" not in str(failure.value)


async def test_a_receiver_that_hangs_can_be_left_and_blocks_one_thread_only(
    receiver: Receiver,
) -> None:
    receiver.gate.clear()
    sink = webhook(receiver.url, timeout=20)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await sink.send(NOTICE)
    with pytest.raises(SinkFailed, match="still being sent"):
        await sink.send(NOTICE)


async def test_an_answer_that_drips_does_not_hold_whoever_waits() -> None:
    server = await asyncio.start_server(_drip, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await webhook(f"http://127.0.0.1:{port}", timeout=20).send(NOTICE)
        assert time.monotonic() - began < 5


async def _drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        for byte in b"HTTP/1.1 200 OK\r\n" * 100:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.05)  # this is what it is to drip
    except (ConnectionError, asyncio.CancelledError):
        pass
    finally:
        writer.close()


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
async def test_only_http_is_spoken(url: str) -> None:
    with pytest.raises(SinkFailed):
        await webhook(url).send(NOTICE)


async def test_alertmanager_gets_an_alert_that_stands_until_it_is_resolved(
    receiver: Receiver,
) -> None:
    sink = AlertmanagerSink(f"{receiver.url}/am/", timeout=5)
    await sink.send(NOTICE)
    await sink.send(RESOLVED)
    assert {post.path for post in receiver.posts} == {"/am/api/v2/alerts"}
    ((firing,), (resolved,)) = [post.json for post in receiver.posts]
    assert firing["labels"] == resolved["labels"]
    assert firing["labels"]["alertname"] == "SagaNeedsPerson"
    assert firing["startsAt"] == NOW.isoformat()
    assert firing["endsAt"] == (NOW + timedelta(days=7)).isoformat()
    assert resolved["endsAt"] == (NOW + timedelta(minutes=5)).isoformat()
    assert firing["generatorURL"] == "https://console.example/dead-letters/3"


def test_an_alert_about_many_messages_names_no_saga() -> None:
    grouped = replace(NOTICE, key="signature|bad_json", severity=Severity.WARNING)
    labels = alert_of(grouped)["labels"]
    assert labels["alertname"] == "SagaDeadLetters"
    assert "saga_id" not in labels


@pytest.mark.prometheus
def test_amtool_would_group_by_our_label_names(tmp_path: Path) -> None:
    """Alertmanager refuses label names that are no identifiers."""
    labels = alert_of(NOTICE)["labels"]
    route = {"receiver": "r", "group_by": sorted(labels)}
    config = tmp_path / "alertmanager.json"
    config.write_text(json.dumps({"route": route, "receivers": [{"name": "r"}]}))
    subprocess.run(["amtool", "check-config", config], check=True, capture_output=True)


async def test_the_log_says_who_is_needed_where(facts: Facts) -> None:
    await LogSink(facts).send(NOTICE)
    (fact,) = facts.seen
    assert isinstance(fact, Noticed)
    assert fact.level == "error"
    assert fact.message == f"a person is needed: {NOTICE.title}"
    assert fact.details["next"] == "saga dlq show 3 | saga dlq retry 3"


@of_apprise
async def test_apprise_delivers_to_whatever_its_url_names(receiver: Receiver) -> None:
    sink = AppriseSink(receiver.url.replace("http://", "json://") + "/topic")
    await sink.send(NOTICE)
    (post,) = receiver.posts
    assert post.json["title"] == f"[critical] {NOTICE.title}"
    assert "saga dlq retry 3" in post.json["message"]
    assert post.json["type"] == "failure"


@of_apprise
async def test_apprise_that_cannot_deliver_is_a_failure(receiver: Receiver) -> None:
    receiver.answers = [500]
    with pytest.raises(SinkFailed):
        await AppriseSink(receiver.url.replace("http://", "json://")).send(RESOLVED)


@of_apprise
def test_an_apprise_url_that_cannot_be_used_is_refused_without_showing_it() -> None:
    with pytest.raises(ConfigurationError, match="nonsense://") as error:
        AppriseSink("nonsense://user:s3cret@host")
    assert "s3cret" not in str(error.value)


@of_apprise
def test_a_sink_is_named_without_its_secret() -> None:
    name = AppriseSink("json://user:s3cret@host").name
    assert name.startswith("apprise-json-")
    assert "s3cret" not in name


async def test_what_a_blocking_call_raises_comes_back() -> None:
    def fail() -> None:
        raise KeyError("x")

    lane = Lane("lane")
    with pytest.raises(KeyError):
        await lane.run(fail)
    await lane.run(lambda: None)
