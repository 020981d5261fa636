"""What a deploy would do to the sagas in flight: a point for each thing, counted by kind. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, Final

from messaging.contract import Direction, participant_of
from messaging.errors import DefinitionError
from orchestrator.contracts.handled import Handled
from orchestrator.contracts.remaining import Remaining, remaining
from orchestrator.registry import Registry
from orchestrator.saga.plan import PlannedStep
from orchestrator.saga.state import Saga, Step

MAX_EXAMPLES: Final = 5


class Kind(StrEnum):
    TYPE_GONE = "type_gone"
    CANNOT_PLAN = "cannot_plan"
    PARTICIPANT_GONE = "participant_gone"
    COMMAND_GONE = "command_gone"
    FIELD_MISSING = "field_missing"  # a handler needs it, and the command does not carry it
    FIELD_REFUSED = "field_refused"  # a handler does not take its value
    FIELD_NOT_SENT = "field_not_sent"  # by new plans; the old ones send it
    PLAN_CHANGED = "plan_changed"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One thing about a saga. Equal points of several sagas are one finding."""

    kind: Kind
    strands: bool  # False: it goes on by its stored plan
    saga_type: str
    detail: str
    step_name: str | None = None
    destination: str | None = None
    field: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    point: Point
    sagas: int
    examples: tuple[str, ...]  # ids, the oldest first


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The code that is to be deployed. `handled` None: participants are not looked at."""

    registry: Registry
    handled: Mapping[str, Handled] | None
    participants: frozenset[str] = frozenset()
    elsewhere: frozenset[str] = frozenset()


class Census:
    """Counts the points of one saga after the other."""

    def __init__(self, release: Release) -> None:
        self.sagas = 0
        self.stranded = 0
        self._release = release
        self._found: dict[Point, Finding] = {}

    def add(self, saga: Saga) -> None:
        self._count(saga.saga_id, set(points_of(saga, self._release)))

    def add_unreadable(self, saga_id: str) -> None:
        detail = "its row cannot be read by this release"
        point = Point(kind=Kind.UNREADABLE, strands=True, saga_type="?", detail=detail)
        self._count(saga_id, {point})

    def findings(self) -> tuple[Finding, ...]:
        """What strands sagas first, then by type and step."""
        return tuple(sorted(self._found.values(), key=_place))

    def _count(self, saga_id: str, points: Iterable[Point]) -> None:
        points = list(points)
        self.sagas += 1
        self.stranded += any(point.strands for point in points)
        for point in points:
            known = self._found.get(point, Finding(point=point, sagas=0, examples=()))
            examples = (*known.examples, saga_id)[:MAX_EXAMPLES]
            self._found[point] = replace(known, sagas=known.sagas + 1, examples=examples)


def points_of(saga: Saga, release: Release) -> Iterator[Point]:
    """All that there is to say about one saga; nothing if it goes on as if nothing happened."""
    if saga.steps:
        yield from _of_planned(saga, release)
        return
    if saga.saga_type not in release.registry:
        detail = "waits to be planned, and no definition knows its type"
        yield _point(saga, Kind.TYPE_GONE, detail, strands=True)
        return
    try:
        plan = release.registry.plan(saga.saga_type, saga.data)
    except DefinitionError as error:
        detail = f"waits to be planned, and would be refused: {error}"
        yield _point(saga, Kind.CANNOT_PLAN, detail, strands=True)
        return
    planned = replace(saga, steps=tuple(Step(plan=step) for step in plan))
    yield from _of_commands(planned, release)


def _of_planned(saga: Saga, release: Release) -> Iterator[Point]:
    if saga.saga_type not in release.registry:
        detail = "no definition knows its type; it goes on with its stored plan, but starts of "
        detail += "this type become dead letters"
        yield _point(saga, Kind.TYPE_GONE, detail, strands=False)
    else:
        yield from _of_plan(saga, release)
    yield from _of_commands(saga, release)


def _of_plan(saga: Saga, release: Release) -> Iterator[Point]:
    """Changes harm nobody: the plan is stored."""
    try:
        plan = release.registry.plan(saga.saga_type, saga.data)
    except DefinitionError:
        detail = "the new definition has no plan for its data; it keeps its own"
        yield _point(saga, Kind.PLAN_CHANGED, detail, strands=False)
        return
    old = {step.name: step.plan for step in saga.steps}
    new = {step.name: step for step in plan}
    for name in dict.fromkeys((*old, *new)):
        yield from _of_step(saga, name, old.get(name), new.get(name), release)
    common = [name for name in old if name in new]
    if common != [name for name in new if name in old]:
        detail = "the steps have another order; it keeps its own"
        yield _point(saga, Kind.PLAN_CHANGED, detail, strands=False)


def _of_step(
    saga: Saga, name: str, old: PlannedStep | None, new: PlannedStep | None, release: Release
) -> Iterator[Point]:
    if new is None or old is None:
        what = "new" if old is None else "gone"
        detail = f"the step is {what} in the new plan; it keeps its own"
        yield _point(saga, Kind.PLAN_CHANGED, detail, strands=False, step_name=name)
        return
    changed = [
        each.name
        for each in fields(PlannedStep)
        if each.name not in {"stage", "payload"}
        and getattr(old, each.name) != getattr(new, each.name)
    ]
    if changed:
        detail = f"{', '.join(changed)} changed; it keeps its own"
        yield _point(saga, Kind.PLAN_CHANGED, detail, strands=False, step_name=name)
    yield from _not_sent(saga, new, _no_longer_sent(saga, old, new), release)


def _no_longer_sent(saga: Saga, old: PlannedStep, new: PlannedStep) -> list[str]:
    if new.payload is None:
        return []
    sent = saga.data if old.payload is None else old.payload
    return sorted(set(sent) - set(new.payload))


def _not_sent(saga: Saga, new: PlannedStep, missed: list[str], release: Release) -> Iterator[Point]:
    """A handler that cannot do without a field would refuse every new saga."""
    handler = (release.handled or {}).get(new.action)
    needed = [field for field in missed if handler is not None and field in handler.needs]
    where = {"step_name": new.name, "destination": new.action}
    for field in needed:
        detail = f"new plans do not send {field!r}; the handler needs it, and new sagas would fail"
        yield _point(saga, Kind.FIELD_NOT_SENT, detail, strands=True, field=field, **where)
    if others := ", ".join(field for field in missed if field not in needed):
        detail = f"new plans do not send {others}; this saga does, so handlers get both"
        yield _point(saga, Kind.FIELD_NOT_SENT, detail, strands=False, field=others, **where)


def _of_commands(saga: Saga, release: Release) -> Iterator[Point]:
    if release.handled is None:
        return
    for command in remaining(saga):
        participant = participant_of(command.destination)
        if participant in release.elsewhere:
            continue
        handler = release.handled.get(command.destination)
        where = {"step_name": command.step.name, "destination": command.destination}
        if participant not in release.participants:
            detail = f"nobody is {participant} any more"
            yield _point(saga, Kind.PARTICIPANT_GONE, detail, strands=True, **where)
        elif handler is None or handler.direction.value != command.direction.value:
            detail = f"nobody handles this {command.direction} any more"
            yield _point(saga, Kind.COMMAND_GONE, detail, strands=True, **where)
        else:
            yield from _of_fields(saga, command, handler, release.handled)


def _of_fields(
    saga: Saga, command: Remaining, handler: Handled, handled: Mapping[str, Handled]
) -> Iterator[Point]:
    """What the handler needs must be in the data, or come with a result before."""
    payload = command.step.plan.payload
    carried = {k: v for k, v in saga.data.items() if payload is None or k in payload}
    missing = handler.needs - set(carried)
    where = {"step_name": command.step.name, "destination": command.destination}
    answers = [handled.get(step.plan.action) for step in command.awaited]
    if missing and all(each is not None and each.answers.is_complete for each in answers):
        coming = {name for each in answers if each for name in each.answers.known}
        allowed = coming if payload is None else coming & set(payload)
        for field in sorted(missing - allowed):
            detail = f"the handler needs {field!r}, which its command does not carry"
            yield _point(saga, Kind.FIELD_MISSING, detail, strands=True, field=field, **where)
    if not missing and (refusal := handler.refusal_of(_body(saga, command, carried))):
        field = refusal.partition(":")[0]
        detail = f"the handler refuses {refusal}"
        yield _point(saga, Kind.FIELD_REFUSED, detail, strands=True, field=field, **where)


def _body(saga: Saga, command: Remaining, carried: Mapping[str, Any]) -> Mapping[str, Any]:
    about: dict[str, Any] = {"saga_id": saga.saga_id, "step_name": command.step.name}
    if command.direction is Direction.COMPENSATION:
        about["original_result"] = command.step.result
    return {**carried, **about}


def _point(saga: Saga, kind: Kind, detail: str, *, strands: bool, **more: str | None) -> Point:
    return Point(kind=kind, strands=strands, saga_type=saga.saga_type, detail=detail, **more)


def _place(finding: Finding) -> tuple[Any, ...]:
    point = finding.point
    return (not point.strands, point.saga_type, point.kind, point.step_name or "", point.detail)
