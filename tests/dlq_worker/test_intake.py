"""Dead letters come into the database and only then leave the queue: nothing is lost."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import sqlalchemy as sa
from dlq_stories import NAMES, REFUND_FAILED, Facts, delivery, exhausted, saga_after, until

from chassis.facts import ConnectionChanged, DeadLettered
from chassis.pacing import Pace, Reachability
from dlq_worker.intake import Intake
from dlq_worker.listing import LetterFilter, list_groups, list_letters, show_letter
from dlq_worker.operations import discard
from dlq_worker.statuses import Status
from messaging.memory import MemoryBroker
from messaging.memory_server import MemoryServer
from messaging.port import Broker, Outgoing
from messaging.topology import Names, TopologyMode, installation
from orchestrator.store.database import DatabaseStore
from orchestrator.store.sqlite import SqliteStore

pytest_plugins = ["conformance.store_fixtures"]

ANY = LetterFilter(statuses=None)


def garbage(
    body: bytes = b"{",
    names: Names = NAMES,
    headers: Mapping[str, str | int] | None = None,
) -> Outgoing:
    return Outgoing(
        exchange=names.dead,
        routing_key=f"rejected.{names.replies}",
        type="SagaStepCompleted",
        body=body,
        headers={"saga-reason": "bad_json", **(headers or {})},
    )


@asynccontextmanager
async def taking_in(
    broker: Broker, store: DatabaseStore, facts: Facts, names: Names = NAMES
) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    intake = Intake(broker, store, names, prefetch=10, observe=facts, on_kept=lambda: None)
    running = asyncio.create_task(intake.run(Pace(stopping, Reachability(facts))))
    yield
    stopping.set()
    await running


async def _count(store: DatabaseStore, count: int) -> bool:
    return len(await list_letters(store, ANY, limit=1000)) == count


async def _is_drained(server: MemoryServer) -> bool:
    queue = server.queues[NAMES.dead_letters]
    return queue.depth == queue.unsettled == 0


async def test_a_letter_is_stored_and_then_acknowledged(
    broker: MemoryBroker, server: MemoryServer, store: DatabaseStore, facts: Facts
) -> None:
    await broker.publish([exhausted(saga_after(*REFUND_FAILED))])
    async with taking_in(broker, store, facts):
        await until(lambda: _is_drained(server))
    (view,) = await list_letters(store)
    shown = view.to_json()
    assert shown["reason"] == "compensation_exhausted"
    assert (shown["saga_id"], shown["step_name"]) == ("order-42", "pay")
    assert (shown["status"], shown["replays"], shown["times_seen"]) == ("open", 0, 1)
    (action,) = (await show_letter(store, view.id)).actions
    assert (action.action, action.by) == ("arrived", "dlq worker")
    assert [fact.reason for fact in facts.seen if isinstance(fact, DeadLettered)] == [
        "compensation_exhausted"
    ]


async def test_the_same_arrival_again_changes_nothing(
    broker: MemoryBroker, server: MemoryServer, store: DatabaseStore, facts: Facts
) -> None:
    message = exhausted(saga_after(*REFUND_FAILED))
    await broker.publish([message, message])
    async with taking_in(broker, store, facts):
        await until(lambda: _is_drained(server))
    (view,) = await list_letters(store, ANY)
    assert view.stored.times_seen == 1


async def test_an_acknowledgement_that_is_lost_does_not_reopen_what_was_discarded(
    broker: MemoryBroker, server: MemoryServer, store: DatabaseStore, facts: Facts
) -> None:
    await broker.publish([garbage()])
    (arrival,) = await (await broker.consume(NAMES.dead_letters, prefetch=1)).receive(1)
    intake = Intake(broker, store, NAMES, prefetch=1, observe=facts, on_kept=lambda: None)
    pace = Pace(asyncio.Event(), Reachability(facts))
    await intake._take([arrival], pace)
    (view,) = await list_letters(store)
    await discard(store, view.id, reason="noise", by="anna")
    await intake._take([arrival], pace)
    (view,) = await list_letters(store, ANY)
    assert (view.stored.status, view.stored.times_seen) == (Status.DISCARDED, 1)


async def test_a_later_exhaustion_of_the_same_step_reopens_its_letter(
    broker: MemoryBroker, server: MemoryServer, store: DatabaseStore, facts: Facts
) -> None:
    first = exhausted(saga_after(*REFUND_FAILED))
    async with taking_in(broker, store, facts):
        await broker.publish([first])
        await until(lambda: _count(store, 1))
        (view,) = await list_letters(store)
        again = Outgoing(
            exchange=first.exchange,
            routing_key=first.routing_key,
            type=first.type,
            body=first.body,
            headers={**first.headers, "saga-attempt": 2, "saga-error": "another reason"},
        )
        await broker.publish([again])
        await until(lambda: _is_drained(server))
    (view,) = await list_letters(store, ANY)
    assert view.stored.times_seen == 2
    assert view.stored.letter.error == "another reason"
    assert [each.action for each in (await show_letter(store, view.id)).actions] == [
        "arrived",
        "came again",
    ]


async def test_a_message_without_an_id_counts_again_unless_it_is_marked_as_redelivered(
    broker: MemoryBroker, store: DatabaseStore, facts: Facts
) -> None:
    nameless = delivery("rejected.saga.replies", b"{", message_id=None)
    intake = Intake(broker, store, NAMES, prefetch=1, observe=facts, on_kept=lambda: None)
    pace = Pace(asyncio.Event(), Reachability(facts))
    for arrival in (nameless, replace(nameless, redelivered=True), nameless):
        await intake._take([arrival], pace)
    (view,) = await list_letters(store)
    assert view.stored.times_seen == 2


async def test_two_workers_with_the_same_letters_do_not_stand_in_each_others_way(
    broker: MemoryBroker, store: DatabaseStore, facts: Facts
) -> None:
    arrivals = [delivery("rejected.saga.replies", b"%d" % n, message_id=f"{n}") for n in range(60)]
    pace = Pace(asyncio.Event(), Reachability(facts))
    takers = [
        Intake(broker, store, NAMES, prefetch=1, observe=facts, on_kept=lambda: None)._take(
            batch, pace
        )
        for batch in (arrivals, arrivals[::-1])
    ]
    assert all(await asyncio.gather(*takers))
    assert await _count(store, 60)
    assert not await _reported(facts, up=False), "no deadlock had to be waited out"


HOSTILE = [
    b"\x00",
    b'{"saga_id": "a\\u0000b"}',
    b"\xff\xfe\x00",
    b"[" * 5000,
    b'{"n": ' + b"9" * 5000 + b"}",
    b"",
    b"x" * 300_000,
]


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
async def test_garbage_is_kept_byte_for_byte(
    body: bytes, broker: MemoryBroker, server: MemoryServer, store: DatabaseStore, facts: Facts
) -> None:
    await broker.publish(
        [garbage(body, headers={"saga-error": "nul \x00 and \\ud800", "other": 2**62})]
    )
    async with taking_in(broker, store, facts):
        await until(lambda: _is_drained(server))
    (view,) = await list_letters(store)
    details = await show_letter(store, view.id)
    assert details.view.stored.letter.body == body
    assert details.to_json()["error"] == r"nul \x00 and \ud800"


async def test_a_letter_the_database_refuses_is_kept_as_bare_bytes_and_harms_no_neighbour(
    broker: MemoryBroker, server: MemoryServer, store: DatabaseStore, facts: Facts
) -> None:
    async with store.transaction() as transaction:
        if isinstance(store, SqliteStore):
            check = (
                "CREATE TRIGGER refuse BEFORE INSERT ON dead_letters WHEN NEW.error = 'poison' "
                "BEGIN SELECT RAISE(ABORT, 'poison'); END"
            )
        else:
            check = "ALTER TABLE dead_letters ADD CONSTRAINT no_poison CHECK (error <> 'poison')"
        await transaction.execute(sa.text(check))
    await broker.publish(
        [garbage(b"1"), garbage(b"2", headers={"saga-error": "poison"}), garbage(b"3")]
    )
    async with taking_in(broker, store, facts):
        await until(lambda: _is_drained(server))
    letters = {view.stored.letter.body: view.stored.letter for view in await list_letters(store)}
    assert set(letters) == {b"1", b"2", b"3"}
    assert letters[b"2"].reason == "unreadable"


async def test_letters_of_one_cause_are_one_group(
    broker: MemoryBroker, server: MemoryServer, store: DatabaseStore, facts: Facts
) -> None:
    sagas = [saga_after(*REFUND_FAILED, saga_id=f"order-{n}") for n in range(25)]
    await broker.publish([exhausted(saga) for saga in sagas])
    await broker.publish([garbage()])
    async with taking_in(broker, store, facts):
        await until(lambda: _is_drained(server))
    largest, other = await list_groups(store)
    assert (largest.letters, largest.sagas) == (25, 25)
    assert largest.signature == ("compensation_exhausted PaymentService pay: gateway <n> said <n>")
    assert (other.letters, other.reason) == (1, "bad_json")


async def test_while_the_database_is_away_letters_are_held_and_none_goes_back(
    broker: MemoryBroker, server: MemoryServer, facts: Facts, away: "SwitchedStore"
) -> None:
    await broker.publish([garbage(b"1"), garbage(b"2")])
    async with taking_in(broker, away.store, facts):
        await until(lambda: _reported(facts, up=False))
        queue = server.queues[NAMES.dead_letters]
        assert (queue.depth, queue.unsettled) == (0, 2)
        await away.return_()
        await until(lambda: _is_drained(server))
    assert len(await list_letters(away.store)) == 2
    assert await _reported(facts, up=True)


async def _reported(facts: Facts, *, up: bool) -> bool:
    return any(isinstance(fact, ConnectionChanged) and fact.up is up for fact in facts.seen)


class SwitchedStore:
    """A Postgres database that takes no connections until `return_`."""

    def __init__(self, store: DatabaseStore, admin_url: str, name: str) -> None:
        self.store = store
        self._admin_url = admin_url
        self._name = name

    async def leave(self) -> None:
        await self._say("ALTER DATABASE {} ALLOW_CONNECTIONS false")
        await self._say(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'"
        )

    async def return_(self) -> None:
        await self._say("ALTER DATABASE {} ALLOW_CONNECTIONS true")

    async def _say(self, statement: str) -> None:
        import psycopg

        connection = await psycopg.AsyncConnection.connect(self._admin_url, autocommit=True)
        async with connection:
            await connection.execute(statement.format(self._name).encode())


@pytest.fixture
async def away(postgres_url: str, empty_database_url: str) -> AsyncIterator[SwitchedStore]:
    from orchestrator.store.stores import store_for

    store = store_for(empty_database_url)
    await store.upgrade()
    switched = SwitchedStore(store, postgres_url, empty_database_url.rpartition("/")[2])
    await switched.leave()
    yield switched
    await switched.return_()
    await store.close()


async def test_letters_of_a_real_broker_come_in_too(
    amqp_url: str, names: Names, store: DatabaseStore, facts: Facts
) -> None:
    from messaging.brokers import broker_for

    broker = broker_for(
        amqp_url,
        names=names,
        topology=installation(names, ["PaymentService"]),
        mode=TopologyMode.DECLARE,
        app_id="dlq-worker",
    )
    async with broker:
        await broker.wait_ready(20)
        saga = saga_after(*REFUND_FAILED)
        await broker.publish([exhausted(saga, names), garbage(b"\x00\xff", names)])
        async with taking_in(broker, store, facts, names):
            await until(lambda: _count(store, 2))
        bodies = {view.stored.letter.body for view in await list_letters(store)}
    assert b"\x00\xff" in bodies
