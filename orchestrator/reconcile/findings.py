"""What may be wrong, by the saga's row and by what its participants remember. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from orchestrator.saga.state import Saga, SagaState, Step
from participants.guard import State

_STANDING: Final = frozenset({State.DONE, State.UNKNOWN, State.LATER})
_UNDONE: Final = frozenset({State.COMPENSATED, State.TOMBSTONE, State.COMPENSATING})
_START_AGAIN: Final = "start it again with its id and data, or undo its steps at the participants"


class Kind(StrEnum):
    IN_DOUBT = "in_doubt"
    ENDED_BEFORE = "ended_before"
    STALE_LETTERS = "stale_letters"
    UNKNOWN_SAGA = "unknown_saga"
    EFFECT_STANDS = "effect_stands"
    EFFECT_MISSING = "effect_missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be, and what can be done about it."""

    kind: Kind
    saga_id: str
    saga_type: str | None = None
    step: str | None = None
    detail: str
    remedy: str
    is_safe: bool = False  # `--repair` does it
    letters: tuple[int, ...] = ()

    def to_json(self, *, is_repaired: bool) -> Mapping[str, Any]:
        return {
            "kind": self.kind.value,
            "saga_id": self.saga_id,
            "saga_type": self.saga_type,
            "step_name": self.step,
            "detail": self.detail,
            "remedy": self.remedy,
            "is_safe": self.is_safe,
            "is_repaired": is_repaired,
            "dead_letters": list(self.letters),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What a participant remembers of a step."""

    saga_id: str
    step: str
    state: State
    changed_at: datetime
    is_definite_failure: bool = False  # it has answered that nothing was done

    @property
    def stands(self) -> bool:
        return self.state in _STANDING and not self.is_definite_failure


def of_doubt(saga: Saga) -> Finding:
    """Of an open saga that was last saved in another epoch."""
    return Finding(
        kind=Kind.IN_DOUBT,
        saga_id=saga.saga_id,
        saga_type=saga.saga_type,
        detail=f"{saga.state} in epoch {saga.epochs[0]}; what followed may be lost",
        remedy="it is compensated, or past its pivot goes on, by the orchestrator or by --repair",
        is_safe=True,
    )


def of_letters(saga_id: str, letters: Sequence[int], *, is_known: bool) -> Finding:
    """Of replies of a saga that was unknown when they came."""
    told = f"{len(letters)} replies came when nobody knew it"
    if is_known:
        remedy = "it was started again and asks for itself: close the dead letters"
        kind = Kind.STALE_LETTERS
    else:
        remedy = _START_AGAIN
        kind = Kind.UNKNOWN_SAGA
    return Finding(
        kind=kind,
        saga_id=saga_id,
        detail=told,
        remedy=remedy,
        is_safe=is_known,
        letters=tuple(letters),
    )


def settled_by_hand(finding: Finding) -> Finding:
    """Of a step that a person has resolved: its participant was not asked, and knows nothing."""
    return replace(
        finding,
        detail=f"{finding.detail}; a person has resolved it by hand",
        remedy="look whether what was done by hand still holds: then nothing is left to do",
        is_safe=False,
    )


class Testimony:
    """What the participants' memories say together: a saga's steps may be in several inboxes."""

    def __init__(self, purged_before: datetime | None = None) -> None:
        """Sagas that had ended before that moment may have been purged: nobody has to know them."""
        self._purged_before = purged_before
        self._against: list[Finding] = []
        self._unknown: dict[str, set[str]] = {}
        self._doubtful: dict[str, Saga] = {}
        self._done: dict[str, set[str]] = {}

    def hear(self, memories: Sequence[Memory], sagas: Mapping[str, Saga]) -> None:
        """Of sagas that are in the database, `sagas` has all that the memories are about."""
        for memory in memories:
            saga = sagas.get(memory.saga_id)
            if saga is None and memory.stands and not self._may_be_purged(memory):
                self._unknown.setdefault(memory.saga_id, set()).add(memory.step)
            elif saga is not None and saga.in_doubt:
                self._doubtful[saga.saga_id] = saga
                done = self._done.setdefault(saga.saga_id, set())
                done |= {memory.step} if memory.state is State.DONE else set()
            elif saga is not None:
                self._against += _of_ended(saga, memory)

    def _may_be_purged(self, memory: Memory) -> bool:
        return self._purged_before is not None and memory.changed_at < self._purged_before

    def findings(self) -> list[Finding]:
        unknown = [_of_unknown(saga_id, done) for saga_id, done in sorted(self._unknown.items())]
        ended = [
            _of_end_before(saga)
            for saga in self._doubtful.values()
            if self._done[saga.saga_id] >= {step.name for step in saga.steps}
        ]
        return [*unknown, *ended, *self._against]


def _of_unknown(saga_id: str, standing: AbstractSet[str]) -> Finding:
    return Finding(
        kind=Kind.UNKNOWN_SAGA,
        saga_id=saga_id,
        detail=f"participants have done {', '.join(sorted(standing))}, and nobody knows it",
        remedy=_START_AGAIN,
    )


def _of_end_before(saga: Saga) -> Finding:
    return Finding(
        kind=Kind.ENDED_BEFORE,
        saga_id=saga.saga_id,
        saga_type=saga.saga_type,
        detail=f"it is {saga.state}, and every step is done: it had completed, and was told so",
        remedy="tell whoever acted on its completion; start it anew under another id",
    )


def _of_ended(saga: Saga, memory: Memory) -> Iterator[Finding]:
    step = next((step for step in saga.steps if step.name == memory.step), None)
    if step is None and saga.state is SagaState.FAILED and memory.stands:
        yield _of_unplanned(saga, memory)
    elif step is not None and saga.state is SagaState.FAILED and memory.stands:
        yield from _of_standing(saga, step, memory)
    elif step is not None and saga.state is SagaState.COMPLETED:
        yield from _of_missing(saga, memory)


def _of_unplanned(saga: Saga, memory: Memory) -> Finding:
    return Finding(
        kind=Kind.EFFECT_STANDS,
        saga_id=saga.saga_id,
        saga_type=saga.saga_type,
        step=memory.step,
        detail="the saga has failed and knows no such step, and its participant has done it",
        remedy="undo it by hand",
    )


def _of_standing(saga: Saga, step: Step, memory: Memory) -> Iterator[Finding]:
    if step.plan.compensation is None and not step.plan.pivot:
        return
    is_safe = step.plan.compensation is not None
    yield Finding(
        kind=Kind.EFFECT_STANDS,
        saga_id=saga.saga_id,
        saga_type=saga.saga_type,
        step=step.name,
        detail=f"the saga has failed, and {step.plan.action} is {memory.state.value}",
        remedy="open the saga again and compensate the step" if is_safe else "undo it by hand",
        is_safe=is_safe,
    )


def _of_missing(saga: Saga, memory: Memory) -> Iterator[Finding]:
    if memory.state in _UNDONE or memory.is_definite_failure or memory.state is State.FAILED:
        yield Finding(
            kind=Kind.EFFECT_MISSING,
            saga_id=saga.saga_id,
            saga_type=saga.saga_type,
            step=memory.step,
            detail=f"the saga has completed, and its participant has it {memory.state.value}",
            remedy="do it again by hand, or undo the saga's other steps",
        )
