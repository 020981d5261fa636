"""What an orchestrator without state sends next, as a table made from the saga definitions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from messaging.contract import ReplyType
from orchestrator.definition import SagaOrchestrator
from orchestrator.planning import plan_for
from orchestrator.saga.plan import PlannedStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One message: a command of a step, or without a step the saga's outcome."""

    routing_key: str
    saga_type: str
    step: str = ""
    direction: str = "action"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What follows a message once as many like it have come as the stage has steps."""

    stage: str
    awaited: int
    sent: Sequence[Sent]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    starts: Mapping[str, Sequence[Sent]]  # by saga type
    moves: Mapping[tuple[str, str], Move]  # by the type of the reply and its step


_DONE: Final = ReplyType.STEP_COMPLETED.value
_FAILED: Final = ReplyType.STEP_FAILED.value
_UNDONE: Final = ReplyType.COMPENSATION_COMPLETED.value


def plan_of(sagas: Sequence[SagaOrchestrator]) -> Plan:
    """For sagas in which at most the one step of the last stage fails."""
    starts: dict[str, Sequence[Sent]] = {}
    moves: dict[tuple[str, str], Move] = {}
    for saga in sagas:
        stages = [
            list(steps) for _, steps in groupby(plan_for(saga, {}), key=lambda step: step.stage)
        ]
        starts[saga.saga_type] = _commands(saga.saga_type, stages[0])
        moves |= dict(_forward(saga.saga_type, stages))
        moves |= dict(_back(saga.saga_type, stages))
    return Plan(starts=starts, moves=moves)


def _forward(
    saga_type: str, stages: Sequence[Sequence[PlannedStep]]
) -> Iterator[tuple[tuple[str, str], Move]]:
    completed = (Sent(routing_key=f"{saga_type}Completed", saga_type=saga_type),)
    following = [*(_commands(saga_type, stage) for stage in stages[1:]), completed]
    for number, (stage, sent) in enumerate(zip(stages, following, strict=True)):
        move = Move(stage=f"{saga_type}{number}", awaited=len(stage), sent=sent)
        yield from (((_DONE, step.name), move) for step in stage)


def _back(
    saga_type: str, stages: Sequence[Sequence[PlannedStep]]
) -> Iterator[tuple[tuple[str, str], Move]]:
    failed = (Sent(routing_key=f"{saga_type}Failed", saga_type=saga_type),)
    reply, stage = _FAILED, stages[-1]
    for number, before in enumerate(reversed(stages[:-1])):
        move = Move(
            stage=f"{saga_type}-{number}", awaited=len(stage), sent=_undoing(saga_type, before)
        )
        yield from (((reply, step.name), move) for step in stage)
        reply, stage = _UNDONE, before
    last = Move(stage=f"{saga_type}-last", awaited=len(stage), sent=failed)
    yield from (((reply, step.name), last) for step in stage)


def _commands(saga_type: str, stage: Sequence[PlannedStep]) -> Sequence[Sent]:
    return tuple(
        Sent(routing_key=step.action, saga_type=saga_type, step=step.name) for step in stage
    )


def _undoing(saga_type: str, stage: Sequence[PlannedStep]) -> Sequence[Sent]:
    return tuple(
        Sent(
            routing_key=step.compensation,
            saga_type=saga_type,
            step=step.name,
            direction="compensation",
        )
        for step in stage
        if step.compensation
    )
