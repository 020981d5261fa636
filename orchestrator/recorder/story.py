"""What happened in a choreographed saga: its events by cause, and what is missing. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from messaging.errors import Refused
from orchestrator.store.event_queries import EventLine, Record

FIRST = "first"
"""Instead of an event's id or type: the events with which the saga began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """One event in its place."""

    event: EventLine
    depth: int
    gap: str | None = None  # what is missing before or after it


def story_of(record: Record) -> Sequence[Chapter]:
    """Every event below the one that caused it."""
    known = {event.event_id for event in record.events}
    followers = _followers(record.events)
    is_open = record.standing.state == "open"

    def told(event: EventLine, depth: int) -> Iterator[Chapter]:
        followed = followers.get(event.event_id, ())
        yield Chapter(event=event, depth=depth, gap=_gap(event, known, followed, is_open))
        for each in followed:
            yield from told(each, depth + 1)

    beginnings = [event for event in record.events if event.cause not in known]
    return [chapter for event in beginnings for chapter in told(event, 0)]


def endings_of(record: Record) -> Sequence[str]:
    """How the saga has ended, once for each event that says so. More than one is a mistake."""
    return [event.ends for event in record.events if event.ends]


def to_replay(record: Record, wanted: str | None = None) -> Sequence[EventLine]:
    """The events to send again: by default those that nothing has followed.

    `wanted` is an event's id, a type, or FIRST. Raises Refused if there is none.
    """
    if wanted is None:
        return _last(record)
    found = [event for event in record.events if _is_wanted(event, wanted, record)]
    if not found:
        known = ", ".join(dict.fromkeys(event.type for event in record.events))
        raise Refused(
            f"saga {record.standing.saga_id} has no event {wanted!r}; use {FIRST!r}, an event's"
            f" id, or one of {known}"
        )
    return found


def _last(record: Record) -> Sequence[EventLine]:
    standing = record.standing
    if standing.state != "open":
        raise Refused(
            f"saga {standing.saga_id} has {standing.state}; to send an event of it all the same,"
            " name it with --from"
        )
    followers = _followers(record.events)
    return [event for event in record.events if not followers.get(event.event_id)]


def _is_wanted(event: EventLine, wanted: str, record: Record) -> bool:
    if wanted == FIRST:
        return event.cause is None or event is record.events[0]
    return wanted in {event.event_id, event.type}


def _followers(events: Sequence[EventLine]) -> Mapping[str, Sequence[EventLine]]:
    followers: dict[str, list[EventLine]] = {}
    for event in events:
        if event.cause is not None and event.cause != event.event_id:
            followers.setdefault(event.cause, []).append(event)
    return followers


def _gap(
    event: EventLine, known: set[str], followed: Sequence[EventLine], is_open: bool
) -> str | None:
    gaps = []
    if event.cause is not None and event.cause not in known:
        gaps.append(f"its cause {event.cause} was not recorded")
    if is_open and not followed:
        gaps.append("nothing has followed")
    return "; ".join(gaps) or None
