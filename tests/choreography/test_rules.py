"""The rules by themselves: what is done about an event, given what the log has; and the story."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from messaging.errors import DefinitionError, Refused
from orchestrator.recorder.story import endings_of, story_of, to_replay
from orchestrator.store.event_log import Standing
from orchestrator.store.event_queries import EventLine, Record
from participants import Choreography, Emit, EventContext
from participants.choreography.reactions import told_by
from participants.choreography.rules import (
    Entry,
    Kind,
    React,
    Refuse,
    Repeat,
    State,
    entry_after,
    verdict_on,
)
from tests.choreography.ear import event
from tests.choreography.services import Diary, first_service

REACTIONS = first_service(Diary()).reactions
ASKED, REFUSED = event("Asked"), event("Refused")
DONE = Entry(event_id=ASKED.event_id, event="Asked", kind=Kind.REACTION, state=State.HANDLED)
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def undone_by(state: State) -> Entry:
    return Entry(
        event_id=REFUSED.event_id,
        event="Refused",
        kind=Kind.COMPENSATION,
        state=state,
        undoes="Asked",
    )


def test_what_is_known_is_repeated() -> None:
    assert verdict_on(ASKED, REACTIONS["Asked"], [DONE]) == Repeat(DONE)


def test_a_compensation_is_shown_what_stands_and_nothing_else() -> None:
    other = Entry(event_id="o", event="Confirmed", kind=Kind.REACTION, state=State.HANDLED)
    failed = Entry(event_id="f", event="Asked", kind=Kind.REACTION, state=State.FAILED)
    undone = Entry(event_id="u", event="Asked", kind=Kind.REACTION, state=State.UNDONE)
    verdict = verdict_on(REFUSED, REACTIONS["Refused"], [other, failed, DONE, undone])
    assert verdict == React((DONE,))


@pytest.mark.parametrize("state", [State.HANDLED, State.TOMBSTONE])
def test_what_comes_after_its_compensation_is_refused(state: State) -> None:
    assert verdict_on(ASKED, REACTIONS["Asked"], [undone_by(state)]) == Refuse()


def test_a_compensation_of_something_else_refuses_nothing() -> None:
    confirmed = event("Confirmed")
    verdict = verdict_on(confirmed, REACTIONS["Confirmed"], [undone_by(State.HANDLED)])
    assert verdict == React()


def test_a_compensation_that_finds_nothing_is_a_tombstone() -> None:
    def state(*standing: Entry) -> State:
        return entry_after(REFUSED, REACTIONS["Refused"], React(standing), {}, []).state

    assert (state(), state(DONE)) == (State.TOMBSTONE, State.HANDLED)


def test_what_a_handler_may_answer() -> None:
    assert told_by(None).emits == ()
    assert told_by({"a": 1}).result == {"a": 1}
    assert told_by(Emit("A", {"a": 1})).result == {"a": 1}
    assert [each.type for each in told_by([Emit("A"), Emit("B")]).emits] == ["A", "B"]
    with pytest.raises(DefinitionError, match="the handler returned int; return an Emit"):
        told_by(7)


def test_what_cannot_work_is_refused_when_it_is_declared() -> None:
    async def react(event: dict[str, Any], context: EventContext) -> None: ...

    service = Choreography("First")
    with pytest.raises(DefinitionError, match="what does 'B' undo in First"):
        service.compensates("B")
    service.on("A")(react)
    with pytest.raises(DefinitionError, match="two handlers for 'A'"):
        service.on("A")(react)
    with pytest.raises(DefinitionError, match="one of its reactions, which stand above it: A"):
        service.compensates("B", undoes="C")
    with pytest.raises(DefinitionError, match="'a b' is no event name"):
        service.on("a b")
    with pytest.raises(DefinitionError, match="give a second or more"):
        service.starts("A", saga_type="T", quiet_after=timedelta(0))
    with pytest.raises(DefinitionError, match=r"does not take exactly \(event, context\)"):
        service.on("D")(lambda event: None)  # type: ignore[arg-type,misc]  # that is the point


def line(name: str, cause: str | None = None, ends: str | None = None) -> EventLine:
    return EventLine(
        event_id=name,
        type=name.upper(),
        service="S",
        cause=cause,
        ends=ends,
        at=NOW,
        times_seen=1,
        body_bytes=2,
        data={},
    )


def record(*events: EventLine, state: str = "open") -> Record:
    standing = Standing(
        saga_id="order-1",
        saga_type="T",
        state=state,
        events=len(events),
        last_event="X",
        last_service=None,
        started_at=NOW,
        last_event_at=NOW,
        quiet_after=timedelta(seconds=1),
        quiet_at=None,
        quiet_since=None,
        ended_at=None if state == "open" else NOW,
    )
    return Record(standing=standing, events=events, replays=())


def test_the_story_names_its_gaps() -> None:
    story = story_of(record(line("a"), line("b", "a"), line("c", "lost")))
    assert [(each.event.event_id, each.depth, each.gap) for each in story] == [
        ("a", 0, None),
        ("b", 1, "nothing has followed"),
        ("c", 0, "its cause lost was not recorded; nothing has followed"),
    ]


def test_an_end_that_is_told_twice_shows() -> None:
    told = record(line("a", ends="failed"), line("b", ends="completed"), state="failed")
    assert list(endings_of(told)) == ["failed", "completed"]


def test_a_replay_sends_what_nothing_has_followed_or_what_is_named() -> None:
    told = record(line("a"), line("b", "a"), line("c", "a"))

    def sent(wanted: str | None = None) -> list[str]:
        return [each.event_id for each in to_replay(told, wanted)]

    assert sent() == ["b", "c"]
    assert (sent("first"), sent("B"), sent("c")) == (["a"], ["b"], ["c"])
    with pytest.raises(Refused, match="use 'first', an event's id, or one of A, B, C"):
        sent("D")


def test_an_ended_saga_is_replayed_only_by_name() -> None:
    told = record(line("a", ends="completed"), state="completed")
    with pytest.raises(Refused, match="name it with --from"):
        to_replay(told)
    assert to_replay(told, "first")
