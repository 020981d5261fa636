"""What `saga choreography` does, and what it prints."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from chassis.exit_codes import ExitCode
from messaging.errors import NotFound
from orchestrator.cli.listing import Column, Listing
from orchestrator.cli.output import Output, coloured, print_json, print_line, print_parts, text_of
from orchestrator.cli.session import database_time, saga_database
from orchestrator.cli.wording import ago, clock, span, stamp
from orchestrator.recorder.story import Chapter, endings_of, story_of, to_replay
from orchestrator.store.event_log import Standing, ask_for_replay
from orchestrator.store.event_queries import (
    EventLine,
    Record,
    ReplayLine,
    list_choreographies,
    show_choreography,
)

_LISTED: Final = (
    Column(title="saga id"),
    Column(title="type", dropped=2),
    Column(title="state"),
    Column(title="started", dropped=1),
    Column(title="events", is_number=True, dropped=3),
    Column(title="last event", is_elastic=True),
)
_STORY: Final = (
    Column(title="at"),
    Column(title="event"),
    Column(title="service", dropped=1),
    Column(title="note", is_elastic=True),
)
_REPLAYS: Final = (
    Column(title="asked"),
    Column(title="event"),
    Column(title="by"),
    Column(title="sent", dropped=1),
    Column(title="reason", is_elastic=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    state: str | None
    saga_type: str | None
    quiet_for: timedelta | None
    limit: int


async def perform_list(wanted: Wanted, output: Output) -> int:
    async with saga_database() as store:
        found = await list_choreographies(
            store,
            state=wanted.state,
            saga_type=wanted.saga_type,
            quiet_for=wanted.quiet_for,
            limit=wanted.limit,
        )
        now = await database_time(store)
    if output is Output.JSON:
        print_json([_standing_json(each, now) for each in found])
    elif found:
        print_parts(Listing(_LISTED, [_row(each, now) for each in found]))
    else:
        print_parts("no such choreographed sagas")
    return ExitCode.DONE


async def perform_show(saga_id: str, output: Output) -> int:
    async with saga_database() as store:
        record = await show_choreography(store, saga_id)
        if record is None:
            raise _not_recorded(saga_id)
        now = await database_time(store)
    if output is Output.JSON:
        print_json(_record_json(record, now))
    else:
        print_parts(*_parts(record, now))
    return ExitCode.DONE


async def perform_replay(
    saga_id: str, event: str | None, *, reason: str, by: str, output: Output
) -> int:
    async with saga_database() as store:
        record = await show_choreography(store, saga_id)
        if record is None:
            raise _not_recorded(saga_id)
        events = to_replay(record, event)
        ids = [each.event_id for each in events]
        async with store.transaction() as transaction:
            await ask_for_replay(transaction, saga_id, ids, by=by, reason=reason)
    if output is Output.JSON:
        print_json({"saga_id": saga_id, "events": [_event_json(each) for each in events]})
    else:
        types = ", ".join(each.type for each in events)
        print_line(f"the recorder sends {types} of saga {saga_id} again")
    return ExitCode.DONE


def _not_recorded(saga_id: str) -> NotFound:
    return NotFound(
        f"no event of saga {saga_id!r} was recorded; `saga choreography list` shows those that"
        " are known, and `saga show` those of an orchestrator"
    )


def _row(standing: Standing, now: datetime) -> Sequence[str | Text | None]:
    last = f"{standing.last_event} {ago(standing.last_event_at, now, units=1)}"
    return (
        standing.saga_id,
        standing.saga_type or None,
        coloured(_state(standing, now)),
        ago(standing.started_at, now, units=1),
        str(standing.events),
        last,
    )


def _state(standing: Standing, now: datetime) -> str:
    return "quiet" if _is_quiet(standing, now) else standing.state


def _is_quiet(standing: Standing, now: datetime) -> bool:
    return standing.ended_at is None and now - standing.last_event_at >= standing.quiet_after


def _parts(record: Record, now: datetime) -> Iterator[RenderableType]:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for label, value in _facts(record, now):
        grid.add_row(label, value)
    yield grid
    yield Text()
    yield Text("Story", style="bold")
    story = story_of(record)
    yield Listing(_STORY, [_chapter(each, now) for each in story])
    if record.replays:
        types = {event.event_id: event.type for event in record.events}
        yield Text()
        yield Text("Replays", style="bold")
        yield Listing(_REPLAYS, [_replay_row(each, types, now) for each in record.replays])


def _facts(record: Record, now: datetime) -> Iterator[tuple[str, Text]]:
    standing = record.standing
    yield "Saga", text_of(standing.saga_id, "bold")
    yield "Type", text_of(standing.saga_type or None)
    yield "State", coloured(_state(standing, now))
    yield "Started", text_of(f"{stamp(standing.started_at)} ({ago(standing.started_at, now)})")
    if standing.ended_at is not None:
        took = span(standing.ended_at - standing.started_at)
        yield "Ended", text_of(f"{stamp(standing.ended_at)}, after {took}")
    else:
        yield "Silent", text_of(_silence(standing, now))
    if len(endings_of(record)) > 1:
        told = ", ".join(endings_of(record))
        yield "Conflict", text_of(f"its end was told more than once: {told}; the first counts")


def _silence(standing: Standing, now: datetime) -> str:
    told = "; somebody has been told" if standing.quiet_since else ""
    limit = span(standing.quiet_after, units=1)
    return f"for {span(now - standing.last_event_at)}; quiet after {limit}{told}"


def _chapter(chapter: Chapter, now: datetime) -> Sequence[str | Text | None]:
    event = chapter.event
    notes = [f"the saga has {event.ends}"] if event.ends else []
    if isinstance(event.data.get("error"), str):
        notes.append(str(event.data["error"]))
    if event.times_seen > 1:
        notes.append(f"seen {event.times_seen} times")
    if chapter.gap:
        notes.append(chapter.gap)
    return (
        clock(event.at, now),
        _indented(chapter),
        event.service,
        "; ".join(notes),
    )


def _indented(chapter: Chapter) -> Text:
    """Below what caused it."""
    name = text_of(chapter.event.type)
    return Text(f"{'  ' * (chapter.depth - 1)}└ ").append_text(name) if chapter.depth else name


def _replay_row(
    replay: ReplayLine, types: Mapping[str, str], now: datetime
) -> Sequence[str | Text | None]:
    return (
        clock(replay.at, now),
        types.get(replay.event_id, replay.event_id),
        replay.by,
        clock(replay.sent_at, now) if replay.sent_at else None,
        replay.reason,
    )


def _standing_json(standing: Standing, now: datetime) -> dict[str, Any]:
    ended = standing.ended_at
    return {
        "saga_id": standing.saga_id,
        "saga_type": standing.saga_type,
        "state": standing.state,
        "is_quiet": _is_quiet(standing, now),
        "events": standing.events,
        "last_event": standing.last_event,
        "last_service": standing.last_service,
        "started_at": standing.started_at.isoformat(),
        "last_event_at": standing.last_event_at.isoformat(),
        "quiet_after": standing.quiet_after.total_seconds(),
        "ended_at": ended.isoformat() if ended else None,
    }


def _record_json(record: Record, now: datetime) -> dict[str, Any]:
    story = [
        {**_event_json(each.event), "depth": each.depth, "gap": each.gap}
        for each in story_of(record)
    ]
    replays = [
        {
            "event_id": each.event_id,
            "at": each.at.isoformat(),
            "by": each.by,
            "reason": each.reason,
            "sent_at": each.sent_at.isoformat() if each.sent_at else None,
        }
        for each in record.replays
    ]
    return {**_standing_json(record.standing, now), "story": story, "replays": replays}


def _event_json(event: EventLine) -> dict[str, Any]:
    return {
        "event_id": event.event_id,
        "type": event.type,
        "service": event.service,
        "cause": event.cause,
        "ends": event.ends,
        "at": event.at.isoformat(),
        "times_seen": event.times_seen,
        "body_bytes": event.body_bytes,
        "data": dict(event.data),
    }
