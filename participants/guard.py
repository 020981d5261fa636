"""The rules of the guard: what a command meets in the inbox, and what it leaves there. Pure.

Three things hold: a repeated command gets the stored reply; a compensation that comes before
its action succeeds and leaves a tombstone; an action that comes after is refused.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, assert_never

from messaging.contract import Command, Direction, Effect, Reply, ReplyType
from participants.outcome import AlreadyUndone, Broken, Completed, Failed, Later, Unsendable

TOO_LATE: Final = "refused: this action came after its compensation; nothing was done"


class State(StrEnum):
    DONE = "done"
    FAILED = "failed"  # without effect; a definite failure is answered the same way for ever
    UNKNOWN = "unknown"  # an attempt began or ended, and its effect outside is not known
    LATER = "later"  # the action has run; its answer is awaited
    COMPENSATING = "compensating"  # the compensation has run; its answer is awaited
    COMPENSATED = "compensated"
    TOMBSTONE = "tombstone"  # compensated before, or instead of, any effect


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the inbox knows of one step of one saga."""

    state: State
    action_reply: Reply | None = None
    compensation_reply: Reply | None = None
    # Of the orchestrator's database, when the step was first heard of, if no reply says so.
    epoch: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Execute:
    """Call the handler."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """Answer from memory."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Bury:
    """Nothing to undo: leave a tombstone and succeed."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """The compensation was here before."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The handler has run, and its answer is still awaited: say nothing."""


Verdict = Execute | Repeat | Bury | Refuse | Wait
Success = Completed | AlreadyUndone | Later
Failure = Failed | Unsendable | Broken


def verdict_on(direction: Direction, entry: Entry | None, *, attempt: int = 1) -> Verdict:
    """What to do with a command, by what the inbox knows."""
    match direction:
        case Direction.ACTION:
            return _verdict_on_action(entry, attempt)
        case Direction.COMPENSATION:
            return _verdict_on_compensation(entry)
        case _:
            assert_never(direction)


def _verdict_on_action(entry: Entry | None, attempt: int) -> Verdict:
    if entry is None:
        return Execute()
    match entry.state:
        case State.DONE | State.FAILED | State.UNKNOWN:
            # Unknown without a reply: an earlier attempt was cut off. Its command id tells the
            # outside world that this is the same request.
            reply = entry.action_reply
            return Repeat(reply) if reply and _holds_for(reply, attempt) else Execute()
        case State.LATER:
            return Wait()
        case State.COMPENSATING | State.COMPENSATED | State.TOMBSTONE:
            return Refuse()
        case _:
            assert_never(entry.state)


def _holds_for(reply: Reply, attempt: int) -> bool:
    """A failure that may be tried again answers its own attempt and those before it."""
    return reply.attempt is None or attempt <= reply.attempt


def _verdict_on_compensation(entry: Entry | None) -> Verdict:
    if entry is None:
        return Bury()
    match entry.state:
        case State.DONE | State.UNKNOWN | State.LATER:
            return Execute()
        case State.FAILED:
            return Bury()
        case State.COMPENSATING:
            return Wait()
        case State.COMPENSATED | State.TOMBSTONE:
            return Repeat(entry.compensation_reply) if entry.compensation_reply else Bury()
        case _:
            assert_never(entry.state)


def entry_after(
    direction: Direction,
    before: Entry | None,
    outcome: Success | Failed,
    reply: Reply | None,
    *,
    attempt: int | None = None,
    is_contained: bool = True,
) -> Entry | None:
    """What the inbox knows afterwards; None if it stays as it was.

    A failure that may be tried again is kept for its `attempt`, if that is known: the saga may
    have given up when a copy of the command comes, and must not be surprised by a success.
    `is_contained`: all effects lie in the inbox's transaction. Where they do not, an earlier
    attempt may have left one before it was cut off, so that a compensation always looks.
    """
    if direction is Direction.ACTION:
        after = _entry_after_action(outcome, reply, attempt)
        if after and after.state is State.FAILED and not is_contained:
            return replace(after, state=State.UNKNOWN)
        return after
    kept = before or Entry(state=State.TOMBSTONE)
    match outcome:
        case Completed() | AlreadyUndone():
            return replace(kept, state=State.COMPENSATED, compensation_reply=reply)
        case Later():
            return replace(kept, state=State.COMPENSATING)
        case Failed():
            return None  # the next attempt tries again
        case _:
            assert_never(outcome)


