"""`saga doctor` finds what is wrong, names the remedy, and lets well alone."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
import psycopg
import pytest
from command_lines import Ran, Saga, only_line, put
from psycopg import sql
from servers.rabbit import PrivateRabbit

from messaging.definitions import definitions, password_hash
from messaging.topology import Names
from orchestrator.store.database import DatabaseStore

MODULE = "orchestrator.examples.order_fulfillment"
PARTICIPANTS = ("InventoryService", "NotificationService", "PaymentService", "ShippingService")
PASSWORD = "for-trials"


def findings(ran: Ran) -> dict[str, list[tuple[str, str]]]:
    """What was found, by check: level and detail."""
    found: dict[str, list[tuple[str, str]]] = {}
    for each in json.loads(ran.out)["checks"]:
        found.setdefault(each["check"], []).append((each["level"], each["detail"]))
    return found


@pytest.fixture
def healthy(
    names: Names, amqp_url: str, database: str, saga: Saga, monkeypatch: pytest.MonkeyPatch
) -> Names:
    """A broker with everything declared, and a database with its schema."""
    monkeypatch.setenv("SAGA_AMQP_URL", amqp_url)
    monkeypatch.setenv("SAGA_NAMESPACE", names.namespace)
    assert saga("topology", "declare", MODULE).code == 0
    return names


def test_a_healthy_installation_is_0(saga: Saga, healthy: Names) -> None:
    ran = saga("doctor", MODULE)
    assert (ran.code, ran.err) == (0, "")
    assert "✓  broker       RabbitMQ " in ran.out
    assert "orchestrator, dlq worker, client, InventoryService, NotificationService" in ran.out
    assert "✓  topology     all exchanges and queues are as they should be\n" in ran.out
    assert ran.out.endswith("\nprograms can work with this\n")
    value = saga("doctor", MODULE, "-o", "json").value
    assert value["is_healthy"] is True
    assert {each["level"] for each in value["checks"]} == {"ok"}


def test_asking_has_no_effect(saga: Saga, healthy: Names, amqp_url: str) -> None:
    async def waiting() -> dict[str, tuple[int | None, int | None]]:
        async with await aio_pika.connect(amqp_url, timeout=10) as connection:
            channel = await connection.channel()
            counts = {}
            queues = [healthy.starts, healthy.replies, healthy.dead_letters]
            for name in [*queues, *(healthy.commands_for(each) for each in PARTICIPANTS)]:
                found = (await channel.declare_queue(name, passive=True)).declaration_result
                counts[name] = (found.message_count, found.consumer_count)
            return counts

    assert saga("doctor", MODULE).code == 0
    assert set(asyncio.run(waiting()).values()) == {(0, 0)}


def test_what_will_be_declared_is_only_a_warning(
    saga: Saga, healthy: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGA_NAMESPACE", f"{healthy.namespace}-b")
    ran = saga("doctor", "-o", "json")
    assert ran.code == 0
    ((level, detail),) = findings(ran)["topology"]
    assert level == "warning"
    assert f"missing: exchange '{healthy.namespace}-b.starts'" in detail
    monkeypatch.setenv("SAGA_TOPOLOGY", "verify")
    ran = saga("doctor", "-o", "json")
    assert ran.code == 78
    assert findings(ran)["topology"][0][0] == "problem"


def test_a_queue_that_differs_is_a_problem(saga: Saga, healthy: Names, amqp_url: str) -> None:
    async def change() -> None:
        async with await aio_pika.connect(amqp_url, timeout=10) as connection:
            channel = await connection.channel()
            await channel.queue_delete(healthy.replies)
            await channel.declare_queue(
                healthy.replies, durable=True, arguments={"x-queue-type": "quorum"}
            )

    asyncio.run(change())
    ran = saga("doctor")
    assert ran.code == 78
    assert f"✗  topology     queue '{healthy.replies}' differs" in ran.out
    assert "→ drain and delete it, then run `saga topology declare`" in ran.out


def test_everything_that_is_out_of_reach_is_69(saga: Saga, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_AMQP_URL", "amqp://a:hunter2@127.0.0.1:1/")
    monkeypatch.setenv("SAGA_DATABASE_URL", "postgresql://a:hunter2@127.0.0.1:1/b")
    ran = saga("doctor")
    assert ran.code == 69
    assert ran.out.count("is out of reach") == 2
    assert "→ start it, or set SAGA_AMQP_URL to where it is" in ran.out
    assert ran.out.endswith("\n2 problems\n")
    assert "hunter2" not in ran.out


def test_what_a_person_must_set_right_comes_before_what_may_heal(
    saga: Saga, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGA_AMQP_URL", "amqp://a:b@127.0.0.1:1/")
    ran = saga("doctor", "-o", "json")
    assert ran.code == 78
    found = findings(ran)
    assert found["broker"][0][0] == "problem"
    assert found["database"] == [("problem", "SAGA_DATABASE_URL is not set")]


def test_in_the_environment_of_participants_their_database_is_looked_at(
    saga: Saga, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGA_AMQP_URL", "memory://")
    inbox = tmp_path / "inbox.db"
    monkeypatch.setenv("SAGA_INBOX_URL", f"sqlite:///{inbox}")
    services = "participants.examples.order_fulfillment"
    ran = saga("doctor", services, "-o", "json")
    assert (ran.code, findings(ran)["inbox"]) == (
        0,
        [("warning", f"there is no sqlite:///{inbox} yet")],
    )
    assert not inbox.exists()
    assert not {"database", "definitions"} & findings(ran).keys()
    monkeypatch.setenv("SAGA_INBOX_URL", "postgresql://a:secret@127.0.0.1:1/shop")
    ran = saga("doctor", services)
    assert ran.code == 69
    assert "correct SAGA_INBOX_URL" in ran.out
    assert "secret" not in ran.out


def test_wrong_settings_of_any_program_are_found_together(
    saga: Saga, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGA_AMQP_URL", "memory://")
    monkeypatch.setenv("SAGA_PREFETCH", "none")
    monkeypatch.setenv("SAGA_REPLAY_LIMIT", "-1")
    monkeypatch.setenv("SAGA_TOPOLGY", "verify")
    ran = saga("doctor", "-o", "json")
    assert (ran.code, ran.err) == (78, "")
    details = [detail for _, detail in findings(ran)["settings"]]
    assert any(each.startswith("SAGA_PREFETCH=none: ") for each in details)
    assert any(each.startswith("SAGA_REPLAY_LIMIT=-1: ") for each in details)
    assert ("warning", "SAGA_TOPOLGY is not a setting and has no effect") in findings(ran)[
        "settings"
    ]
    assert findings(ran)["database"][0][0] == "ok"


def test_a_definition_that_cannot_be_loaded_hides_nothing_else(saga: Saga, database: str) -> None:
    ran = saga("doctor", "not_there", "-o", "json")
    assert ran.code == 78
    assert findings(ran)["definitions"][0][0] == "problem"
    assert findings(ran)["schema"][0][0] == "ok"


def test_a_schema_that_is_behind_is_a_problem(
    saga: Saga, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGA_AMQP_URL", "memory://")
    monkeypatch.setenv("SAGA_DATABASE_URL", empty_database_url)
    ran = saga("doctor")
    assert ran.code == 78
    assert "✗  schema    the schema is at revision none" in ran.out
    assert "→ run `saga db upgrade`" in ran.out


@pytest.fixture
def clerk(empty_database_url: str, postgres_url: str) -> Iterator[str]:
    """The URL of a role that may look at sagas and change nothing."""
    role = f"t_{uuid.uuid4().hex[:12]}"
    put(empty_database_url, DatabaseStore.upgrade)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        name = sql.Identifier(role)
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(PASSWORD))
        )
        connection.execute(
            sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}").format(name)
        )
    place = urlsplit(empty_database_url)
    yield f"postgresql://{role}:{PASSWORD}@{place.hostname}:{place.port}{place.path}"
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_a_role_that_may_not_write_is_a_problem(
    saga: Saga, clerk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGA_AMQP_URL", "memory://")
    monkeypatch.setenv("SAGA_DATABASE_URL", clerk)
    ran = saga("doctor", "-o", "json")
    assert ran.code == 78
    ((level, detail),) = findings(ran)["role"]
    assert level == "problem"
    assert "INSERT on sagas, UPDATE on sagas" in detail
    assert "SELECT on sagas" not in detail


# --- a broker of one's own, with users that may do little ----------------------------------


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, amqp_url: str) -> Iterator[PrivateRabbit]:
    """A broker with the definitions that we print, and passwords for its users."""
    file = tmp_path_factory.mktemp("definitions") / "definitions.json"
    server = PrivateRabbit(
        settings={
            "definitions.import_backend": "local_filesystem",
            "definitions.local.path": str(file),
        }
    )
    users = ("orchestrator", "dlq-worker", "client", "operator", *PARTICIPANTS)
    hashes = {user: password_hash(PASSWORD, uuid.uuid4().bytes[:4]) for user in users}
    major = int(server.rabbitmqctl("version").partition(".")[0])
    whole = definitions(Names(), PARTICIPANTS, broker_major=major, password_hashes=hashes)
    file.write_text(json.dumps(whole))
    with server:
        yield server


@pytest.mark.rabbitmq
@pytest.mark.parametrize(
    ("user", "works"),
    [
        ("orchestrator", "orchestrator"),
        ("dlq-worker", "dlq worker, client"),
        ("client", "client"),
        ("PaymentService", "PaymentService"),
    ],
)
def test_a_users_permissions_show_what_it_is_for(
    user: str,
    works: str,
    saga: Saga,
    database: str,
    guarded: PrivateRabbit,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SAGA_AMQP_URL", guarded.url_for(user, PASSWORD))
    monkeypatch.setenv("SAGA_TOPOLOGY", "ignore")
    ran = saga("doctor", MODULE, "-o", "json")
    assert ran.code == 0
    assert findings(ran)["permissions"] == [("ok", f"{user} may do the work of: {works}")]
    assert findings(ran)["topology"][0][0] == "ok"


@pytest.mark.rabbitmq
def test_a_user_that_may_declare_nothing_must_not_be_asked_to(
    saga: Saga, database: str, guarded: PrivateRabbit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGA_AMQP_URL", guarded.url_for("orchestrator", PASSWORD))
    ran = saga("doctor", MODULE)
    assert ran.code == 78
    assert "orchestrator may declare nothing, and SAGA_TOPOLOGY=declare" in ran.out
    assert "set SAGA_TOPOLOGY=ignore here" in ran.out


@pytest.mark.rabbitmq
def test_a_user_in_another_namespace_is_for_nothing(
    saga: Saga, database: str, guarded: PrivateRabbit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGA_AMQP_URL", guarded.url_for("orchestrator", PASSWORD))
    monkeypatch.setenv("SAGA_TOPOLOGY", "ignore")
    monkeypatch.setenv("SAGA_NAMESPACE", "other")
    ran = saga("doctor", MODULE)
    assert ran.code == 78
    assert "orchestrator may do the work of no program in namespace other" in ran.out


@pytest.mark.rabbitmq
def test_an_alarm_is_noticed(
    saga: Saga, database: str, guarded: PrivateRabbit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGA_AMQP_URL", guarded.url_for("orchestrator", PASSWORD))
    monkeypatch.setenv("SAGA_TOPOLOGY", "ignore")
    guarded.rabbitmqctl("set_disk_free_limit", "1000000GB")
    try:
        ran = saga("doctor")
    finally:
        guarded.rabbitmqctl("set_disk_free_limit", "50MB")
    assert ran.code == 69
    assert "the broker takes no messages: its memory or disk alarm has gone off" in ran.out


def test_a_report_is_one_line_for_each_in_a_pipe(
    saga: Saga, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGA_AMQP_URL", "memory://")
    report, _, summary = saga("doctor").out.partition("\n\n")
    assert [line.split()[:2] for line in report.splitlines()] == [
        ["✓", "settings"],
        ["✓", "broker"],
        ["✓", "database"],
        ["✓", "schema"],
    ]
    assert only_line(summary) == "programs can work with this"
