"""A batch is handled as its commands would be one by one, whatever is among them."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, event, insert, select
from sqlalchemy.ext.asyncio import AsyncSession
from tenacity import wait_none

from messaging.contract import Command, Effect, ReplyType
from messaging.errors import Conflict
from messaging.port import Delivery
from participants import Context, NotFound, Participant, StepFailed
from participants.assignment import Assignment
from participants.execution import Answer, Executor
from participants.guard import TOO_LATE, Entry, State
from participants.inbox import Inbox
from participants.sql_inbox import SqlInbox
from participants.together import BatchExecutor
from tests.conformance.inbox_fixtures import SQL_INBOXES, inbox
from tests.conformance.test_inbox import stored
from tests.participants.desk import COMPENSATION, command

__all__ = ["inbox"]

ON_SQL = pytest.mark.parametrize("inbox", SQL_INBOXES, indirect=True)
MANNERS = ("", "no", "busy", "unsure", "too large", "later", "not there")

effects = Table(
    "effects",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("saga_id", String(200), nullable=False),
    Column("kind", String(20), nullable=False),
)


class Shop:
    """A participant that does what a command's data ask for, and leaves effects where it can."""

    def __init__(self, *, has_sql: bool) -> None:
        self.service = Participant("TestService")
        self.calls: list[str] = []
        self._has_sql = has_sql
        self.service.action("Act", batch=True)(self.act)
        self.service.compensation("Undo", batch=True)(self.undo)

    async def act(self, command: dict[str, Any], context: Context) -> object:
        return await self._perform("did", context)

    async def undo(self, command: dict[str, Any], context: Context) -> object:
        return await self._perform("undid", context)

    async def _perform(self, kind: str, context: Context) -> object:
        self.calls.append(f"{context.saga_id} {kind}")
        if self._has_sql:
            await _leave_effect(context.session, kind, context)
        match context.data.get("manner"):
            case "no":
                raise StepFailed("out of stock")
            case "busy":
                raise StepFailed("not now", retryable=True)
            case "unsure":
                raise StepFailed("no idea", retryable=True, effect="unknown")
            case "broken":
                raise ZeroDivisionError("oops")
            case "too large":
                return {"text": "x" * 70_000}
            case "later":
                return context.later()
            case "not there":
                raise NotFound("nothing of that name")
            case _:
                return {"done": context.saga_id}


async def _leave_effect(session: AsyncSession, kind: str, context: Context) -> None:
    await session.execute(insert(effects).values(saga_id=context.saga_id, kind=kind))
    match context.data.get("session"):
        case "commit":
            await session.commit()
        case "rollback":
            await session.rollback()
        case "fail and go on":
            try:
                await session.execute(insert(effects).values(saga_id=None, kind=kind))
            except Exception:
                await session.rollback()
        case "fail unheard":
            session.add(_Nonsense())


class _Nonsense:
    """No row of any table: whoever flushes it learns so."""


@pytest.fixture
async def shop(inbox: Inbox) -> Shop:
    if isinstance(inbox, SqlInbox):
        async with inbox.engine.begin() as connection:
            await connection.run_sync(effects.metadata.create_all)
    return Shop(has_sql=isinstance(inbox, SqlInbox))


def act(saga_id: str, manner: str = "", **more: Any) -> Command:
    attempt = more.pop("attempt", 1)
    return command("TestService.Act", saga_id, manner=manner, attempt=attempt, **more)


def undo(saga_id: str, manner: str = "", **more: Any) -> Command:
    attempt = more.pop("attempt", 1)
    return command(
        "TestService.Undo",
        saga_id,
        manner=manner,
        attempt=attempt,
        direction=COMPENSATION,
        **more,
    )


def assigned(shop: Shop, commands: Sequence[Command]) -> Sequence[Assignment]:
    delivery = Delivery(queue="q", exchange="e", routing_key="k", body=b"", tag=1, session=1)
    handlers = shop.service.handlers
    return [Assignment(delivery=delivery, command=c, handler=handlers[c.name]) for c in commands]


async def together(shop: Shop, inbox: Inbox, *commands: Command) -> Sequence[Answer | None]:
    return await BatchExecutor(inbox).execute(assigned(shop, commands))


async def left_effects(inbox: Inbox) -> list[tuple[str, str]]:
    if not isinstance(inbox, SqlInbox):
        return []
    async with inbox.engine.connect() as connection:
        rows = await connection.execute(select(effects.c.saga_id, effects.c.kind))
    return sorted((row.saga_id, row.kind) for row in rows)


def outcomes(answers: Sequence[Answer | None]) -> list[str | None]:
    return [answer and answer.outcome for answer in answers]


