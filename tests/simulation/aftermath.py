"""What clients and an operator do when commits were lost: docs/guides/after-a-restore.md."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from messaging.contract import Effect, ReplyType
from orchestrator.reconcile.findings import (
    Finding,
    Memory,
    Testimony,
    of_doubt,
    of_letters,
    settled_by_hand,
)
from orchestrator.reconcile.repairing import repair
from orchestrator.saga.interventions import BY_HAND
from orchestrator.saga.state import Saga, Step
from orchestrator.store.rows import in_epoch
from participants.guard import Entry
from tests.simulation.inbox import INBOX
from tests.simulation.letters import rows_of
from tests.simulation.store import SAGAS, SimulatedStore, history_of

if TYPE_CHECKING:
    from tests.simulation.world import World

_REASON: Final = "standby promoted"


@dataclass(frozen=True, slots=True)
class Repair:
    """What was repaired, and the step as it was before."""

    finding: Finding
    step: Step | None


async def look_for_sagas(world: "World") -> None:
    """Start again what was asked for and is not there."""
    while not world.sagas_database.is_up:
        await asyncio.sleep(0.5)
    known = world.sagas_database.table(SAGAS)
    for order in world.scenario.orders:
        if order.saga_id in world.asked and order.saga_id not in known:
            world.story.tell("is missed, and asked for again", order.saga_id)
            await world.ask_for(order)


def findings(world: "World") -> list[Finding]:
    """What `saga reconcile --inbox …` would show: its own rules, over the tables in memory."""
    sagas = {saga.saga_id: _as_found(world, saga) for saga in world.sagas()}
    doubtful = [of_doubt(saga) for saga in sagas.values() if saga.in_doubt]
    testimony = Testimony()
    testimony.hear(list(_memories(world)), sagas)
    told = [
        settled_by_hand(each) if _is_resolved_by_hand(world, each) else each
        for each in testimony.findings()
    ]
    return [*doubtful, *_of_letters(world, sagas), *told]


async def repaired(world: "World", found: Sequence[Finding]) -> list[Repair]:
    """What `saga reconcile --repair` has repaired of it."""
    store: Any = SimulatedStore(world.sagas_database, world.client)
    done = []
    for each in found:
        before = _step(world, each)
        if await repair(store, each, reason=_REASON, by="operator"):
            told = f"reconcile repairs {each.kind.value}: {each.step or 'saga'}, {each.detail}"
            world.story.tell(told, each.saga_id)
            done.append(Repair(each, before))
    await store.close()
    return done


def _step(world: "World", finding: Finding) -> Step | None:
    saga = world.sagas_database.table(SAGAS).get(finding.saga_id)
    return next((step for step in saga.steps if step.name == finding.step), None) if saga else None


def _is_resolved_by_hand(world: "World", finding: Finding) -> bool:
    lines = history_of(world.sagas_database, finding.saga_id)
    return any(
        line.step == finding.step and (line.note or "").startswith(BY_HAND) for line in lines
    )


def _as_found(world: "World", saga: Saga) -> Saga:
    return in_epoch(saga, str(world.sagas_database.epoch))


def _memories(world: "World") -> Iterator[Memory]:
    for (saga_id, step), row in sorted(world.services_database.table(INBOX).items()):
        yield Memory(
            saga_id=saga_id,
            step=step,
            state=row.entry.state,
            changed_at=row.updated_at,
            is_definite_failure=_is_definite_failure(row.entry),
        )


def _is_definite_failure(entry: Entry) -> bool:
    reply = entry.action_reply
    return reply is not None and reply.type is ReplyType.STEP_FAILED and reply.effect is Effect.NONE


def _of_letters(world: "World", sagas: dict[str, Saga]) -> Iterator[Finding]:
    """Replies of sagas that were not known when they came."""
    numbers: dict[str, list[int]] = {}
    for row in rows_of(world.sagas_database):
        letter = row.stored.letter
        if letter.reason == "unknown_saga" and not row.stored.status.is_closed:
            numbers.setdefault(letter.saga_id or "", []).append(row.stored.id)
    for saga_id, ids in sorted(numbers.items()):
        yield of_letters(saga_id, sorted(ids), is_known=saga_id in sagas)
