"""Every kind of dead letter, in every state of its saga, has its verdict."""

from dataclasses import replace

import pytest
from dlq_stories import (
    FORWARD_EXHAUSTED,
    NOW,
    PAST_PIVOT,
    PAYING,
    REFUND,
    REFUND_FAILED,
    REFUNDING,
    SAGA,
    STARTED,
    command_letter,
    letter,
    saga_after,
)

from dlq_worker.letter import DeadLetter, Origin, Place
from dlq_worker.statuses import Severity
from dlq_worker.triage import (
    AnswerForParticipant,
    CallPerson,
    Keep,
    Recover,
    SendAgain,
    Superseded,
    Verdict,
    Wait,
    has_moved,
    triage,
)
from messaging.contract import Direction, Effect, ReplyType, command_id_for
from orchestrator.saga.state import (
    CancelRequested,
    CompensationCompleted,
    Event,
    RetryRequested,
    Saga,
    StepCompleted,
)

ACTION = Direction.ACTION
RETRY_PAY = RetryRequested(step="pay", reason="r", actor="a")
COMPENSATION = letter("compensation", {"saga_id": SAGA, "step_name": "pay"})
FORWARD = letter("forward", {"saga_id": SAGA, "step_name": "ship"})
LATE = letter("late_success", {"saga_id": SAGA, "step_name": "ship"})
REPLY_BODY = {"saga_id": SAGA, "step_name": "pay", "result": {}}
REPLY = letter("saga.replies", REPLY_BODY, type="SagaStepCompleted")
START = letter("saga.starts", {"saga_type": "Order", "data": {}}, type="StartSaga")
CANCEL = letter("saga.starts", {"saga_id": SAGA, "reason": "r"}, type="CancelSaga")
UNDO = command_letter(command=REFUND, direction="compensation")
REJECTED_COMMAND = command_letter("rejected.saga.commands.PaymentService")


def rejected(reason: str, queue: str = "saga.replies") -> DeadLetter:
    return letter(f"rejected.{queue}", REPLY_BODY, headers={"saga-reason": reason})


CASES: list[tuple[str, DeadLetter, tuple[Event, ...] | None, type[Verdict]]] = [
    ("exhausted", COMPENSATION, REFUND_FAILED, Recover),
    ("exhausted, retried by hand", COMPENSATION, (*REFUND_FAILED, RETRY_PAY), Wait),
    ("exhausted, not yet", COMPENSATION, REFUNDING, Wait),
    (
        "exhausted, undone late",
        COMPENSATION,
        (*REFUND_FAILED, CompensationCompleted(step="pay")),
        Superseded,
    ),
    ("exhausted, of another life", COMPENSATION, STARTED, Superseded),
    ("exhausted, saga gone", COMPENSATION, None, CallPerson),
    ("command of an action", command_letter(), PAYING, AnswerForParticipant),
    ("rejected by its participant", REJECTED_COMMAND, PAYING, AnswerForParticipant),
    ("command of a compensation", UNDO, REFUNDING, AnswerForParticipant),
    ("command, compensated now", command_letter(), REFUNDING, Superseded),
    ("command, not asked yet", command_letter(), STARTED, Superseded),
    ("command, exhausted now", UNDO, REFUND_FAILED, Superseded),
    ("command, older attempt", UNDO, (*REFUND_FAILED, RETRY_PAY), Superseded),
    ("command, saga gone", command_letter(), None, Keep),
    ("command of no step", command_letter(step_name="elsewhere"), PAYING, Keep),
    ("command without direction", command_letter(direction="sideways"), PAYING, Keep),
    ("command of another", command_letter("saga.commands.InventoryService"), PAYING, Keep),
    (
        "forged rejection",
        command_letter("rejected.saga.commands.ShippingService", command="PaymentService.X"),
        PAYING,
        Keep,
    ),
    ("reply", REPLY, PAYING, SendAgain),
    ("reply, saga gone", REPLY, None, Keep),
    ("reply without type", letter("saga.replies", REPLY_BODY), PAYING, Keep),
    ("reply of no type", letter("saga.replies", REPLY_BODY, type="Nonsense"), PAYING, Keep),
    ("reply that is garbage", letter("saga.replies", b"{", type="SagaStepFailed"), PAYING, Keep),
    (
        "reply too large",
        letter("saga.replies", b"x" * (2**21 + 1), type="SagaStepFailed"),
        None,
        Keep,
    ),
    ("start", START, None, SendAgain),
    ("start that is garbage", letter("saga.starts", b"[]", type="StartSaga"), None, Keep),
    ("cancel", CANCEL, PAYING, SendAgain),
    ("late success", LATE, REFUND_FAILED, CallPerson),
    ("late success, saga gone", LATE, None, CallPerson),
    ("conflict", rejected("start_conflict", "saga.starts"), None, CallPerson),
    ("unauthorised", rejected("unauthorised"), PAYING, CallPerson),
    ("bad json", rejected("bad_json"), None, Keep),
    ("out of sequence", rejected("out_of_sequence"), PAYING, Keep),
    ("rejected from nowhere", letter("rejected.elsewhere"), None, Keep),
    ("unknown", letter("whatever"), None, Keep),
]


