"""The purchase, drilled: no money is kept for nothing, and nothing is ordered unapproved."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from orchestrator.examples.approval import ApprovalSaga
from orchestrator.testing.drill import Drill, Obstacle, Scene
from orchestrator.testing.drill.examples.entries import Entries, standing
from participants.examples import approval_books
from participants.examples.approval import approval_service, budget_service, purchase_service
from participants.examples.approval_books import events, orders, set_aside, suppliers
from participants.examples.approval_desk import Desk

STEPS: Final = {
    "set_aside": Entries(ledger=set_aside, done="set aside", undone=("given back",)),
    "approve": Entries(ledger=events, done="asked", undone=("declined", "withdrawn")),
    "order": Entries(ledger=orders, done="ordered"),
}
SUPPLIER: Final = "Lathes & Co."


async def grant_budget(connection: AsyncConnection) -> None:
    await approval_books.grant(connection, "workshop", 1_000_000)
    await approval_books.list_supplier(connection, SUPPLIER)


async def ledger(connection: AsyncConnection, saga_id: str) -> Mapping[str, int]:
    return await standing(connection, saga_id, STEPS)


async def audit(engine: AsyncEngine, completed: Collection[str]) -> Sequence[str]:
    return (await approval_books.balance(engine, completed)).problems


async def approve(scene: Scene) -> None:
    """Somebody says yes to whatever lies on the desk."""
    desk = Desk(engine=scene.engine, replies=scene.replies)
    for saga_id in await desk.open_requests():
        await desk.decide(saga_id, is_approved=True, by="the works office")


async def _strike_off(connection: AsyncConnection) -> None:
    await connection.execute(delete(suppliers))


async def _list_again(connection: AsyncConnection) -> None:
    await approval_books.list_supplier(connection, SUPPLIER)


drill: Final = Drill(
    saga=ApprovalSaga,
    services=[budget_service, approval_service, purchase_service],
    inputs={
        "a lathe": {
            "department": "workshop",
            "subject": "a lathe",
            "cents": 12_345,
            "supplier": SUPPLIER,
        }
    },
    fill=grant_budget,
    ledger=ledger,
    audit=audit,
    people=approve,
    obstacles={"order": Obstacle(put=_strike_off, remove=_list_again)},
)
