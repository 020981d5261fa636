"""The faults that a drill tries, as data. What is done about each is in `injection`."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Final

from messaging.contract import Direction


class Moment(Enum):
    """When what was held back arrives after all."""

    UNDOING = auto()  # right behind the step's compensation
    AT_REST = auto()  # when nothing else moves the saga any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """How often a message arrives at once, and when it arrives again."""

    now: int = 1
    later: Moment | None = None


ONCE: Final = Copies()
TWICE: Final = Copies(now=2)
LOST: Final = Copies(now=0)
AGAIN: Final = Copies(later=Moment.AT_REST)
OVERTAKEN: Final = Copies(now=0, later=Moment.UNDOING)
TOO_LATE: Final = Copies(now=0, later=Moment.AT_REST)


class HandlerFault(Enum):
    """What becomes of the handler."""

    SAYS_NO = auto()  # once, and does nothing
    SAYS_NO_BUT_LAST = auto()  # at all attempts but the last one
    SAYS_NO_FOR_EVER = auto()  # until an operator has it tried again
    STUMBLES = auto()  # an error nobody foresaw, once, after its work
    BREAKS = auto()  # the same at every try of the first attempt


class ServicePoint(Enum):
    """Where the service of the step crashes."""

    BEFORE_COMMIT = auto()
    BEFORE_REPLY = auto()
    BEFORE_ACK = auto()


class OrchestratorPoint(StrEnum):
    """Where the orchestrator crashes while it moves the step."""

    BEFORE_COMMIT = "before-commit"
    AFTER_COMMIT = "after-commit"
    BEFORE_ACK = "before-ack"
    AFTER_ACK = "after-ack"
    AFTER_PUBLISH = "after-publish"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault. `about` None: the saga's start; else the action or compensation of a step."""

    name: str
    told: str
    about: Direction | None = Direction.ACTION
    start: Copies = ONCE
    command: Copies = ONCE
    reply: Copies = ONCE
    handler: HandlerFault | None = None
    service: ServicePoint | None = None
    orchestrator: OrchestratorPoint | None = None
    is_cancelled: bool = False  # somebody cancels the saga while the step's action executes

    @property
    def needs_memory(self) -> bool:
        """The service has to remember what it said."""
        return self.handler is HandlerFault.SAYS_NO and self.command.later is not None


NOTHING: Final = Fault(name="none", told="nothing goes wrong", about=None)

_CRASHES: Final = {
    OrchestratorPoint.BEFORE_COMMIT: "before it has saved",
    OrchestratorPoint.AFTER_COMMIT: "when it has saved, before it sends",
    OrchestratorPoint.BEFORE_ACK: "when it has sent, before it acknowledges",
    OrchestratorPoint.AFTER_ACK: "when all is done",
}


def _crashes(prefix: str, what: str, about: Direction | None) -> Sequence[Fault]:
    return [
        Fault(
            name=f"{prefix}{point}",
            told=f"the orchestrator crashes on {what}, {when}",
            about=about,
            orchestrator=point,
            is_cancelled=about is Direction.COMPENSATION,
        )
        for point, when in _CRASHES.items()
    ]


def _timer_crashes() -> Sequence[Fault]:
    points = {
        OrchestratorPoint.BEFORE_COMMIT: "before it has saved",
        OrchestratorPoint.AFTER_COMMIT: "when it has saved, before it sends",
        OrchestratorPoint.AFTER_PUBLISH: "when it has sent",
    }
    return [
        Fault(
            name=f"timer-{point}",
            told=f"no reply is heard; the orchestrator crashes on the deadline, {when}",
            reply=LOST,
            orchestrator=point,
        )
        for point, when in points.items()
    ]


def _undo(name: str, told: str, **what: Copies | HandlerFault | ServicePoint) -> Fault:
    """A fault of a compensation. So that it comes to that, somebody cancels the saga."""
    return Fault(
        name=f"undo-{name}",
        told=f"the compensation: {told}",
        about=Direction.COMPENSATION,
        is_cancelled=True,
        **what,  # type: ignore[arg-type]  # each by its own name
    )


