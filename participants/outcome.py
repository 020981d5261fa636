"""What came of a handler, classified once: a result or an exception becomes one kind. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from traceback import TracebackException
from types import TracebackType
from typing import Any, Final

from pydantic import BaseModel

from messaging.contract import MAX_ERROR_BYTES, Direction, Effect
from messaging.errors import NotFound, ProtocolError, SagaError
from messaging.limits import check_result
from messaging.texts import within

# What calls handlers.
_CALLERS: Final = frozenset({"participants.signatures", "participants.choreography.reactions"})
_MAX_FRAMES: Final = 20


class StepFailed(SagaError):
    """The business says no: `raise StepFailed("out of stock")`.

    The answer is kept and given again to every repetition, unless it is `retryable`. `effect`
    is what the step left behind: "none", or "unknown" if only the outside world can tell.
    Not said, a failed action is not retryable and a failed compensation is.
    """

    def __init__(
        self, error: str, *, retryable: bool | None = None, effect: Effect | str = Effect.NONE
    ) -> None:
        super().__init__(error)
        self.error = error
        self.retryable = retryable
        self.effect = Effect(effect)


class CommandRefused(SagaError):
    """The command's data do not fit the handler's model; no repetition helps."""


class LaterType:
    """The type of LATER."""

    def __repr__(self) -> str:
        return "LATER"


LATER: Final = LaterType()
"""What `context.later()` gives: the answer comes hours after, through `Replies`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    result: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadyUndone:
    """A compensation found nothing to undo: that is success."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A definite answer. `retryable` None: not said."""

    error: str
    retryable: bool | None = None
    effect: Effect = Effect.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsendable:
    """The handler did its work, but its result cannot be sent."""

    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """Nobody foresaw it: worth another try, then an answer with unknown effect."""

    error: str
    cause: Exception


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """The answer will be given by somebody else."""


Outcome = Completed | AlreadyUndone | Failed | Unsendable | Broken | Later


def outcome_of(answer: object, direction: Direction) -> Outcome:
    """What it means that a handler has returned, or raised, `answer`."""
    match answer:
        case Exception():
            return _outcome_of_error(answer, direction)
        case LaterType():
            return Later()
        case None:
            return Completed()
        case BaseModel():
            return _completed(answer.model_dump(mode="json"))
        case Mapping():
            return _completed(dict(answer))
        case _:
            kind = type(answer).__name__
            return Unsendable(error=f"the handler returned {kind}; return a model, a dict or None")


def text_of(error: Exception) -> str:
    """The kind of an error and what it says, cut to 4 KiB."""
    return _short(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


def traceback_of(error: Exception) -> str:
    """Where it was raised, from the handler on: nothing of what called it, no earlier try."""
    told = TracebackException(type(error), error, _from_handler(error), limit=-_MAX_FRAMES)
    raised: BaseException | None = error
    shown: TracebackException | None = told
    while shown and raised:
        raised = raised.__context__
        if raised and _from_handler(raised) is not raised.__traceback__:
            shown.__context__ = None  # another call of the handler: an earlier try
        shown = shown.__context__
    return "".join(told.format()).rstrip()


def _from_handler(error: BaseException) -> TracebackType | None:
    """The traceback behind the last call of a handler; all of it, if there is none."""
    found = trace = error.__traceback__
    while trace:
        if trace.tb_frame.f_globals.get("__name__") in _CALLERS:
            found = trace.tb_next
        trace = trace.tb_next
    return found


def _short(text: str) -> str:
    return within(text, MAX_ERROR_BYTES)


def _outcome_of_error(error: Exception, direction: Direction) -> Outcome:
    match error:
        case StepFailed():
            return Failed(error=_short(error.error), retryable=error.retryable, effect=error.effect)
        case NotFound() if direction is Direction.COMPENSATION:
            return AlreadyUndone()
        case NotFound() | CommandRefused():
            return Failed(error=_short(str(error)), retryable=False)
        case _:
            return Broken(error=text_of(error), cause=error)


def _completed(result: dict[str, Any]) -> Completed | Unsendable:
    """The result, if it can cross the network and be stored (CONTRACT §3)."""
    try:
        check_result(result)
    except ProtocolError as error:
        return Unsendable(error=_short(f"the result cannot be sent: {error}"))
    return Completed(result=result)