def _entry_after_action(
    outcome: Success | Failed, reply: Reply | None, attempt: int | None
) -> Entry | None:
    match outcome:
        case Completed() | AlreadyUndone():
            return Entry(state=State.DONE, action_reply=reply)
        case Later():
            return Entry(state=State.LATER)
        case Failed(retryable=True, effect=Effect.NONE):
            if reply is None or attempt is None:
                return None
            return Entry(state=State.FAILED, action_reply=replace(reply, attempt=attempt))
        case Failed(retryable=True):
            return Entry(state=State.UNKNOWN)
        case Failed(effect=Effect.UNKNOWN):
            return Entry(state=State.UNKNOWN, action_reply=reply)
        case Failed():
            return Entry(state=State.FAILED, action_reply=reply)
        case _:
            assert_never(outcome)


def buried(before: Entry | None, reply: Reply) -> Entry:
    """The tombstone in place of `before`."""
    kept = before or Entry(state=State.TOMBSTONE)
    return replace(kept, state=State.TOMBSTONE, compensation_reply=reply)


def definite(failure: Failure, direction: Direction, *, is_contained: bool) -> Failed:
    """The failure as it is answered.

    `is_contained`: all effects lie in the inbox's transaction, which has been undone. Then a
    result that cannot be sent has left nothing behind; otherwise, nobody knows.
    """
    match failure:
        case Failed():
            return failure
        case Unsendable():
            effect = Effect.NONE if is_contained else Effect.UNKNOWN
            return Failed(error=failure.error, retryable=False, effect=effect)
        case Broken():
            retryable = True if direction is Direction.ACTION else None
            return Failed(error=failure.error, retryable=retryable, effect=Effect.UNKNOWN)
        case _:
            assert_never(failure)


def in_doubt(failed: Failed) -> Failed:
    """A failure without effect, after an earlier try whose end nobody knows: that one may have
    left an effect outside, and the saga has to look."""
    return replace(failed, effect=Effect.UNKNOWN) if failed.effect is Effect.NONE else failed


def reply_to(command: Command, outcome: Success | Failed) -> Reply | None:
    """The reply that says so; None when it comes later."""
    return None if isinstance(outcome, Later) else final_reply_to(command, outcome)


def final_reply_to(command: Command, outcome: Completed | AlreadyUndone | Failed) -> Reply:
    is_action = command.direction is Direction.ACTION
    if isinstance(outcome, Failed):
        return Reply(
            type=ReplyType.STEP_FAILED if is_action else ReplyType.COMPENSATION_FAILED,
            saga_id=command.saga_id,
            step_name=command.step_name,
            error=outcome.error,
            retryable=outcome.retryable,
            effect=outcome.effect if is_action else Effect.NONE,
            epoch=command.epoch,
        )
    result = outcome.result if isinstance(outcome, Completed) else None
    return Reply(
        type=ReplyType.STEP_COMPLETED if is_action else ReplyType.COMPENSATION_COMPLETED,
        saga_id=command.saga_id,
        step_name=command.step_name,
        result={} if result is None and is_action else result,
        epoch=command.epoch,
    )


def since(entry: Entry | None, command: Command) -> Command:
    """The command, as of the database's epoch in which the step was first heard of.

    By that the orchestrator knows a saga that has had a life which its database has lost.
    """
    known = first_epoch(entry)
    return replace(command, epoch=known) if known else command


def first_epoch(entry: Entry | None) -> str | None:
    """The database's epoch in which the step was first heard of, if that is known."""
    if entry is None:
        return None
    replies = (entry.action_reply, entry.compensation_reply)
    return next((reply.epoch for reply in replies if reply and reply.epoch), entry.epoch)


def dated(entry: Entry, command: Command) -> Entry:
    """The entry of a step that was first heard of in the epoch of `command`: see `since`."""
    if first_epoch(entry) == command.epoch:
        return entry
    reply = entry.action_reply and replace(entry.action_reply, epoch=command.epoch)
    return replace(entry, action_reply=reply, epoch=command.epoch)


def addressed(reply: Reply, command: Command, traceparent: str | None) -> Reply:
    """`reply` as the answer to this very attempt."""
    return replace(
        reply,
        command_id=command.command_id,
        attempt=command.attempt,
        traceparent=traceparent,
        epoch=_epochs_of(reply, command),
    )


def _epochs_of(reply: Reply, command: Command) -> str | None:
    """A command of another life of the saga is told by its own epoch: what it has undone may
    be a step that was first heard of in this life."""
    if reply.epoch is None or command.epoch is None or command.epoch in reply.epoch.split():
        return reply.epoch or command.epoch
    return f"{reply.epoch} {command.epoch}"
