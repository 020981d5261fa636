"""Commands come in, handlers run behind the guard, replies go out: on every kind of stage."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict

from chassis.facts import CommandHandled, MessageRejected, Noticed
from messaging.contract import Effect, Reply, ReplyType
from participants import Context, NotFound, Participant, StepFailed
from participants.guard import TOO_LATE, Entry, State
from tests.participants.conftest import Stage
from tests.participants.desk import COMPENSATION, body_of, command, running


class Item(BaseModel):
    sku: str
    quantity: int


class Reserve(BaseModel):
    model_config = ConfigDict(strict=True)

    order_id: UUID
    day: date
    items: list[Item]
    saga_id: str


class Reservation(BaseModel):
    reservation_id: str


class Shop:
    """A participant that does what the command's data ask for, and counts."""

    def __init__(self) -> None:
        self.service = Participant("TestService")
        self.contexts: list[Context] = []
        self.undone: list[Context] = []
        self.service.action("Act")(self.act)
        self.service.compensation("Undo")(self.undo)

    async def act(self, command: dict[str, Any], context: Context) -> object:
        self.contexts.append(context)
        match command.get("do"):
            case "fail":
                raise StepFailed("out of stock")
            case "fail, retryable":
                raise StepFailed("not now", retryable=True)
            case "break":
                raise ZeroDivisionError("oops")
            case "break once" if len(self.contexts) == 1:
                raise ZeroDivisionError("oops")
            case "break once, then fail":
                raise ZeroDivisionError("oops") if len(self.contexts) == 1 else StepFailed("no")
            case "too large":
                return {"text": "x" * 70_000}
            case "later":
                return context.later()
            case _:
                return {"calls": len(self.contexts)}

    async def undo(self, command: dict[str, Any], context: Context) -> None:
        self.undone.append(context)
        match command.get("undo"):
            case "nothing":
                raise NotFound("no reservation")
            case "fail":
                raise StepFailed("the bank is closed")
            case "break":
                raise ZeroDivisionError("oops")


@pytest.fixture
def shop() -> Iterator[Shop]:
    return Shop()


def undo(**data: Any) -> Any:
    return command("TestService.Undo", direction=COMPENSATION, **data)


async def test_a_command_is_executed_and_its_result_answered(stage: Stage, shop: Shop) -> None:
    asked = command("TestService.Act", attempt=2, order_id="42")
    async with running(stage.runner(shop.service)):
        reply = await stage.desk.ask(asked)
    assert (reply.type, reply.result) == (ReplyType.STEP_COMPLETED, {"calls": 1})
    assert (reply.saga_id, reply.step_name) == ("order-1", "act")
    assert (reply.command_id, reply.attempt) == (asked.command_id, 2)
    [context] = shop.contexts
    assert context.data == {"order_id": "42"}
    assert context.idempotency_key == context.command_id == asked.command_id
    assert (context.saga_type, context.attempt) == ("TestSaga", 2)


async def test_a_model_takes_what_it_needs_and_gives_its_json(stage: Stage) -> None:
    service = Participant("TestService")
    taken: list[Reserve] = []

    @service.action("Reserve")
    async def reserve(command: Reserve, context: Context) -> Reservation:
        taken.append(command)
        return Reservation(reservation_id="R-1")

    order_id = "0190163d-8694-739b-aea5-966c26f8ad91"
    asked = command(
        "TestService.Reserve",
        order_id=order_id,
        day="2026-02-03",
        items=[{"sku": "A-1", "quantity": 2, "price": 3}],
        something_else=True,
    )
    async with running(stage.runner(service)):
        reply = await stage.desk.ask(asked)
    assert reply.result == {"reservation_id": "R-1"}
    assert taken == [
        Reserve(
            order_id=UUID(order_id),
            day=date(2026, 2, 3),
            items=[Item(sku="A-1", quantity=2)],
            saga_id="order-1",
        )
    ]


async def test_data_that_do_not_fit_are_a_definite_failure(stage: Stage) -> None:
    service = Participant("TestService")

    @service.action("Reserve")
    async def reserve(command: Reserve, context: Context) -> None:
        raise AssertionError("never called")

    @service.compensation("Release")
    async def release(command: Reserve, context: Context) -> None:
        raise AssertionError("never called")

    @service.action("Act")
    async def act(command: dict[str, Any], context: Context) -> None: ...

    async with running(stage.runner(service)):
        reply = await stage.desk.ask(command("TestService.Reserve", items=[{"sku": "secret"}]))
        await stage.desk.ask(command("TestService.Act", "order-2"))
        undone = await stage.desk.ask(
            command("TestService.Release", "order-2", direction=COMPENSATION)
        )
    assert (reply.type, reply.effect) == (ReplyType.STEP_FAILED, Effect.NONE)
    assert reply.retryable is False
    assert reply.error is not None
    assert "order_id: Field required" in reply.error
    assert "items.0.quantity" in reply.error
    assert "secret" not in reply.error
    assert (undone.type, undone.retryable) == (ReplyType.COMPENSATION_FAILED, False)