async def test_a_batch_is_answered_in_its_order(shop: Shop, inbox: Inbox) -> None:
    asked = [act(f"order-{n}", attempt=2) for n in (3, 1, 2)]
    answers = await together(shop, inbox, *asked)
    replies = [answer.reply for answer in answers if answer and answer.reply]
    assert [reply.result for reply in replies] == [{"done": f"order-{n}"} for n in (3, 1, 2)]
    assert [reply.command_id for reply in replies] == [each.command_id for each in asked]
    assert {reply.attempt for reply in replies} == {2}


@ON_SQL
async def test_first_commands_that_leave_no_sql_cost_one_statement(inbox: SqlInbox) -> None:
    """In Postgres, where SQLAlchemy knows of none, test_round_trips counts them."""
    shop = Shop(has_sql=False)
    statements: list[str] = []

    @event.listens_for(inbox.engine.sync_engine, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement.split(maxsplit=1)[0])

    commands = [act("s-1"), act("s-2", "no"), act("s-3")]
    answers = await together(shop, inbox, *commands)
    assert outcomes(answers) == ["completed", "failed", "completed"]
    assert statements in (["BEGIN", "INSERT"], [])
    assert outcomes(await together(shop, inbox, *commands)) == ["replayed"] * 3
    assert len(shop.calls) == 6  # as if they had come to a copy that knows of nothing
    retried = [replace(each, attempt=2) for each in commands]
    assert outcomes(await together(shop, inbox, *retried)) == ["replayed"] * 3
    assert len(shop.calls) == 6


async def test_a_command_that_is_twice_in_a_batch_is_executed_once(
    shop: Shop, inbox: Inbox
) -> None:
    answers = await together(shop, inbox, act("order-1"), act("order-2"), act("order-1"))
    assert outcomes(answers) == ["completed", "completed", "replayed"]
    first, _, second = answers
    assert first is not None
    assert second is not None
    assert first.reply == second.reply
    assert shop.calls == ["order-1 did", "order-2 did"]


async def test_an_action_and_its_compensation_may_share_a_batch(shop: Shop, inbox: Inbox) -> None:
    answers = await together(
        shop, inbox, act("order-1"), undo("order-1"), undo("order-2"), act("order-2")
    )
    assert outcomes(answers) == ["completed", "completed", "completed", "refused"]
    assert answers[3] is not None
    assert answers[3].error == TOO_LATE
    assert shop.calls == ["order-1 did", "order-1 undid"]
    states = [await stored(inbox, f"order-{n}", "act") for n in (1, 2)]
    assert [each and each.state for each in states] == [State.COMPENSATED, State.TOMBSTONE]


async def test_a_no_in_the_middle_is_kept_and_harms_nobody(shop: Shop, inbox: Inbox) -> None:
    asked = [act("order-1"), act("order-2", "no"), act("order-3")]
    assert outcomes(await together(shop, inbox, *asked)) == ["completed", "failed", "completed"]
    again = await together(shop, inbox, *asked)
    assert outcomes(again) == ["replayed"] * 3
    assert again[1] is not None
    assert again[1].error == "out of stock"
    left = await left_effects(inbox)
    assert left in ([], [("order-1", "did"), ("order-3", "did")])


async def test_what_nobody_foresaw_is_left_to_be_handled_alone(shop: Shop, inbox: Inbox) -> None:
    """And so is what comes after it for the same step."""
    asked = [act("order-1"), act("order-2", "broken"), undo("order-2"), act("order-3")]
    answers = await together(shop, inbox, *asked)
    assert outcomes(answers) == ["completed", None, None, "completed"]
    entry = await stored(inbox, "order-2", "act")
    assert entry in (None, Entry(state=State.UNKNOWN))
    alone = Executor(inbox, tries=1)
    answer = await alone.execute(asked[1], shop.service.handlers["Act"])
    assert answer.reply is not None
    assert (answer.reply.retryable, answer.reply.effect) == (True, Effect.UNKNOWN)
    undone = await alone.execute(asked[2], shop.service.handlers["Undo"])
    assert undone.reply is not None
    assert undone.reply.type is ReplyType.COMPENSATION_COMPLETED


async def test_a_failure_that_may_be_tried_again_answers_its_attempt(
    shop: Shop, inbox: Inbox
) -> None:
    answers = await together(
        shop,
        inbox,
        act("order-1", "busy"),
        act("order-1", attempt=1),
        act("order-1", attempt=2),
        act("order-1", attempt=1),
    )
    assert outcomes(answers) == ["failed", "replayed", "completed", "replayed"]


