"""What must hold when the sagas' database has lost commits, and people have done as the guide says.

The laws of `laws` hold as ever. What no rule can know (docs/guides/after-a-restore.md) is said
here, and each time that a person is told of it.
"""

from collections.abc import Iterator

from dlq_worker.letter import DeadLetter
from messaging.contract import ReplyType
from orchestrator.reconcile.findings import Kind
from orchestrator.saga.state import Saga, SagaState, Step, StepStatus
from tests.simulation.letters import Row, rows_of
from tests.simulation.services import standing
from tests.simulation.store import history_of
from tests.simulation.world import World


def is_told(world: World, saga: Saga, step: Step, kind: Kind) -> bool:
    """`saga reconcile` names the step with which the saga has ended wrong. Before, a letter has
    said that the pivot is in question, if there was anybody to ask."""
    is_in_question = (saga.saga_id, "in_doubt") in world.letters_told
    was_never_asked = kind is Kind.EFFECT_STANDS and step.status is StepStatus.PENDING
    return (is_in_question or was_never_asked) and _is_found(world, saga, step.name, kind)


def letters_of(world: World, saga: Saga) -> list[Row]:
    rows = rows_of(world.sagas_database)
    return [row for row in rows if row.stored.letter.saga_id == saga.saga_id]


def has_letter(world: World, saga: Saga, step: str, reason: str) -> bool:
    letters = (row.stored.letter for row in letters_of(world, saga))
    return any(each.step_name == step and each.reason == reason for each in letters)


def is_of_lost_life(world: World, saga: Saga, letter: DeadLetter) -> bool:
    """A reply that contradicts how the saga has ended may well be rejected: a person must see it.

    Either its pivot was in question, or it had failed before any reply told of its lost life.
    """
    if letter.reason != "out_of_sequence" or not world.losses:
        return False
    turned_back = saga.state in {SagaState.FAILED, SagaState.COMPENSATING}
    is_in_question = (saga.saga_id, "in_doubt") in world.letters_told
    match letter.type:
        case ReplyType.STEP_COMPLETED:
            pivots = {step.name for step in saga.steps if step.plan.pivot}
            is_of_pivot = is_in_question and letter.step_name in pivots
            return turned_back and (is_of_pivot or _came_after_its_end(world, saga, letter))
        case ReplyType.COMPENSATION_COMPLETED:
            return is_in_question and not turned_back
        case ReplyType.COMPENSATION_FAILED:
            is_open = is_in_question and not turned_back
            return is_open or (turned_back and _came_after_its_end(world, saga, letter))
        case _:
            return False


def nothing_is_left_to_repair(world: World, saga: Saga) -> Iterator[str]:
    """`saga reconcile --repair` comes to an end."""
    for finding in world.found:
        if finding.saga_id == saga.saga_id and finding.is_safe:
            yield f"reconcile finds again and again: {finding.kind.value} of {finding.step}"


def only_what_nobody_was_asked_is_repaired(world: World, saga: Saga) -> Iterator[str]:
    """The rules undo what the saga has asked for. It cannot know what it has asked for in a lost
    life, if it has ended before anybody could tell: its commands found no queue."""
    for repair in world.repairs:
        finding, step = repair.finding, repair.step
        if finding.saga_id != saga.saga_id or finding.kind is not Kind.EFFECT_STANDS:
            continue
        if step is None or _was_never_asked(step):
            continue
        if (saga.saga_id, "late_success") not in world.letters_told:
            yield f"it had failed, and the effect of {step.name}, {step.status}, stood"


def without_a_plan_its_effects_are_found(world: World, saga: Saga) -> Iterator[str]:
    """Cancelled before it is planned, it asks nobody; somebody may have been asked before."""
    if saga.steps or saga.state is not SagaState.FAILED:
        return
    [order] = [each for each in world.scenario.orders if each.saga_id == saga.saga_id]
    for name in (str(step["name"]) for step in order.steps):
        stands = standing(world.effects(), saga.saga_id, name) > 0
        if stands and not _is_found(world, saga, name, Kind.EFFECT_STANDS):
            yield f"it has failed without a plan, and nobody is told that {name} stands"


LAWS = (
    nothing_is_left_to_repair,
    only_what_nobody_was_asked_is_repaired,
    without_a_plan_its_effects_are_found,
)


def _is_found(world: World, saga: Saga, step: str, kind: Kind) -> bool:
    return any(
        (each.saga_id, each.step, each.kind) == (saga.saga_id, step, kind) for each in world.found
    )


def _came_after_its_end(world: World, saga: Saga, letter: DeadLetter) -> bool:
    """The reply of a step that the saga had never come to."""
    lines = history_of(world.sagas_database, saga.saga_id)
    ends = [line.version for line in lines if line.step is None and line.after == SagaState.FAILED]
    told = [line for line in lines if (line.note or "").startswith("out of sequence")]
    mine = [line for line in told if line.step == letter.step_name or not saga.steps]
    never = {StepStatus.PENDING, SagaState.FAILED}
    return bool(ends and mine) and all(
        line.version > ends[0] and line.before in never for line in mine
    )


def _was_never_asked(step: Step) -> bool:
    is_unroutable = step.error is not None and step.error.startswith("no queue was bound")
    return step.status is StepStatus.PENDING or (step.status is StepStatus.FAILED and is_unroutable)