async def test_a_repeated_command_gets_the_same_answer_without_the_handler(
    stage: Stage, shop: Shop
) -> None:
    async with running(stage.runner(shop.service)):
        first = await stage.desk.ask(command("TestService.Act"))
        again = await stage.desk.ask(command("TestService.Act", attempt=2))
    assert again.result == first.result == {"calls": 1}
    assert again.attempt == 2
    assert len(shop.contexts) == 1
    facts = stage.facts_of(CommandHandled)
    assert [fact.outcome for fact in facts] == ["completed", "replayed"]
    assert [fact.traceback for fact in facts] == [None, None]


async def test_a_business_failure_is_sticky(stage: Stage, shop: Shop) -> None:
    asked = command("TestService.Act", do="fail")
    async with running(stage.runner(shop.service)):
        first = await stage.desk.ask(asked)
        again = await stage.desk.ask(asked)
    assert first == again
    assert (first.type, first.error) == (ReplyType.STEP_FAILED, "out of stock")
    assert (first.effect, first.retryable) == (Effect.NONE, None)
    assert len(shop.contexts) == 1


async def test_a_retryable_failure_is_tried_again_by_the_next_attempt(
    stage: Stage, shop: Shop
) -> None:
    asked = command("TestService.Act", do="fail, retryable")
    async with running(stage.runner(shop.service)):
        replies = [
            await stage.desk.ask(replace(asked, attempt=attempt)) for attempt in (1, 1, 2, 1)
        ]
    assert [reply.retryable for reply in replies] == [True] * 4
    assert [reply.attempt for reply in replies] == [1, 1, 2, 1]
    assert len(shop.contexts) == 2


async def test_an_unforeseen_error_is_tried_again_in_place(stage: Stage, shop: Shop) -> None:
    async with running(stage.runner(shop.service, tries=2)):
        reply = await stage.desk.ask(command("TestService.Act", do="break once"))
    assert (reply.type, reply.result) == (ReplyType.STEP_COMPLETED, {"calls": 2})


async def test_a_no_after_a_try_that_broke_is_no_proof_that_nothing_was_done(
    stage: Stage, shop: Shop
) -> None:
    """Outside of the inbox's transaction the try that broke may have left an effect."""
    asked = command("TestService.Act", do="break once, then fail")
    async with running(stage.runner(shop.service, tries=2)):
        replies = [await stage.desk.ask(asked) for _ in range(2)]
    effect = Effect.NONE if stage.inbox.contains_effects else Effect.UNKNOWN
    assert [(reply.error, reply.effect) for reply in replies] == [("no", effect)] * 2
    assert len(shop.contexts) == 2


async def test_a_no_after_a_try_that_was_cut_off_is_no_proof_either(
    stage: Stage, shop: Shop
) -> None:
    asked = command("TestService.Act", do="fail")
    async with running(stage.runner(shop.service)):
        async with stage.inbox.claim(asked.saga_id, asked.step_name) as claim:
            await claim.save(Entry(state=State.UNKNOWN))  # as before an effect outside
        reply = await stage.desk.ask(asked)
    assert reply.effect is (Effect.NONE if stage.inbox.contains_effects else Effect.UNKNOWN)


async def test_an_unforeseen_error_is_answered_in_the_end_and_not_kept(
    stage: Stage, shop: Shop
) -> None:
    asked = command("TestService.Act", do="break")
    async with running(stage.runner(shop.service, tries=3)):
        reply = await stage.desk.ask(asked)
        await stage.desk.ask(asked)
    assert (reply.type, reply.error) == (ReplyType.STEP_FAILED, "ZeroDivisionError: oops")
    assert (reply.retryable, reply.effect) == (True, Effect.UNKNOWN)
    assert len(shop.contexts) == 6
    first, _ = stage.facts_of(CommandHandled)
    head, place, _, error = first.traceback.splitlines()
    assert head == "Traceback (most recent call last):"
    assert __file__ in place
    assert place.endswith(", in act")
    assert error == "ZeroDivisionError: oops"


