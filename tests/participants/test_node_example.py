"""The participant in Node.js keeps the same contract as ours: a real process, a real broker."""

import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from messaging.brokers import broker_for
from messaging.contract import Effect, ReplyType
from messaging.topology import Names, TopologyMode, installation
from participants.examples.books import balance, create_missing
from participants.guard import TOO_LATE
from participants.sql_inbox import SqlInbox
from tests.conformance.worlds import eventually
from tests.participants.desk import COMPENSATION, SECONDS, Desk, command

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "node"
INSTALL_SECONDS = 240.0
SEND, CANCEL = (
    "NotificationService.SendOrderConfirmation",
    "NotificationService.SendCancellationNotice",
)

pytestmark = [
    pytest.mark.node,
    pytest.mark.rabbitmq,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.timeout(INSTALL_SECONDS + 120),
]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example with its packages, in a folder of its own."""
    missing = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
    if missing and os.environ.get("CI"):
        pytest.fail(f"{' and '.join(missing)} not found")
    if missing:
        pytest.skip(f"{' and '.join(missing)} not found")
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "notification-service.mjs"):
        shutil.copy(EXAMPLE / name, folder)
    quiet = ("--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts")
    done = subprocess.run(
        ["npm", "install", *quiet],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=INSTALL_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
async def desk(names: Names, amqp_url: str) -> AsyncIterator[Desk]:
    async with broker_for(
        amqp_url,
        names=names,
        topology=installation(names, ["NotificationService"]),
        mode=TopologyMode.DECLARE,
        app_id="tests",
    ) as broker:
        yield await Desk.open(names, broker)


@contextmanager
def service(folder: Path, names: Names, amqp: str, inbox: str) -> Iterator[subprocess.Popen[str]]:
    env = {
        **os.environ,
        "SAGA_AMQP_URL": amqp,
        "SAGA_INBOX_URL": inbox,
        "SAGA_NAMESPACE": names.namespace,
    }
    process = subprocess.Popen(
        ["node", "notification-service.mjs"],
        cwd=folder,
        env=env,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def node(
    installed: Path, desk: Desk, amqp_url: str, empty_database_url: str
) -> Iterator[subprocess.Popen[str]]:
    """The service at work."""
    with service(installed, desk.names, amqp_url, empty_database_url) as process:
        yield process


def waits_for_table(url: str) -> Callable[[], bool]:
    """Whether an insert waits for the one who has locked the ledger."""
    query = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'relation' AND NOT granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )

    def is_so() -> bool:
        with psycopg.connect(url) as connection:
            return connection.execute(query).fetchone() == (1,)

    return is_so


def notifications(url: str) -> list[tuple[str, str]]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT saga_id, kind FROM notifications ORDER BY id")
        return [(saga_id, kind) for saga_id, kind in rows]


@pytest.mark.usefixtures("node")
async def test_an_action_is_executed_and_a_repetition_gets_the_same_answer(
    desk: Desk, empty_database_url: str
) -> None:
    asked = command(SEND, attempt=2, order_id="42")
    first, again = await desk.ask(asked), await desk.ask(command(SEND, attempt=3, order_id="42"))
    assert first.type is ReplyType.STEP_COMPLETED
    assert first.result == again.result == {"confirmation_id": f"C-{asked.command_id}"}
    assert (first.command_id, first.attempt, again.attempt) == (asked.command_id, 2, 3)
    assert notifications(empty_database_url) == [("order-1", "confirmation")]


@pytest.mark.usefixtures("node")
async def test_a_compensation_undoes_once_and_its_action_comes_too_late(
    desk: Desk, empty_database_url: str
) -> None:
    undo = command(CANCEL, direction=COMPENSATION, order_id="42")
    await desk.ask(command(SEND, order_id="42"))
    replies = [await desk.ask(undo), await desk.ask(undo)]
    refused = await desk.ask(command(SEND, order_id="42"))
    assert {reply.type for reply in replies} == {ReplyType.COMPENSATION_COMPLETED}
    assert (refused.type, refused.error) == (ReplyType.STEP_FAILED, TOO_LATE)
    assert notifications(empty_database_url) == [
        ("order-1", "confirmation"),
        ("order-1", "cancellation"),
    ]


@pytest.mark.usefixtures("node")
async def test_a_compensation_before_its_action_leaves_a_tombstone(
    desk: Desk, empty_database_url: str
) -> None:
    undone = await desk.ask(command(CANCEL, direction=COMPENSATION, order_id="42"))
    refused = await desk.ask(command(SEND, order_id="42"))
    assert undone.type is ReplyType.COMPENSATION_COMPLETED
    assert (refused.type, refused.effect) == (ReplyType.STEP_FAILED, Effect.NONE)
    assert notifications(empty_database_url) == []


@pytest.mark.usefixtures("node")
async def test_a_reply_tells_the_epoch_of_its_step_and_that_of_its_command(desk: Desk) -> None:
    asked, undo = command(SEND, order_id="42"), command(CANCEL, direction=COMPENSATION)
    told = [await desk.ask(replace(asked, epoch=epoch)) for epoch in ("2", "3")]
    told.append(await desk.ask(replace(undo, epoch="1")))
    assert [reply.epoch for reply in told] == ["2", "2 3", "2 1"]


@pytest.mark.usefixtures("node")
async def test_failures_are_answered_by_their_kind(desk: Desk, empty_database_url: str) -> None:
    trial = {"order_id": "42", "fail_at": "act"}
    failed = [await desk.ask(command(SEND, **trial)) for _ in range(2)]
    await desk.ask(command(SEND, "order-2", order_id="42"))
    trial = {"order_id": "42", "fail_compensation": {"act": 1}}
    undone = [
        await desk.ask(command(CANCEL, "order-2", direction=COMPENSATION, attempt=attempt, **trial))
        for attempt in (1, 2)
    ]
    unforeseen = await desk.ask(command(SEND, "order-3", order_id="\0"))
    assert {reply.error for reply in failed} == {"act was asked to fail"}
    assert [reply.type for reply in undone] == [
        ReplyType.COMPENSATION_FAILED,
        ReplyType.COMPENSATION_COMPLETED,
    ]
    assert (unforeseen.retryable, unforeseen.effect) == (True, Effect.UNKNOWN)


@pytest.mark.usefixtures("node")
@pytest.mark.parametrize(
    ("destination", "body", "reason"),
    [
        (SEND, b"{no json", "bad_json"),
        (SEND, b"\xff{}", "bad_json"),
        (SEND, b"[]", "not_an_object"),
        (SEND, b'{"saga_id": "a/b", "step_name": "x"}', "bad_field"),
        (SEND, b'{"saga_id": "a"}', "bad_field"),
        (CANCEL, b'{"saga_id": "a", "step_name": "x"}', "unexpected_direction"),
        ("NotificationService.toString", b'{"saga_id": "a", "step_name": "x"}', "unknown_command"),
    ],
)
async def test_a_bad_message_is_set_aside_and_the_next_one_is_answered(
    desk: Desk, destination: str, body: bytes, reason: str
) -> None:
    await desk.send_body(destination, body)
    letter = await desk.dead_letter()
    assert letter.headers["saga-reason"] == reason
    assert letter.routing_key == f"rejected.{desk.names.commands_for('NotificationService')}"
    assert letter.body == body
    assert (await desk.ask(command(SEND, order_id="42"))).type is ReplyType.STEP_COMPLETED


async def test_it_drains_when_it_is_stopped(desk: Desk, node: subprocess.Popen[str]) -> None:
    await desk.ask(command(SEND, order_id="42"))
    node.send_signal(signal.SIGTERM)
    assert node.wait(SECONDS) == 0


async def test_what_was_under_way_when_it_was_killed_happens_once(
    installed: Path, desk: Desk, amqp_url: str, empty_database_url: str
) -> None:
    asked = command(SEND, order_id="42")
    with service(installed, desk.names, amqp_url, empty_database_url) as first:
        await desk.ask(command(SEND, "order-0", order_id="41"))
        with psycopg.connect(empty_database_url) as holder:
            holder.execute("LOCK TABLE notifications IN EXCLUSIVE MODE")
            await desk.send(asked)
            await eventually(waits_for_table(empty_database_url))
            first.kill()
            first.wait(SECONDS)
    with service(installed, desk.names, amqp_url, empty_database_url):
        assert (await desk.reply()).type is ReplyType.STEP_COMPLETED
        assert await desk.is_silent(until=command(SEND, "order-2", order_id="43"))
    written = [saga_id for saga_id, _ in notifications(empty_database_url)]
    assert written == ["order-0", "order-1", "order-2"]


@pytest.mark.parametrize(
    ("amqp", "inbox", "code", "told"),
    [
        ("", "postgresql://postgres@127.0.0.1/x", 78, "SAGA_AMQP_URL is missing"),
        ("amqp://u:p@127.0.0.1/", "mysql://u@h/d", 78, "SAGA_INBOX_URL is missing or wrong"),
    ],
)
def test_wrong_settings_are_one_line(
    installed: Path, amqp: str, inbox: str, code: int, told: str
) -> None:
    with service(installed, Names("t"), amqp, inbox) as process:
        _, log = process.communicate(timeout=SECONDS)
    assert process.returncode == code
    assert told in log
    assert len(log.splitlines()) == 1


def test_a_broker_out_of_reach_ends_it(installed: Path, empty_database_url: str) -> None:
    nowhere = "amqp://guest:guest@127.0.0.1:1/"
    with service(installed, Names("t"), nowhere, empty_database_url) as process:
        _, log = process.communicate(timeout=SECONDS)
    assert process.returncode == 69
    assert "no connection to the broker" in log


async def test_it_shares_its_tables_with_the_python_participants(
    installed: Path, desk: Desk, amqp_url: str, empty_database_url: str
) -> None:
    inbox = SqlInbox(empty_database_url)
    await inbox.prepare([create_missing])
    with service(installed, desk.names, amqp_url, empty_database_url):
        reply = await desk.ask(command(SEND, order_id="42"))
    async with inbox.claim("order-1", "act") as claim:
        assert claim.entry is not None
        assert claim.entry.action_reply is not None
        assert claim.entry.action_reply.result == reply.result
    books = await balance(inbox.engine)
    await inbox.close()
    assert books.accounts["order-1"].left == {"send_confirmation"}
