"""How a drill's story tells of calls and messages."""

from typing import Final

from messaging.contract import Direction, ReplyType
from messaging.port import Outgoing
from orchestrator.testing.drill.faults import Copies
from orchestrator.testing.drill.story import Kind, Story, named
from orchestrator.testing.drill.wire import MessageKind, Subject, subject_of
from participants import Context

_SAID: Final = {
    ReplyType.STEP_COMPLETED: Kind.SAID_DONE,
    ReplyType.COMPENSATION_COMPLETED: Kind.SAID_DONE,
    ReplyType.STEP_FAILED: Kind.SAID_NO,
    ReplyType.COMPENSATION_FAILED: Kind.SAID_NO,
}


def tell_of_call(story: Story, context: Context) -> None:
    """A handler is called."""
    step, direction = context.step_name, context.direction
    is_blind = direction is Direction.COMPENSATION and context.original_result is None
    kind = Kind.CALLED_BLINDLY if is_blind else Kind.CALLED
    without = ", without the result of its action" if is_blind else ""
    story.tell(
        kind, f"its service carries out {context.command.destination}{without}", step, direction
    )


def tell_of_message(story: Story, message: Outgoing) -> None:
    """A command or a reply leaves."""
    subject = subject_of(message)
    if subject is None or subject.direction is None:
        return
    if subject.kind is MessageKind.COMMAND:
        told = f"the orchestrator sends {message.type}, attempt {subject.attempt}"
        story.tell(Kind.SENT, told, subject.step, subject.direction)
    elif subject.reply is not None:
        kind = Kind.SAID_UNKNOWN if subject.is_effect_unknown else _SAID[subject.reply]
        words = f"it has failed: {subject.error}" if subject.error else "it is done"
        unknown = ", its effect unknown" if subject.is_effect_unknown else ""
        told = f"the reply of {named(subject.step, subject.direction)}: {words}{unknown}"
        story.tell(kind, told, subject.step, subject.direction)


def tell_of_arrival(story: Story, message: Outgoing) -> None:
    """What was held back arrives."""
    subject = subject_of(message)
    if subject is not None and subject.direction is not None:
        story.tell(Kind.FAULT, f"{_what(subject)} arrives now")


def fate_of(copies: Copies, subject: Subject) -> str:
    """What becomes of a message that is tampered with."""
    what = _what(subject)
    if copies.now > 1:
        return f"{what} arrives {copies.now} times"
    if copies.now == 1:
        return f"a copy of {what} is held back"
    return f"{what} is lost" if copies.later is None else f"{what} is held back"


def _what(subject: Subject) -> str:
    if subject.direction is None:
        return "the start"
    return f"the {subject.kind.name.lower()} of {named(subject.step, subject.direction)}"
