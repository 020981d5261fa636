"""The participants of a run, and the bank outside: real handlers behind the real guard."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from messaging.contract import Direction
from messaging.errors import NotFound
from participants.context import Context
from participants.guard import State
from participants.outcome import StepFailed
from participants.participant import Participant
from tests.simulation.inbox import EFFECTS, Effect
from tests.simulation.loop import PROGRAM
from tests.simulation.scenario import SERVICES

if TYPE_CHECKING:
    from tests.simulation.world import World

EXTERNAL: Final = "Bank"
IN_BATCHES: Final = "Courier"


class Bank:
    """Outside all transactions. It knows a request by its key, and a booking by its step."""

    def __init__(self, world: "World") -> None:
        self.effects: list[Effect] = []
        self._world = world
        self._keys: set[str] = set()
        self._void: set[tuple[str, str]] = set()

    def book(self, context: Context) -> None:
        """Once for each key; never what was called off before."""
        if context.idempotency_key in self._keys:
            return
        if (context.saga_id, context.step_name) in self._void:
            raise StepFailed("called off before")
        self._keys.add(context.idempotency_key)
        self._note(context, "did")

    def call_off(self, context: Context) -> None:
        """NotFound if nothing is booked; then nothing can be booked any more."""
        self._void.add((context.saga_id, context.step_name))
        if context.idempotency_key in self._keys:
            return
        if standing(self.effects, context.saga_id, context.step_name) < 1:
            raise NotFound("nothing is booked")
        self._keys.add(context.idempotency_key)
        self._note(context, "undid")

    def _note(self, context: Context, kind: str) -> None:
        effect = self._world.effect(context, kind)
        self.effects.append(effect)
        self._world.told_effect(effect)


def standing(effects: Any, saga_id: str, step: str) -> int:
    """How many effects of a step are not undone."""
    mine = [each.kind for each in effects if each.saga_id == saga_id and each.step == step]
    return mine.count("did") - mine.count("undid")


async def act(_: dict[str, Any], context: Context) -> Mapping[str, Any] | Any:
    return await _perform(context, "action")


async def undo(_: dict[str, Any], context: Context) -> Mapping[str, Any] | Any:
    return await _perform(context, "compensation")


def participants() -> tuple[Participant, ...]:
    found = []
    for name in SERVICES:
        participant = Participant(name)
        participant.action("Do", external=name == EXTERNAL, batch=name == IN_BATCHES)(act)
        participant.compensation("Undo", batch=name == IN_BATCHES)(undo)
        found.append(participant)
    return tuple(found)


async def _perform(context: Context, direction: str) -> Mapping[str, Any] | Any:
    program = PROGRAM.get()
    assert program is not None
    machine, world = program.machine, program.machine.world
    word = world.scripts[context.saga_id, context.step_name].next(direction)
    await machine.pass_by(f"in the handler of {context.command.destination}")
    match word:
        case "no":
            raise StepFailed("not possible")
        case "busy":
            raise StepFailed("busy now", retryable=True)
        case "unsure":
            _leave_effect(context, direction, world)
            raise StepFailed("no idea", retryable=True, effect="unknown")
        case "slow":
            await asyncio.sleep(world.chance.random() * 12)
        case "never":
            await world.healed.wait()
            raise TimeoutError("nobody answered")
    _leave_effect(context, direction, world)
    await machine.pass_by(f"after the effect of {context.command.destination}")
    if word == "broken":
        raise ZeroDivisionError("it broke")
    if word == "later":
        world.answer_later(context.saga_id, context.step_name, direction)
        return context.later()
    return {context.step_name: "done"} if direction == "action" else None


def _leave_effect(context: Context, direction: str, world: "World") -> None:
    if context.command.participant == EXTERNAL:
        if direction == "action":
            world.bank.book(context)
        else:
            _check_not_done(context, world)
            world.bank.call_off(context)
        return
    session: Any = context.session
    if context.direction is Direction.COMPENSATION:
        _check_not_done(context, world)
        if session.entry.state is State.UNKNOWN and not _stands(context, world):
            raise NotFound("nothing was done")
    session.add(world.effect(context, "did" if direction == "action" else "undid"))


def _check_not_done(context: Context, world: "World") -> None:
    if world.scripts[context.saga_id, context.step_name].is_undone_by_hand:
        raise NotFound("somebody has undone it by hand")


def _stands(context: Context, world: "World") -> bool:
    effects = world.services_database.table(EFFECTS).values()
    return standing(effects, context.saga_id, context.step_name) > 0
