"""Whether the services' books say what the orders' endings demand."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from orchestrator.demo.orders import STEPS, Ending, Order
from participants.examples.books import Account, Books, balance, payments

_PAY: Final = "process_payment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """What was charged and paid back, and what had to be kept, in cents."""

    charged: int
    refunded: int
    due: int  # the price of the orders whose payment stands

    @property
    def kept(self) -> int:
        return self.charged - self.refunded


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerLine:
    """One service's ledger: orders for which it did its part, undid it, and must not have."""

    step: str
    done: int
    undone: int
    due: int  # orders for which the effect has to stand

    @property
    def stands(self) -> int:
        return self.done - self.undone

    def to_json(self) -> dict[str, Any]:
        counts = {"done": self.done, "undone": self.undone, "stands": self.stands, "due": self.due}
        return {"step": self.step, **counts}


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The books, and everything in them that should be otherwise."""

    lines: Sequence[LedgerLine]
    money: Money
    half_undone: Mapping[str, Account]  # sagas that wait for a person
    problems: Sequence[str]

    @property
    def is_balanced(self) -> bool:
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        money = self.money
        return {
            "balance": self.is_balanced,
            "ledgers": [line.to_json() for line in self.lines],
            "cents": {
                "charged": money.charged,
                "refunded": money.refunded,
                "kept": money.kept,
                "due": money.due,
            },
            "half_undone": {
                saga_id: {"stand": standing(account), "undone": list(account.undone)}
                for saga_id, account in self.half_undone.items()
            },
            "problems": list(self.problems),
        }


async def audit(
    engine: AsyncEngine, orders: Sequence[Order], endings: Mapping[str, Ending]
) -> Audit:
    """Compare the ledgers, as they are in the database, with what the orders' endings demand."""
    books = await balance(engine)
    charged, refunded = await _turnover(engine)
    due = {order.saga_id: _due(order, endings, books) for order in orders}
    paid = sum(order.cents for order in orders if _PAY in due[order.saga_id].left)
    money = Money(charged=charged, refunded=refunded, due=paid)
    halted = [saga_id for saga_id in due if endings[saga_id] is Ending.HALTED]
    return Audit(
        lines=[_line(step, books, due) for step in STEPS],
        money=money,
        half_undone={saga_id: books.accounts.get(saga_id, Account()) for saga_id in halted},
        problems=[*_problems(books, due, endings), *_about_money(money)],
    )


def standing(account: Account) -> list[str]:
    """The steps whose effect stands, in their order."""
    return [step for step in STEPS if step in account.left]


async def _turnover(engine: AsyncEngine) -> tuple[int, int]:
    """Cents charged, and cents refunded."""

    def total(kind: str) -> Any:
        amounts = case((payments.c.kind == kind, payments.c.amount_cents), else_=0)
        return func.coalesce(func.sum(amounts), 0)

    async with engine.connect() as connection:
        row = (await connection.execute(select(total("charge"), total("refund")))).one()
        return int(row[0]), int(row[1])


def _due(order: Order, endings: Mapping[str, Ending], books: Books) -> Account:
    """What the books must say of an order that ended so, even if it should not have."""
    ending = endings[order.saga_id]
    if ending is order.kind.ending:
        return order.kind.account
    if ending is Ending.COMPLETED:
        return Account(done=dict.fromkeys(STEPS, 1))
    known = books.accounts.get(order.saga_id, Account())
    once = dict.fromkeys(known.done, 1)
    return Account(done=once, undone=once) if ending is Ending.FAILED else known


def _line(step: str, books: Books, due: Mapping[str, Account]) -> LedgerLine:
    accounts = books.accounts.values()
    return LedgerLine(
        step=step,
        done=sum(account.done.get(step, 0) for account in accounts),
        undone=sum(account.undone.get(step, 0) for account in accounts),
        due=sum(step in account.left for account in due.values()),
    )


def _problems(
    books: Books, due: Mapping[str, Account], endings: Mapping[str, Ending]
) -> Iterator[str]:
    for saga_id, demanded in due.items():
        account = books.accounts.get(saga_id, Account())
        for step in STEPS:
            is_so, should_be = _times(account, step), _times(demanded, step)
            if is_so != should_be:
                times = "done {} and undone {} times, not {} and {}".format(*is_so, *should_be)
                yield f"{saga_id} ({endings[saga_id]}): {step} {times}"
    for saga_id in sorted(books.accounts.keys() - due.keys()):
        yield f"{saga_id} is in the books, but nobody has ordered it"
    yield from books.stock_errors


def _times(account: Account, step: str) -> tuple[int, int]:
    return account.done.get(step, 0), account.undone.get(step, 0)


def _about_money(money: Money) -> Iterator[str]:
    if money.kept != money.due:
        yield f"{amount(money.kept)} is kept, but what stands costs {amount(money.due)}"


def amount(cents: int) -> str:
    """`12,345.60`, of whatever the customers pay in."""
    return f"{cents / 100:,.2f}"
