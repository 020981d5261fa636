"""What must hold when a storm is over and everything has come to rest."""

from collections.abc import Iterator

from orchestrator.reconcile.findings import Kind
from orchestrator.saga.state import Saga, SagaState, Step, StepStatus, Transition
from tests.simulation import laws_of_losses
from tests.simulation.laws_of_losses import has_letter, is_of_lost_life, is_told, letters_of
from tests.simulation.letters import Row, alerts_of
from tests.simulation.services import standing
from tests.simulation.store import history_of
from tests.simulation.world import World, parked_steps


def breaches(world: World) -> list[tuple[str | None, str]]:
    """Every law that is broken, and of which saga; in a fixed order."""
    found: list[tuple[str | None, str]] = [(None, text) for text in world.loop.problems]
    found += [(None, text) for text in world.breaches]
    known = {saga.saga_id: saga for saga in world.sagas()}
    for order in world.scenario.orders:
        saga = known.get(order.saga_id)
        if saga is None:
            found.append((order.saga_id, "it was asked for, and there is no such saga"))
            continue
        for law in LAWS:
            found += [(saga.saga_id, text) for text in law(world, saga)]
    found += [(None, text) for text in _queues(world)]
    return found


def _ended_or_parked(world: World, saga: Saga) -> Iterator[str]:
    """I3: no saga is stuck."""
    parked = parked_steps(saga)
    if not saga.state.is_final and not parked:
        steps = ", ".join(f"{step.name} {step.status}" for step in saga.steps)
        yield f"it is stuck in {saga.state}: {steps}"
    if parked and world.scenario.has_operator:
        yield f"an operator was there, and {parked[0].name} is still parked"


def _told(world: World, saga: Saga) -> Iterator[str]:
    """I4: whoever listens has been told how it ended."""
    event = "Completed" if saga.state is SagaState.COMPLETED else "Failed"
    if (
        saga.state.is_final
        and (saga.saga_id, f"{saga.saga_type}{event}") not in world.outcomes_told
    ):
        yield f"it is {saga.state}, and nobody was told"


def _effects_once(world: World, saga: Saga) -> Iterator[str]:
    """I1: an action has its effect at most once, and is undone at most once."""
    for step in saga.steps:
        kinds = [
            effect.kind
            for effect in world.effects()
            if effect.saga_id == saga.saga_id and effect.step == step.name
        ]
        if kinds not in ([], ["did"], ["did", "undid"]):
            yield f"the effects of {step.name} are {', '.join(kinds)}"


def _whole_or_undone(world: World, saga: Saga) -> Iterator[str]:
    """I2: all of a completed saga stands; of a failed one nothing undoable, and no pivot."""
    effects = world.effects()
    for step in saga.steps:
        stands = standing(effects, saga.saga_id, step.name) > 0
        is_by_hand = _was_resolved(world, saga, step.name)
        is_missing = saga.state is SagaState.COMPLETED and not stands and not is_by_hand
        if is_missing and not is_told(world, saga, step, Kind.EFFECT_MISSING):
            yield f"it is completed, and {step.name} has no effect"
        if saga.state is SagaState.FAILED and stands and not _may_stand(world, saga, step):
            yield f"it has failed, and the effect of {step.name} stands"


def _may_stand(world: World, saga: Saga, step: Step) -> bool:
    """Nothing undoes it, or a person is told, or nobody can know of it."""
    if step.plan.compensation is None and not step.plan.pivot:
        return True
    if has_letter(world, saga, step.name, "late_success"):
        return True
    is_open = step.plan.pivot and is_told(world, saga, step, Kind.EFFECT_STANDS)
    return is_open or not _could_be_known(world, saga, step.name)


def _order_of_undoing(world: World, saga: Saga) -> Iterator[str]:
    """Strict reverse order: a stage is undone when the stages after it are. A person who tries
    a parked compensation again takes the order upon himself."""
    statuses = {step.name: "pending" for step in saga.steps}
    unknown: set[str] = set()
    for line in history_of(world.sagas_database, saga.saga_id):
        if line.step not in statuses:
            continue
        is_by_hand = (line.note or "").startswith("retried by hand")
        if line.after == StepStatus.COMPENSATING != line.before and not is_by_hand:
            yield from _undone_too_early(saga, line, statuses, unknown)
        statuses[line.step] = line.after
        if line.after == StepStatus.FAILED and line.note == "timed out":
            unknown.add(line.step)


