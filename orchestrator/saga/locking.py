"""Semantic locks: who gets one, who waits in line, who is refused. Pure.

A saga takes all its locks at once or none, so that nobody waits while holding one: there is no
deadlock. Whoever came earlier goes first, also where only some of their names are the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum, auto
from typing import Final, assert_never

from orchestrator.saga.draft import Delay, Draft
from orchestrator.saga.plan import OnExhausted, PlannedStep
from orchestrator.saga.start import begin, refuse
from orchestrator.saga.state import Decision, Saga

REFUSED: Final = "refused: locked"  # notes of the saga's own lines of history
TIMED_OUT: Final = "waited too long for its locks"

# A release tells those in line. This is for a word that was lost with whoever had to say it.
_LOOK_AGAIN: Final = timedelta(minutes=1)
_SOON: Final = timedelta(milliseconds=20)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockPolicy:
    """What becomes of a saga that finds one of its locks taken.

    It waits in line, at most for `timeout`, and only if fewer than `limit` sagas wait before it
    for the same name; otherwise it fails. None: no bound.
    """

    timeout: timedelta | None = None
    limit: int | None = None


WAIT: Final = LockPolicy()
QUEUE: Final = LockPolicy(timeout=timedelta(hours=1), limit=100)
REFUSE: Final = LockPolicy(limit=0)


class Admission(StrEnum):
    GRANTED = auto()
    WAITING = auto()
    UNDECIDED = auto()  # somebody else decides over one of the names at this moment
    REFUSED = auto()
    TIMED_OUT = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class LockRequest:
    """A saga wants to begin, and these locks for it."""

    saga_id: str
    saga_type: str
    names: tuple[str, ...]  # sorted, each once
    policy: LockPolicy
    asked_at: datetime
    place: int  # in line: whoever has a lower one came earlier; the saga's id tells equals apart
    is_in_line: bool = False  # it has waited before

    @property
    def rank(self) -> tuple[int, str]:
        return self.place, self.saga_id


@dataclass(slots=True, kw_only=True)
class Line:
    """Who holds a name, and who waits for it first; of many that are decided in turn."""

    holder: str | None = None
    first: tuple[int, str] | None = None  # the rank of who waits first
    waiting: int = 0

    def in_the_way_of(self, request: LockRequest) -> str | None:
        """The saga that has the name, or comes before."""
        if self.holder not in {None, request.saga_id}:
            return self.holder
        if self.first is not None and self.first < request.rank:
            return self.first[1]
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is decided of a request."""

    request: LockRequest
    admission: Admission
    name: str | None = None  # the first of its names that is not free
    behind: str | None = None  # the saga that has it, or comes before

    @property
    def is_granted(self) -> bool:
        return self.admission is Admission.GRANTED

    @property
    def is_to_stay(self) -> bool:
        """It holds its locks, or waits in line."""
        return self.admission not in {Admission.REFUSED, Admission.TIMED_OUT}


def standings(
    requests: Iterable[LockRequest],
    lines: Mapping[str, Line],
    *,
    undecided: frozenset[str],
    now: datetime,
) -> Sequence[Standing]:
    """Decide in turn. `undecided` names cannot be granted at this moment. Changes `lines`."""
    decided = []
    for request in requests:
        standing = _standing(request, lines, undecided, now)
        decided.append(standing)
        for name in request.names:
            _note(lines[name], standing)
    return decided


def _standing(
    request: LockRequest, lines: Mapping[str, Line], undecided: frozenset[str], now: datetime
) -> Standing:
    for name in request.names:
        behind = lines[name].in_the_way_of(request)
        if behind is not None:
            admission = _of_blocked(request, lines, now)
            return Standing(request=request, admission=admission, name=name, behind=behind)
    busy = next((name for name in request.names if name in undecided), None)
    admission = Admission.GRANTED if busy is None else Admission.UNDECIDED
    return Standing(request=request, admission=admission, name=busy)


def _of_blocked(request: LockRequest, lines: Mapping[str, Line], now: datetime) -> Admission:
    policy = request.policy
    before = max(lines[name].waiting for name in request.names)
    if policy.limit is not None and before >= policy.limit and not request.is_in_line:
        return Admission.REFUSED
    is_over = policy.timeout is not None and request.asked_at + policy.timeout <= now
    return Admission.TIMED_OUT if is_over else Admission.WAITING


def _note(line: Line, standing: Standing) -> None:
    """For whoever is decided next."""
    request = standing.request
    match standing.admission:
        case Admission.GRANTED:
            line.holder = request.saga_id
        case Admission.WAITING | Admission.UNDECIDED:
            line.waiting += 0 if request.is_in_line else 1
            line.first = min(line.first or request.rank, request.rank)
        case Admission.REFUSED | Admission.TIMED_OUT:
            pass
        case _:
            assert_never(standing.admission)


def begin_under_locks(
    saga: Saga,
    plan: Sequence[PlannedStep],
    standing: Standing,
    *,
    on_exhausted: OnExhausted,
    now: datetime,
    delay: Delay,
    cause: str | None = None,
    actor: str | None = None,
) -> Decision:
    """Begin a requested saga if it has its locks; else it waits, due again, or fails."""
    match standing.admission:
        case Admission.GRANTED:
            held = (replace(plan[0], locked=True), *plan[1:])
            return begin(
                saga,
                held,
                on_exhausted=on_exhausted,
                now=now,
                delay=delay,
                cause=cause,
                actor=actor,
            )
        case Admission.WAITING | Admission.UNDECIDED:
            draft = Draft(saga, now=now, delay=delay, by="clock", message=cause, actor=actor)
            return _wait(draft, standing)
        case Admission.REFUSED | Admission.TIMED_OUT:
            note = REFUSED if standing.admission is Admission.REFUSED else TIMED_OUT
            error = _why(standing, now)
            return refuse(saga, error, now=now, delay=delay, note=note, cause=cause, actor=actor)
        case _:
            assert_never(standing.admission)


def has_let_go(saga: Saga) -> bool:
    """It has ended, and any lines of locks that it may have are to be deleted."""
    return saga.ended_at is not None and (not saga.steps or saga.steps[0].plan.locked is True)


def _wait(draft: Draft, standing: Standing) -> Decision:
    """To all other rules it is a saga that has been asked for and is not planned yet."""
    if standing.admission is Admission.UNDECIDED:
        draft.change(resend_at=draft.now + _SOON)
        return draft.decision()
    if draft.saga.version == 0:
        draft.note(None, f"waits for {standing.name}, behind saga {standing.behind}")
    look_at = draft.now + _LOOK_AGAIN
    timeout = standing.request.policy.timeout
    if timeout is not None:
        look_at = min(look_at, standing.request.asked_at + timeout)
    draft.change(resend_at=look_at)
    return draft.decision()


def _why(standing: Standing, now: datetime) -> str:
    if standing.admission is Admission.TIMED_OUT:
        waited = (now - standing.request.asked_at).total_seconds()
        return (
            f"waited {waited:.3g} s for the lock {standing.name!r}, behind saga {standing.behind};"
            " start another saga later"
        )
    limit = standing.request.policy.limit
    line = f", and {limit} wait for it already" if limit else ""
    return (
        f"the lock {standing.name!r} is with saga {standing.behind}{line};"
        " start another saga when that has ended"
    )