_OF_STARTS: Final = (
    NOTHING,
    Fault(name="start-twice", told="the start comes twice", about=None, start=TWICE),
    *_crashes("start-", "the start", None),
)
_OF_ACTIONS: Final = (
    Fault(name="fails", told="the action says no", handler=HandlerFault.SAYS_NO),
    Fault(
        name="fails-then-again",
        told="the action says no; later its command comes again",
        handler=HandlerFault.SAYS_NO,
        command=AGAIN,
    ),
    Fault(
        name="stumbles",
        told="the handler breaks once, after its work",
        handler=HandlerFault.STUMBLES,
    ),
    Fault(
        name="breaks",
        told="the handler breaks after its work, whenever it is tried",
        handler=HandlerFault.BREAKS,
    ),
    Fault(name="cancelled", told="the saga is cancelled while it executes", is_cancelled=True),
    Fault(name="command-lost", told="nobody carries the command out", command=LOST),
    Fault(name="command-twice", told="the command comes twice", command=TWICE),
    Fault(name="command-again", told="the command comes again later", command=AGAIN),
    Fault(
        name="command-overtaken",
        told="the command comes right behind its compensation",
        command=OVERTAKEN,
    ),
    Fault(
        name="command-late",
        told="the command comes long after its compensation",
        command=TOO_LATE,
    ),
    Fault(
        name="command-after-undo",
        told="done, undone for want of a reply, and then the command comes again",
        command=AGAIN,
        reply=LOST,
    ),
    Fault(name="reply-lost", told="it is done, and no reply is heard", reply=LOST),
    Fault(name="reply-twice", told="the reply comes twice", reply=TWICE),
    Fault(name="reply-late", told="the reply comes while it is being undone", reply=OVERTAKEN),
    Fault(name="reply-too-late", told="the reply comes when all is over", reply=TOO_LATE),
    Fault(
        name="crash-before-commit",
        told="its service crashes when the work is done, before its commit",
        service=ServicePoint.BEFORE_COMMIT,
    ),
    Fault(
        name="crash-before-reply",
        told="its service crashes after its commit, before the reply",
        service=ServicePoint.BEFORE_REPLY,
    ),
    Fault(
        name="crash-before-ack",
        told="its service crashes after the reply, before the ack",
        service=ServicePoint.BEFORE_ACK,
    ),
    *_crashes("orchestrator-", "the reply", Direction.ACTION),
    *_timer_crashes(),
)
_OF_COMPENSATIONS: Final = (
    _undo("fails", "fails at all attempts but the last", handler=HandlerFault.SAYS_NO_BUT_LAST),
    _undo(
        "fails-for-ever",
        "fails until a person has it tried again",
        handler=HandlerFault.SAYS_NO_FOR_EVER,
    ),
    _undo("stumbles", "its handler breaks once, after its work", handler=HandlerFault.STUMBLES),
    _undo("command-lost", "nobody carries it out", command=LOST),
    _undo("command-twice", "its command comes twice", command=TWICE),
    _undo("command-again", "its command comes again later", command=AGAIN),
    _undo("reply-lost", "it is done, and no reply is heard", reply=LOST),
    _undo("reply-twice", "its reply comes twice", reply=TWICE),
    _undo(
        "crash-before-commit",
        "its service crashes before its commit",
        service=ServicePoint.BEFORE_COMMIT,
    ),
    _undo(
        "crash-before-reply",
        "its service crashes after its commit, before the reply",
        service=ServicePoint.BEFORE_REPLY,
    ),
    _undo(
        "crash-before-ack",
        "its service crashes after the reply, before the ack",
        service=ServicePoint.BEFORE_ACK,
    ),
    *_crashes("undo-orchestrator-", "the compensation's reply", Direction.COMPENSATION),
)

FAULTS: Final[Sequence[Fault]] = (*_OF_STARTS, *_OF_ACTIONS, *_OF_COMPENSATIONS)
"""All of them, in the order in which they are tried."""