async def test_a_reply_carries_the_epoch_in_which_its_step_began(shop: Shop, inbox: Inbox) -> None:
    first = replace(act("order-1"), epoch="1")
    answers = await together(shop, inbox, first, replace(undo("order-1"), epoch="2"))
    assert [answer.reply.epoch for answer in answers if answer and answer.reply] == ["1", "1 2"]


@ON_SQL
@pytest.mark.parametrize("session", ["commit", "rollback", "fail and go on"])
async def test_a_handler_may_end_its_transaction_and_ends_only_its_own(
    shop: Shop, inbox: Inbox, session: str
) -> None:
    asked = [act("order-1"), act("order-2", session=session), act("order-3")]
    assert outcomes(await together(shop, inbox, *asked)) == ["completed"] * 3
    kept = [("order-2", "did")] if session == "commit" else []
    assert await left_effects(inbox) == [("order-1", "did"), *kept, ("order-3", "did")]


@ON_SQL
async def test_a_handler_whose_work_cannot_be_written_is_handled_alone(
    shop: Shop, inbox: Inbox
) -> None:
    asked = [act("order-1"), act("order-2", session="fail unheard"), act("order-3")]
    assert outcomes(await together(shop, inbox, *asked)) == ["completed", None, "completed"]
    assert await left_effects(inbox) == [("order-1", "did"), ("order-3", "did")]


@ON_SQL
async def test_what_a_handler_has_committed_before_it_failed_is_undone(
    shop: Shop, inbox: Inbox
) -> None:
    """It cannot be undone alone, so that nothing is stored of the batch."""
    answers = await together(shop, inbox, act("order-1"), act("order-2", "no", session="commit"))
    assert outcomes(answers) == [None, None]
    assert await left_effects(inbox) == []
    assert await stored(inbox, "order-1", "act") is None


@pytest.mark.parametrize("seed", range(6))
async def test_a_batch_leaves_what_its_commands_leave_one_by_one(
    shop: Shop, inbox: Inbox, seed: int
) -> None:
    """The same commands for two sets of sagas: in batches for one, alone for the other."""
    chance = random.Random(seed)
    alone = Executor(inbox, tries=1, pauses=wait_none())
    in_batches, by_themselves = [], []
    for _ in range(8):
        drawn = [_drawn(chance) for _ in range(chance.randint(1, 8))]
        in_batches += await together(shop, inbox, *(_of("b", each) for each in drawn))
        by_themselves += [
            await alone.execute(_of("a", each), shop.service.handlers[each.name]) for each in drawn
        ]
    assert _plain(in_batches) == _plain(by_themselves)
    for number in range(4):
        states = [await stored(inbox, f"{who}-{number}", "act") for who in "ab"]
        assert _plain_entry(states[0]) == _plain_entry(states[1])
    left = await left_effects(inbox)
    assert [x[1:] for x, _ in left if x[0] == "a"] == [x[1:] for x, _ in left if x[0] == "b"]


def _drawn(chance: random.Random) -> Command:
    make = chance.choice([act, act, undo])
    manner = chance.choice(["", "", *MANNERS])
    return make(str(chance.randrange(4)), manner, attempt=chance.randint(1, 3))


def _of(who: str, drawn: Command) -> Command:
    return replace(drawn, saga_id=f"{who}-{drawn.saga_id}")


def _plain(answers: Sequence[Answer | None]) -> list[Any]:
    return [_plain_answer(answer) for answer in answers]


def _plain_answer(answer: Answer | None) -> Any:
    assert answer is not None
    reply = answer.reply
    if reply is None:
        return answer.outcome
    kept = (reply.type, reply.error, reply.retryable, reply.effect, bool(reply.result))
    return answer.outcome, *kept


def _plain_entry(entry: Entry | None) -> Any:
    if entry is None:
        return None
    replies = (entry.action_reply, entry.compensation_reply)
    return entry.state, [reply and (reply.type, reply.attempt, reply.error) for reply in replies]


@ON_SQL
async def test_who_ends_the_transaction_of_all_leaves_nothing_behind(
    shop: Shop, inbox: Inbox
) -> None:
    @shop.service.action("Sabotage", batch=True)
    async def sabotage(command: dict[str, Any], context: Context) -> None:
        connection = await context.session.connection()
        transaction = connection.sync_connection and connection.sync_connection.get_transaction()
        assert transaction is not None
        await connection.run_sync(lambda _: transaction.rollback())

    asked = [act("order-1"), command("TestService.Sabotage", "order-2")]
    answers: Sequence[Answer | None]
    try:
        answers = await together(shop, inbox, *asked)
    except Conflict:
        answers = [None, None]
    assert outcomes(answers) == [None, None]
    assert await stored(inbox, "order-1", "act") is None
    assert await left_effects(inbox) == []
