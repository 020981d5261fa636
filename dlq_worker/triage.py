"""What to do with a dead letter: all the rules, and only the rules. Pure."""

from dataclasses import dataclass
from typing import Final, assert_never

from dlq_worker.letter import DeadLetter, Origin, Place
from dlq_worker.statuses import Severity
from messaging import codec
from messaging.contract import (
    Direction,
    Effect,
    Reply,
    ReplyType,
    command_id_for,
    participant_of,
)
from messaging.errors import ProtocolError
from messaging.events import HANDLER_FAILED, decode_event
from messaging.port import Delivery
from orchestrator.saga.state import Saga, SagaState, Step, StepStatus
from orchestrator.store.event_log import Standing


@dataclass(frozen=True, slots=True)
class Recover:
    """An exhausted compensation: replay it after pauses, then call a person."""


@dataclass(frozen=True, slots=True)
class AnswerForParticipant:
    """A command that its participant could not take: answer, so that no saga waits for ever."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class SendAgain:
    """A valid message that only ran into the delivery limit: at most three times."""


@dataclass(frozen=True, slots=True)
class SendLater:
    """An event that its service failed at: again after pauses, then call a person."""


@dataclass(frozen=True, slots=True)
class CallPerson:
    """Nothing that a program could do is right."""

    why: str
    severity: Severity = Severity.CRITICAL


@dataclass(frozen=True, slots=True)
class Keep:
    """Cannot be processed: kept and grouped, one alert for each signature, no replay."""

    why: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Its saga is on the move: look again when it has moved."""

    why: str


@dataclass(frozen=True, slots=True)
class Superseded:
    """Its saga has moved on: nothing is left to do."""

    why: str


Verdict = (
    Recover | AnswerForParticipant | SendAgain | SendLater | CallPerson | Keep | Wait | Superseded
)

PERSONAL_REASONS: Final = {
    "start_conflict": CallPerson(
        "a start came with the id of another saga, and with other data", Severity.WARNING
    ),
    "unauthorised": CallPerson("a message came from a user who may not send it"),
}
"""Rejections that say something about the sender, not about the message."""


def triage(letter: DeadLetter, saga: Saga | None, choreographed: Standing | None = None) -> Verdict:
    """What to do with `letter`, whose saga, if it has one that exists, is `saga`.

    `choreographed`: how it stands in the recorder's log, for letters about that.
    """
    match letter.origin:
        case Origin.COMPENSATION:
            return _exhausted_compensation(letter, saga)
        case Origin.FORWARD:
            return _exhausted_action(letter, saga)
        case Origin.LATE_SUCCESS:
            return CallPerson(letter.error or "a step succeeded after its saga had ended")
        case Origin.QUIET:
            return _gone_quiet(letter, choreographed)
        case Origin.REJECTED:
            return _rejected(letter, saga)
        case Origin.BROKER:
            return _given_up_by_broker(letter, saga)
        case Origin.UNKNOWN:
            return Keep("it came by a way that nobody uses")
        case _:
            assert_never(letter.origin)


def step_of(letter: DeadLetter, saga: Saga | None) -> Step | None:
    """The step that the letter is about: by its name, or by the command's id if that is lost."""
    steps = saga.steps if saga else ()
    if letter.step_name is not None:
        return next((step for step in steps if step.name == letter.step_name), None)
    if saga is None or letter.direction is None:
        return None
    wanted = letter.headers.get("saga-command-id")
    ids = {command_id_for(saga.saga_id, step.name, letter.direction): step for step in steps}
    return ids.get(wanted) if isinstance(wanted, str) else None


def has_moved(letter: DeadLetter, saga: Saga | None) -> bool | None:
    """Whether a message that was sent again has reached its saga; None: nobody can tell."""
    step = step_of(letter, saga)
    if letter.place is Place.REPLIES:
        return saga is not None and (step is None or not _is_outstanding(step))
    if letter.saga_id is None or letter.place is Place.EVENTS:
        return None
    if letter.type == "CancelSaga":
        return saga is not None and _is_cancelled(saga)
    return saga is not None


def _exhausted_compensation(letter: DeadLetter, saga: Saga | None) -> Verdict:
    step = step_of(letter, saga)
    if saga is None or step is None:
        return CallPerson("its saga is not in the database")
    match step.status:
        case StepStatus.COMPENSATION_FAILED:
            return Recover()
        case StepStatus.COMPENSATING:
            return Wait("its compensation is being tried again")
        case _:
            return Superseded(f"step {step.name} is {step.status}")