def _undone_too_early(
    saga: Saga, line: Transition, statuses: dict[str, str], unknown: set[str]
) -> Iterator[str]:
    stages = {step.name: step.plan.stage for step in saga.steps}
    in_the_way = {StepStatus.EXECUTING, StepStatus.COMPLETED, StepStatus.COMPENSATING}
    if saga.on_exhausted == "halt":
        in_the_way.add(StepStatus.COMPENSATION_FAILED)
    for step in saga.steps:
        status = statuses[step.name]
        if step.plan.compensation is None or stages[step.name] <= stages[line.step or ""]:
            continue
        if status in in_the_way or (status == StepStatus.FAILED and step.name in unknown):
            yield f"{line.step} is being undone while {step.name} is {status}"


def _unbroken_history(world: World, saga: Saga) -> Iterator[str]:
    """I5: versions without gaps or forks, each line beginning where the one before has ended."""
    lines = history_of(world.sagas_database, saga.saga_id)
    if [line.version for line in lines] != list(range(1, saga.version + 1)):
        yield f"its history has versions {[line.version for line in lines]} of {saga.version}"
    statuses: dict[str | None, str] = {step.name: "pending" for step in saga.steps}
    statuses[None] = "started"
    for line in lines:
        if line.before != statuses.get(line.step, line.before):
            yield f"v{line.version} goes from {line.before} where it was {statuses[line.step]}"
        statuses[line.step] = line.after


def _one_letter_each(world: World, saga: Saga) -> Iterator[str]:
    """I8: for each parked step one open letter with one open alert; for no other step one."""
    parked = {step.name for step in parked_steps(saga)}
    letters = [row.stored for row in letters_of(world, saga) if _is_of_step(row)]
    still_open = [each for each in letters if not each.status.is_closed]
    alerts = {each.key: each for each in alerts_of(world.sagas_database)}
    for name in sorted(parked):
        mine = [each for each in still_open if each.letter.step_name == name]
        if len(mine) != 1:
            yield f"{name} is parked with {len(mine)} open dead letters"
        for each in mine:
            alert = alerts.get(each.alert_key or "")
            if alert is None or alert.status.value == "closed":
                yield f"{name} is parked, and nobody was called"
    for each in still_open:
        if each.letter.step_name not in parked:
            yield f"a dead letter of {each.letter.step_name} is open, and it is not parked"


def _no_contradiction(world: World, saga: Saga) -> Iterator[str]:
    """A participant that has definitely failed or succeeded never says otherwise."""
    for step in saga.steps:
        said = world.answers.get((saga.saga_id, step.name), set())
        if {"done", "definitely not"} <= said:
            yield f"the participant of {step.name} has said that it is done and that it is not"


def _nothing_rejected(world: World, saga: Saga) -> Iterator[str]:
    """I4: programs that keep the contract see none of their messages rejected."""
    for row in letters_of(world, saga):
        letter = row.stored.letter
        if letter.origin.value != "rejected" or letter.reason in {"unknown_saga", "refused"}:
            continue
        if not is_of_lost_life(world, saga, letter):
            yield f"a message was rejected: {letter.reason}, {letter.type}, {letter.error}"


def _queues(world: World) -> Iterator[str]:
    """I4: every message has been taken."""
    for name, queue in world.network.server.queues.items():
        if queue.depth or queue.unsettled:
            yield f"queue {name} still has {queue.depth} and {queue.unsettled} unsettled messages"


LAWS = (
    _ended_or_parked,
    _told,
    _effects_once,
    _whole_or_undone,
    _order_of_undoing,
    _unbroken_history,
    _one_letter_each,
    _no_contradiction,
    _nothing_rejected,
    *laws_of_losses.LAWS,
)


def _is_of_step(row: Row) -> bool:
    return row.stored.letter.origin.value in {"compensation", "forward"}


def _could_be_known(world: World, saga: Saga, step: str) -> bool:
    """Who forgets a failure may succeed in secret, and crash before it says so."""
    has_said = "done" in world.answers.get((saga.saga_id, step), set())
    return has_said or not world.scripts[saga.saga_id, step].forgets


def _was_resolved(world: World, saga: Saga, step: str) -> bool:
    lines = history_of(world.sagas_database, saga.saga_id)
    return any(line.step == step and "by hand" in (line.note or "") for line in lines)
