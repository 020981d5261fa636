"""What is done about an event, by what this service knows of its saga already. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from messaging.events import Event
from messaging.port import Outgoing
from participants.choreography.reactions import Reaction


class Kind(StrEnum):
    """How an event came into a service's log."""

    START = "start"  # this service emitted it, and a saga began
    REACTION = "reaction"
    COMPENSATION = "compensation"


class State(StrEnum):
    """What became of it."""

    HANDLED = "handled"
    UNDONE = "undone"  # handled, and compensated since
    FAILED = "failed"  # the business said no: nothing was done, and the event says so
    REFUSED = "refused"  # it came after what undoes it: nothing was done
    TOMBSTONE = "tombstone"  # a compensation before what it undoes


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One event in a service's log, and what it emitted because of it."""

    event_id: str
    event: str
    kind: Kind
    state: State
    undoes: str | None = None
    result: Mapping[str, Any] | None = None
    emitted: tuple[Outgoing, ...] = ()


@dataclass(frozen=True, slots=True)
class React:
    """Call the handler. `standing`: what a compensation is to undo, oldest first."""

    standing: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class Repeat:
    """It came before: publish again what was emitted."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Refuse:
    """What undoes it has come first."""


Verdict = React | Repeat | Refuse


def verdict_on(event: Event, reaction: Reaction, entries: Sequence[Entry]) -> Verdict:
    """What to do about `event`, given all that the log has of its saga."""
    for entry in entries:
        if entry.event_id == event.event_id:
            return Repeat(entry)
    if reaction.undoes is not None:
        return React(standing(entries, reaction.undoes))
    if any(entry.undoes == reaction.event for entry in entries):
        return Refuse()
    return React()


def standing(entries: Sequence[Entry], event: str) -> tuple[Entry, ...]:
    """Reactions to that type of event whose effect stands."""
    return tuple(
        entry
        for entry in entries
        if entry.kind is Kind.REACTION and entry.event == event and entry.state is State.HANDLED
    )


def entry_after(
    event: Event,
    reaction: Reaction,
    verdict: React,
    result: Mapping[str, Any],
    emitted: Sequence[Outgoing],
) -> Entry:
    """The log's new line once the handler has done its work."""
    is_compensation = reaction.undoes is not None
    has_undone = bool(verdict.standing) or not is_compensation
    return Entry(
        event_id=event.event_id,
        event=event.type,
        kind=Kind.COMPENSATION if is_compensation else Kind.REACTION,
        state=State.HANDLED if has_undone else State.TOMBSTONE,
        undoes=reaction.undoes,
        result=result,
        emitted=tuple(emitted),
    )


def entry_of_failure(event: Event, emitted: Sequence[Outgoing]) -> Entry:
    """The log's new line when the business said no."""
    return Entry(
        event_id=event.event_id,
        event=event.type,
        kind=Kind.REACTION,
        state=State.FAILED,
        emitted=tuple(emitted),
    )


def entry_of_refusal(event: Event) -> Entry:
    return Entry(event_id=event.event_id, event=event.type, kind=Kind.REACTION, state=State.REFUSED)