def _exhausted_action(letter: DeadLetter, saga: Saga | None) -> Verdict:
    step = step_of(letter, saga)
    if saga is None or step is None:
        return CallPerson("its saga is not in the database")
    if saga.state.is_final or saga.state is SagaState.COMPENSATING:
        return Superseded(f"its saga is {saga.state}")
    match step.status:
        case StepStatus.FAILED:
            return CallPerson(f"step {step.name} is past the pivot and has exhausted its retries")
        case StepStatus.EXECUTING:
            return Wait("its action is being tried again")
        case _:
            return Superseded(f"step {step.name} is {step.status}")


def _gone_quiet(letter: DeadLetter, standing: Standing | None) -> Verdict:
    if standing is None:
        return CallPerson("its saga is not in the recorder's log")
    if standing.ended_at is not None:
        return Superseded(f"its saga has {standing.state}")
    if standing.events != letter.headers.get("saga-events"):
        return Superseded(f"its saga has gone on: {standing.last_event}")
    return CallPerson(f"{letter.error}; a retry sends the last events again")


def _rejected(letter: DeadLetter, saga: Saga | None) -> Verdict:
    if letter.reason in PERSONAL_REASONS:
        return PERSONAL_REASONS[letter.reason]
    if letter.place is Place.COMMANDS:
        return _command(letter, saga)
    if letter.place is Place.EVENTS and letter.reason == HANDLER_FAILED:
        return SendLater()
    return Keep(f"rejected: {letter.reason}")


def _given_up_by_broker(letter: DeadLetter, saga: Saga | None) -> Verdict:
    match letter.place:
        case Place.COMMANDS:
            return _command(letter, saga)
        case Place.STARTS | Place.REPLIES | Place.EVENTS if problem := _problem_with(letter):
            return Keep(problem)
        case Place.REPLIES if saga is None:
            return Keep("its saga is not in the database")
        case Place.STARTS | Place.REPLIES | Place.EVENTS:
            return SendAgain()
        case Place.NONE:
            return Keep("it came by a way that nobody uses")
        case _:
            assert_never(letter.place)


def _problem_with(letter: DeadLetter) -> str | None:
    """Why a start, a reply or an event cannot be processed, however often it is sent."""
    if not letter.is_whole:
        return "it is too large"
    arrival = Delivery(
        queue=letter.queue or "",
        exchange="",
        routing_key=letter.type or "",
        body=letter.body,
        tag=0,
        session=0,
        type=letter.type,
        message_id=letter.message_id,
        content_type=letter.properties.get("content_type"),
        content_encoding=letter.properties.get("content_encoding"),
        headers=letter.headers,
    )
    decode = {Place.REPLIES: codec.decode_reply, Place.EVENTS: decode_event}
    try:
        decode.get(letter.place, codec.decode_start)(arrival)
    except ProtocolError as error:
        return str(error)
    return None


def _command(letter: DeadLetter, saga: Saga | None) -> Verdict:
    """Answer only what is awaited, and only for the participant whose step it is."""
    step = step_of(letter, saga)
    if saga is None or step is None:
        return Keep("no saga has such a step")
    direction = letter.direction
    planned = step.plan.compensation if direction is Direction.COMPENSATION else step.plan.action
    if direction is None or planned is None or participant_of(planned) != letter.participant:
        return Keep(f"step {step.name} asks nothing like that of {letter.participant}")
    if not _is_outstanding(step) or _going(step) is not direction:
        return Superseded(f"step {step.name} is {step.status}")
    if letter.attempt is not None and letter.attempt < _attempts(step):
        return Superseded(f"a later attempt of step {step.name} is under way")
    return AnswerForParticipant(_answer(letter, saga, step, direction))


def _answer(letter: DeadLetter, saga: Saga, step: Step, direction: Direction) -> Reply:
    """Under the id that the command must have had: what stands in its header may be anything."""
    is_action = direction is Direction.ACTION
    return Reply(
        type=ReplyType.STEP_FAILED if is_action else ReplyType.COMPENSATION_FAILED,
        saga_id=saga.saga_id,
        step_name=step.name,
        error=f"{letter.participant} could not take the command: {letter.error or letter.reason}",
        effect=Effect.UNKNOWN if is_action else Effect.NONE,
        command_id=command_id_for(saga.saga_id, step.name, direction),
        attempt=letter.attempt,
    )


def _is_outstanding(step: Step) -> bool:
    return _going(step) is not None and step.retry_at is None


def _going(step: Step) -> Direction | None:
    match step.status:
        case StepStatus.EXECUTING:
            return Direction.ACTION
        case StepStatus.COMPENSATING:
            return Direction.COMPENSATION
        case _:
            return None


def _attempts(step: Step) -> int:
    is_back = step.status is StepStatus.COMPENSATING
    return step.compensation_attempts if is_back else step.attempts


def _is_cancelled(saga: Saga) -> bool:
    turned_back = {SagaState.COMPENSATING, SagaState.COMPLETED, SagaState.FAILED}
    return saga.cancel_reason is not None or saga.state in turned_back
