"""A little shop with the classic mistakes of participants, each planted in a service of its own.

All keep a ledger that is only added to, and nothing in it forbids a second entry.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.definition import SagaOrchestrator, SagaStep
from orchestrator.testing.drill import Drill, Obstacle
from participants import Context, NotFound, Participant, StepFailed

metadata = MetaData()
entries = Table(
    "entries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("saga_id", String(200), nullable=False),
    Column("step", String(50), nullable=False),
    Column("kind", String(20), nullable=False),  # done, undone, refused, closed
)
accounts = Table("accounts", metadata, Column("cents", Integer, nullable=False))

Handler = Callable[[dict[str, Any], Context], Awaitable[Any]]


class Shop(SagaOrchestrator):
    saga_type = "Shop"

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        return [
            SagaStep("reserve", "Stock.Reserve", "Stock.Release"),
            SagaStep("pay", "Bank.Pay", "Bank.Refund"),
            SagaStep("ship", "Post.Ship", "Post.Recall"),
        ]


async def create_missing(connection: AsyncConnection) -> None:
    await connection.run_sync(metadata.create_all)


async def ledger(connection: AsyncConnection, saga_id: str) -> Mapping[str, int]:
    found = await connection.execute(select(entries).where(entries.c.saga_id == saga_id))
    standing: dict[str, int] = {}
    for row in found:
        change = {"done": 1, "undone": -1}.get(row.kind, 0)
        standing[row.step] = standing.get(row.step, 0) + change
    return standing


async def kinds(context: Context) -> list[str]:
    """What the service has noted of this step."""
    mine = select(entries.c.kind).where(
        entries.c.saga_id == context.saga_id, entries.c.step == context.step_name
    )
    return list((await context.session.execute(mine)).scalars())


async def note(context: Context, kind: str) -> None:
    row = {"saga_id": context.saga_id, "step": context.step_name, "kind": kind}
    await context.session.execute(insert(entries).values(row))


async def careful_action(command: dict[str, Any], context: Context) -> dict[str, Any]:
    """Right without any guard: looks before it acts, and remembers."""
    known = await kinds(context)
    if "closed" in known:
        raise StepFailed("its compensation was here before")
    if "done" not in known:
        await note(context, "done")
    return {"number": "n-1"}


async def careful_compensation(command: dict[str, Any], context: Context) -> None:
    known = await kinds(context)
    if "done" in known and "undone" not in known:
        await note(context, "undone")
    await note(context, "closed")


async def hasty_action(command: dict[str, Any], context: Context) -> dict[str, Any]:
    """No idempotency: it does not look whether it has been done, only whether it may be."""
    if "closed" in await kinds(context):
        raise StepFailed("its compensation was here before")
    await note(context, "done")
    return {"number": "n-1"}


async def hasty_compensation(command: dict[str, Any], context: Context) -> None:
    """Not idempotent: what was done is undone, each time anew."""
    known = await kinds(context)
    await note(context, "closed")
    if "done" in known:
        await note(context, "undone")


async def needy_compensation(command: dict[str, Any], context: Context) -> None:
    """Knows what to undo only by the result of the action."""
    if context.original_result is not None and "done" in await kinds(context):
        await careful_compensation(command, context)


async def raising_compensation(command: dict[str, Any], context: Context) -> None:
    """The same mistake, and it shows at once."""
    assert context.original_result is not None
    assert context.original_result["number"]
    await careful_compensation(command, context)


async def late_action(command: dict[str, Any], context: Context) -> dict[str, Any]:
    """Does not ask whether its compensation was here."""
    if "done" not in await kinds(context):
        await note(context, "done")
    return {"number": "n-1"}


async def late_compensation(command: dict[str, Any], context: Context) -> None:
    """Undoes what is there, and remembers nothing if there is nothing."""
    if "done" not in await kinds(context):
        raise NotFound("nothing to undo")
    await careful_compensation(command, context)


async def forgetful_action(command: dict[str, Any], context: Context) -> dict[str, Any]:
    """Says no to who has no money, and forgets that."""
    balance = (await context.session.execute(select(accounts.c.cents))).scalar_one()
    if balance < command["price"]:
        raise StepFailed("there is no money")
    return await careful_action(command, context)


async def open_account(connection: AsyncConnection) -> None:
    await connection.execute(insert(accounts).values(cents=100))


async def empty_account(connection: AsyncConnection) -> None:
    await connection.execute(update(accounts).values(cents=0))


async def fill_account(connection: AsyncConnection) -> None:
    await connection.execute(update(accounts).values(cents=100))


def bank(action: Handler, compensation: Handler) -> Participant:
    made = Participant("Bank")
    made.prepare(create_missing)
    made.action("Pay")(action)
    made.compensation("Refund")(compensation)
    return made


def drilled(
    action: Handler, compensation: Handler, *, is_guarded: bool = False, is_poor: bool = False
) -> Drill:
    """The shop, of which nobody but the bank may be wrong."""
    return Drill(
        saga=Shop,
        services=[bank(action, compensation)],
        inputs={"an order": {"price": 7}},
        fill=open_account,
        ledger=ledger,
        obstacles={"pay": Obstacle(put=empty_account, remove=fill_account)} if is_poor else {},
        is_guarded=is_guarded,
    )


no_idempotency = drilled(hasty_action, careful_compensation)
compensation_not_idempotent = drilled(careful_action, hasty_compensation)
compensation_needs_result = drilled(careful_action, needy_compensation, is_guarded=True)
compensation_raises = drilled(careful_action, raising_compensation, is_guarded=True)
failure_not_sticky = drilled(forgetful_action, careful_compensation, is_poor=True)
action_after_compensation = drilled(late_action, late_compensation)