async def test_a_result_that_is_too_large_is_a_failure(stage: Stage, shop: Shop) -> None:
    async with running(stage.runner(shop.service)):
        reply = await stage.desk.ask(command("TestService.Act", do="too large"))
    assert (reply.type, reply.retryable) == (ReplyType.STEP_FAILED, False)
    contained = stage.inbox.contains_effects
    assert reply.effect is (Effect.NONE if contained else Effect.UNKNOWN)
    assert "result_too_large" in (reply.error or "")
    assert len(shop.contexts) == 1


async def test_a_compensation_undoes_and_is_not_done_twice(stage: Stage, shop: Shop) -> None:
    async with running(stage.runner(shop.service)):
        await stage.desk.ask(command("TestService.Act"))
        first = await stage.desk.ask(undo(original_result={"calls": 1}))
        again = await stage.desk.ask(undo(original_result={"calls": 1}))
    assert first == again
    assert first.type is ReplyType.COMPENSATION_COMPLETED
    [context] = shop.undone
    assert context.original_result == {"calls": 1}
    assert "original_result" not in context.data


async def test_nothing_to_undo_is_success(stage: Stage, shop: Shop) -> None:
    async with running(stage.runner(shop.service)):
        await stage.desk.ask(command("TestService.Act"))
        reply = await stage.desk.ask(undo(undo="nothing"))
    assert reply.type is ReplyType.COMPENSATION_COMPLETED
    assert len(shop.undone) == 1


@pytest.mark.parametrize("how", ["fail", "break"])
async def test_a_failed_compensation_is_tried_again_when_asked(
    stage: Stage, shop: Shop, how: str
) -> None:
    async with running(stage.runner(shop.service, tries=1)):
        await stage.desk.ask(command("TestService.Act"))
        failed = await stage.desk.ask(undo(undo=how))
        done = await stage.desk.ask(undo(attempt=2))
    assert (failed.type, failed.retryable) == (ReplyType.COMPENSATION_FAILED, None)
    assert done.type is ReplyType.COMPENSATION_COMPLETED
    assert len(shop.undone) == 2


async def test_a_compensation_before_its_action_succeeds_and_the_action_is_refused(
    stage: Stage, shop: Shop
) -> None:
    async with running(stage.runner(shop.service)):
        undone = await stage.desk.ask(undo())
        refused = await stage.desk.ask(command("TestService.Act"))
        again = await stage.desk.ask(undo())
    assert undone.type is again.type is ReplyType.COMPENSATION_COMPLETED
    assert (refused.type, refused.error) == (ReplyType.STEP_FAILED, TOO_LATE)
    assert refused.effect is Effect.NONE
    assert shop.contexts == shop.undone == []


async def test_an_action_after_its_compensation_is_refused(stage: Stage, shop: Shop) -> None:
    async with running(stage.runner(shop.service)):
        await stage.desk.ask(command("TestService.Act"))
        await stage.desk.ask(undo())
        refused = await stage.desk.ask(command("TestService.Act"))
    assert (refused.type, refused.error) == (ReplyType.STEP_FAILED, TOO_LATE)
    assert len(shop.contexts) == 1
    assert stage.facts_of(CommandHandled)[-1].outcome == "refused"


async def test_an_answer_put_off_is_not_given(stage: Stage, shop: Shop) -> None:
    async with running(stage.runner(shop.service)):
        await stage.desk.send(command("TestService.Act", do="later"))
        await stage.desk.send(command("TestService.Act", do="later"))
        assert await stage.desk.is_silent(until=command("TestService.Act", "order-2"))
    assert [context.saga_id for context in shop.contexts] == ["order-1", "order-2"]


async def test_a_synchronous_handler_runs_in_a_thread(stage: Stage) -> None:
    service = Participant("TestService")
    threads: list[threading.Thread] = []

    @service.action("Act")
    def act(command: dict[str, Any], context: Context) -> dict[str, Any]:
        threads.append(threading.current_thread())
        return {"ok": True}

    async with running(stage.runner(service)):
        reply = await stage.desk.ask(command("TestService.Act"))
    assert reply.result == {"ok": True}
    assert threads[0] is not threading.main_thread()