@pytest.mark.parametrize(
    ("dead", "events", "expected"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_the_table(
    dead: DeadLetter, events: tuple[Event, ...] | None, expected: type[Verdict]
) -> None:
    saga = None if events is None else saga_after(*events)
    assert isinstance(triage(dead, saga), expected)


FORWARD_CASES: list[tuple[str, tuple[Event, ...] | None, type[Verdict]]] = [
    ("exhausted", FORWARD_EXHAUSTED, CallPerson),
    (
        "retried by hand",
        (*FORWARD_EXHAUSTED, RetryRequested(step="ship", reason="r", actor="a")),
        Wait,
    ),
    ("completed late", (*FORWARD_EXHAUSTED, StepCompleted(step="ship")), Superseded),
    ("saga gone", None, CallPerson),
]


@pytest.mark.parametrize(
    ("events", "expected"),
    [case[1:] for case in FORWARD_CASES],
    ids=[case[0] for case in FORWARD_CASES],
)
def test_a_step_past_the_pivot_needs_a_person_until_it_moves(
    events: tuple[Event, ...] | None, expected: type[Verdict]
) -> None:
    saga = None if events is None else saga_after(*events, plan=PAST_PIVOT)
    assert isinstance(triage(FORWARD, saga), expected)


def test_every_origin_and_place_has_a_verdict_in_every_state() -> None:
    sagas: list[Saga | None] = [None]
    for story in (STARTED, PAYING, REFUNDING, REFUND_FAILED):
        sagas += [saga_after(*story), replace(saga_after(*story), steps=())]
    for origin in Origin:
        for place in Place:
            for saga in sagas:
                dead = replace(command_letter(), origin=origin, place=place)
                assert isinstance(triage(dead, saga), Verdict)


def test_an_action_is_answered_with_effect_unknown_and_its_own_identity() -> None:
    verdict = triage(command_letter(attempt=1), saga_after(*PAYING))
    assert isinstance(verdict, AnswerForParticipant)
    reply = verdict.reply
    assert (reply.type, reply.effect) == (ReplyType.STEP_FAILED, Effect.UNKNOWN)
    assert (reply.saga_id, reply.step_name) == (SAGA, "pay")
    assert (reply.command_id, reply.attempt) == (command_id_for(SAGA, "pay", ACTION), 1)
    assert reply.error == (
        "PaymentService could not take the command: "
        "saga.commands.PaymentService gave it up: delivery_limit"
    )


def test_an_answer_does_not_repeat_an_id_that_nobody_would_take() -> None:
    headers = {**command_letter().headers, "saga-command-id": "x" * 300}
    verdict = triage(replace(command_letter(), headers=headers), saga_after(*PAYING))
    assert isinstance(verdict, AnswerForParticipant)
    assert verdict.reply.command_id == command_id_for(SAGA, "pay", ACTION)


def test_a_command_whose_body_was_cut_is_known_by_its_command_id() -> None:
    headers = {**command_letter().headers, "saga-command-id": command_id_for(SAGA, "pay", ACTION)}
    cut = replace(command_letter(), step_name=None, headers=headers)
    verdict = triage(cut, saga_after(*PAYING))
    assert isinstance(verdict, AnswerForParticipant)
    assert verdict.reply.step_name == "pay"
    foreign = replace(cut, headers={**headers, "saga-command-id": "of another"})
    assert isinstance(triage(foreign, saga_after(*PAYING)), Keep)


def test_a_compensation_is_answered_as_a_failure_that_may_be_retried() -> None:
    verdict = triage(UNDO, saga_after(*REFUNDING))
    assert isinstance(verdict, AnswerForParticipant)
    assert verdict.reply.type is ReplyType.COMPENSATION_FAILED
    assert verdict.reply.retryable is None


def test_what_waits_for_a_person_is_critical_and_what_a_client_did_is_not() -> None:
    late, conflict = triage(LATE, None), triage(rejected("start_conflict", "saga.starts"), None)
    assert isinstance(late, CallPerson)
    assert late.severity is Severity.CRITICAL
    assert isinstance(conflict, CallPerson)
    assert conflict.severity is Severity.WARNING


@pytest.mark.parametrize(
    ("dead", "events", "expected"),
    [
        (REPLY, PAYING, False),
        (REPLY, REFUNDING, False),
        (REPLY, (*REFUNDING, CompensationCompleted(step="pay")), True),
        (REPLY, None, False),
        (START, None, None),
        (replace(START, saga_id=SAGA), None, False),
        (replace(START, saga_id=SAGA), STARTED, True),
        (CANCEL, PAYING, False),
        (CANCEL, (*PAYING, CancelRequested(reason="r", actor="a")), True),
        (CANCEL, REFUNDING, True),
        (CANCEL, None, False),
    ],
)
def test_a_message_sent_again_counts_as_taken_only_when_its_saga_shows_it(
    dead: DeadLetter, events: tuple[Event, ...] | None, expected: bool | None
) -> None:
    saga = None if events is None else saga_after(*events, now=NOW)
    assert has_moved(dead, saga) is expected
