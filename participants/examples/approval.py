"""The services of the purchase: budget, approval, order. The approval waits for a person.

`saga participants run participants.examples.approval` runs all three; it needs SAGA_INBOX_URL.
People answer at `approval_desk.py`; `approval_books.py` has the tables.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from pydantic import BaseModel, Field
from sqlalchemy import insert, select, update

from participants import Context, NotFound, Participant, StepFailed
from participants.examples.accounting import money, own_rows, write
from participants.examples.approval_books import (
    budgets,
    create_missing,
    events,
    orders,
    requests,
    set_aside,
    suppliers,
)

budget_service: Final = Participant("BudgetService")
approval_service: Final = Participant("ApprovalService")
purchase_service: Final = Participant("PurchaseService")

for _service in (budget_service, approval_service, purchase_service):
    _service.prepare(create_missing)

Name = Annotated[str, Field(min_length=1, max_length=100)]
Cents = Annotated[int, Field(strict=True, ge=1, le=10**12)]


class Purchase(BaseModel):
    cents: Cents


class Expense(Purchase):
    department: Name


class Question(Purchase):
    subject: str
    remind_after_days: Annotated[float, Field(ge=0, le=365)] = 3


class Order(Purchase):
    supplier: Name


@budget_service.action("SetAside")
async def set_money_aside(command: Expense, context: Context) -> None:
    """Nobody else can spend it while somebody thinks about it."""
    free = budgets.c.free_cents
    mine = update(budgets).where(budgets.c.department == command.department, free >= command.cents)
    taken = await context.session.execute(
        mine.values(free_cents=free - command.cents).returning(free)
    )
    if taken.one_or_none() is None:
        raise StepFailed(f"{command.department} has no {money(command.cents)} left to spend")
    await write(context, set_aside, "set aside", department=command.department, cents=command.cents)


@budget_service.compensation("GiveBack")
async def give_back(command: dict[str, object], context: Context) -> None:
    """What this saga has set aside can be spent again."""
    rows = await own_rows(context, set_aside, "set aside")
    if not rows:
        raise NotFound("nothing was set aside")
    for row in rows:
        mine = update(budgets).where(budgets.c.department == row["department"])
        free = budgets.c.free_cents + row["cents"]
        await context.session.execute(mine.values(free_cents=free))
        same = {key: row[key] for key in ("department", "cents")}
        await write(context, set_aside, "given back", **same)


@approval_service.action("Ask")
async def ask(command: Question, context: Context) -> object:
    """Put the question on the desk. Whoever answers it answers the step."""
    remind_at = datetime.now(UTC) + timedelta(days=command.remind_after_days)
    request = {"subject": command.subject, "cents": command.cents, "remind_at": remind_at}
    await context.session.execute(
        insert(requests).values(saga_id=context.saga_id, is_open=True, **request)
    )
    await write(context, events, "asked")
    return context.later()


@approval_service.compensation("Withdraw")
async def withdraw(command: dict[str, object], context: Context) -> None:
    """Take the question off the desk, answered or not."""
    mine = update(requests).where(requests.c.saga_id == context.saga_id)
    withdrawn = await context.session.execute(
        mine.values(is_open=False).returning(requests.c.saga_id)
    )
    if withdrawn.one_or_none() is None:
        raise NotFound("nobody was asked")
    await write(context, events, "withdrawn")


@purchase_service.action("Order")
async def order(command: Order, context: Context) -> None:
    known = select(suppliers).where(suppliers.c.supplier == command.supplier)
    if (await context.session.execute(known)).one_or_none() is None:
        raise StepFailed(f"{command.supplier} takes no orders from us")
    await write(context, orders, "ordered", supplier=command.supplier, cents=command.cents)