@pytest.mark.parametrize(
    ("destination", "body", "headers", "reason"),
    [
        ("TestService.Act", b"{not json", {}, "bad_json"),
        ("TestService.Act", b"[1, 2]", {}, "not_an_object"),
        ("TestService.Act", b'{"saga_id": "a", "saga_id": "b"}', {}, "duplicate_key"),
        ("TestService.Act", b'{"step_name": "x"}', {}, "bad_field"),
        ("TestService.Act", b'{"saga_id": "a/b", "step_name": "x"}', {}, "bad_field"),
        ("TestService.Act", b'{"saga_id": "a", "step_name": "\\u0000"}', {}, "nul_char"),
        (
            "TestService.Act",
            b'{"saga_id": "a", "step_name": "x"}',
            {"saga-attempt": -1},
            "bad_header",
        ),
        ("TestService.Nothing", b'{"saga_id": "a", "step_name": "x"}', {}, "unknown_command"),
        ("TestService.Undo", b'{"saga_id": "a", "step_name": "x"}', {}, "unexpected_direction"),
    ],
)
async def test_a_message_that_cannot_be_executed_is_set_aside_with_its_reason(
    stage: Stage,
    shop: Shop,
    destination: str,
    body: bytes,
    headers: dict[str, str | int],
    reason: str,
) -> None:
    async with running(stage.runner(shop.service)):
        await stage.desk.send_body(destination, body, **headers)
        letter = await stage.desk.dead_letter()
        assert (await stage.desk.ask(command("TestService.Act"))).result == {"calls": 1}
    assert letter.routing_key == f"rejected.{stage.names.commands_for('TestService')}"
    assert letter.headers["saga-reason"] == reason
    assert letter.body == body
    [rejected] = stage.facts_of(MessageRejected)
    assert rejected.reason == letter.headers["saga-reason"]


async def test_no_more_commands_run_at_a_time_than_allowed(stage: Stage) -> None:
    service = Participant("TestService")
    now, most = 0, 0
    both = asyncio.Event()

    @service.action("Act")
    async def act(command: dict[str, Any], context: Context) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        if now == 2 or not stage_allows_two:
            both.set()
        await both.wait()
        now -= 1

    stage_allows_two = "sqlite" not in (stage.inbox_url or "")  # its transactions take turns
    async with running(stage.runner(service, concurrency=2)):
        await stage.desk.send(*(command("TestService.Act", f"order-{n}") for n in range(8)))
        answered = {(await stage.desk.reply()).saga_id for _ in range(8)}
    assert len(answered) == 8
    assert most == (2 if stage_allows_two else 1)


async def test_a_command_that_outlasts_the_drain_is_named(stage: Stage) -> None:
    service = Participant("TestService")
    begun = asyncio.Event()

    @service.action("Act")
    async def act(command: dict[str, Any], context: Context) -> None:
        begun.set()
        await asyncio.sleep(60)

    runner = stage.runner(service)
    await runner.prepare()
    work = asyncio.create_task(runner.run(asyncio.Event()))
    await stage.desk.send(command("TestService.Act"))
    async with asyncio.timeout(10):
        await begun.wait()
    work.cancel()
    await asyncio.wait([work])
    [told] = [each for each in stage.facts_of(Noticed) if "cut off" in each.message]
    assert told.details["saga_id"] == command("TestService.Act").saga_id
    assert told.details["routing_key"] == "TestService.Act"


async def test_participants_of_one_program_do_not_mix(stage: Stage, shop: Shop) -> None:
    other = Participant("OtherService")

    @other.action("Act")
    async def act(command: dict[str, Any], context: Context) -> dict[str, Any]:
        return {"by": "other"}

    async with running(stage.runner(shop.service, other)):
        replies: list[Reply] = [
            await stage.desk.ask(command("OtherService.Act", step="other")),
            await stage.desk.ask(command("TestService.Act", step="test")),
        ]
    assert [reply.result for reply in replies] == [{"by": "other"}, {"calls": 1}]


async def test_a_trace_goes_on_in_the_reply(stage: Stage, shop: Shop) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    body = b'{"saga_id": "order-1", "step_name": "act"}'
    async with running(stage.runner(shop.service)):
        await stage.desk.send_body("TestService.Act", body, traceparent=trace)
        reply = await stage.desk.reply()
    assert reply.traceparent == trace
    assert shop.contexts[0].traceparent == trace


async def test_a_dead_letter_keeps_what_came(stage: Stage, shop: Shop) -> None:
    async with running(stage.runner(shop.service)):
        await stage.desk.send(command("TestService.Gone", note="Zoë"))
        letter = await stage.desk.dead_letter()
    assert body_of(letter)["note"] == "Zoë"
    assert letter.correlation_id == "order-1"
    assert "it has Act, Undo" in letter.headers["saga-error"]
