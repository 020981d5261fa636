"""How often the guard asks Postgres, counted in what goes over the connection."""

import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from psycopg.pq import Trace
from sqlalchemy import event, text

from messaging.contract import Command
from messaging.port import Delivery
from participants import Context, Participant
from participants.assignment import Assignment
from participants.execution import Executor
from participants.sql_inbox import SqlInbox
from participants.together import BatchExecutor
from tests.participants.desk import COMPENSATION, command

pytestmark = pytest.mark.postgres

service = Participant("TestService")


@service.action("Act", batch=True)
async def act(command: dict[str, Any], context: Context) -> None:
    """Leave nothing."""


@service.action("Ask", batch=True)
async def ask(command: dict[str, Any], context: Context) -> None:
    await context.session.execute(text("SELECT 1"))


@service.compensation("Undo", batch=True)
async def undo(command: dict[str, Any], context: Context) -> None:
    """Leave nothing."""


class Asked:
    """An inbox on one connection, and how often the server is asked."""

    def __init__(self, url: str) -> None:
        self.inbox = SqlInbox(url, connections=1)
        self._spoken = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the inbox
        event.listen(self.inbox.engine.sync_engine, "connect", self._listen)

    def _listen(self, connection: Any, _: object) -> None:
        connection.driver_connection.pgconn.trace(self._spoken.fileno())
        connection.driver_connection.pgconn.set_trace_flags(Trace.SUPPRESS_TIMESTAMPS)

    def since(self, count: int = 0) -> int:
        """Every question ends in one of these messages, and waits for its answer."""
        self._spoken.seek(0)
        lines = [line.split(b"\t") for line in self._spoken]
        return sum(line[0] == b"F" and line[2] in {b"Query", b"Sync"} for line in lines) - count

    async def close(self) -> None:
        await self.inbox.close()
        self._spoken.close()


@pytest.fixture
async def asked(empty_database_url: str) -> AsyncIterator[Asked]:
    asked = Asked(empty_database_url)
    await asked.inbox.prepare(())
    yield asked
    await asked.close()


def compensation() -> Command:
    return command("TestService.Undo", direction=COMPENSATION)


async def alone(inbox: SqlInbox, given: Command) -> str:
    return (await Executor(inbox).execute(given, service.handlers[given.name])).outcome


async def in_a_batch(inbox: SqlInbox, given: Command) -> str:
    delivery = Delivery(queue="q", exchange="e", routing_key="k", body=b"", tag=1, session=1)
    handler = service.handlers[given.name]
    assigned = Assignment(delivery=delivery, command=given, handler=handler)
    (answer,) = await BatchExecutor(inbox).execute([assigned])
    return answer.outcome if answer else "none"


@pytest.mark.parametrize(
    ("execute", "before", "given", "trips"),
    [
        (alone, [], command("TestService.Act"), 2),
        (alone, [], command("TestService.Ask"), 3),
        (alone, [command("TestService.Act")], compensation(), 3),
        (in_a_batch, [], command("TestService.Act"), 1),
        (in_a_batch, [], command("TestService.Ask"), 4),  # one for the limit on locks
        (in_a_batch, [command("TestService.Act")], compensation(), 2),
    ],
)
async def test_a_command_costs_few_round_trips(
    asked: Asked,
    execute: Callable[[SqlInbox, Command], Any],
    before: Sequence[Command],
    given: Command,
    trips: int,
) -> None:
    for each in before:
        await execute(asked.inbox, each)
    count = asked.since()
    assert await execute(asked.inbox, given) == "completed"
    assert asked.since(count) == trips
