"""One cell of the matrix, run from the saga's start until nothing moves it any more."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from messaging.errors import DefinitionError, Refused
from orchestrator.saga.state import SagaState, StepStatus
from orchestrator.store.views import SagaView, StepView
from orchestrator.testing.drill.books import Books
from orchestrator.testing.drill.definition import Scene
from orchestrator.testing.drill.faults import Moment
from orchestrator.testing.drill.injection import Injection, Interrupted
from orchestrator.testing.drill.installation import DrilledPrograms
from orchestrator.testing.drill.matrix import Cell
from orchestrator.testing.drill.services import stand_ins
from orchestrator.testing.drill.story import Event, Kind, Story
from orchestrator.testing.drill.workshop import Workshop
from orchestrator.testing.embedded import EmbeddedSagas
from orchestrator.testing.failures import ScenarioFailed

SAGA_ID: Final = "drill-1"
_LOOK: Final = 0.002  # seconds between two looks whether anything is still in hand
_NOTABLE: Final = timedelta(seconds=1)
_PATIENCE: Final = 20.0  # real seconds without anything new


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """Nothing moves the saga any more: how it is, and what stands by the books."""

    state: str
    steps: tuple[StepView, ...]
    standing: Mapping[str, int]

    @property
    def has_ended(self) -> bool:
        return SagaState(self.state).is_final

    @property
    def halted_at(self) -> Sequence[StepView]:
        """The steps at which a person has to do something."""
        given_up = {StepStatus.COMPENSATION_FAILED, StepStatus.FAILED}
        return [each for each in self.steps if not self.has_ended and each.status in given_up]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came of a cell. `rests`: the last one, and those before an operator went on."""

    cell: Cell
    rests: Sequence[Rest]
    events: Sequence[Event]
    has_struck: bool  # it came to the fault
    problems: Sequence[str] = ()  # of the author's audit
    error: str | None = None  # that nobody foresaw

    @property
    def known(self) -> frozenset[str]:
        """The steps of which the books have said something."""
        ledger = [each for each in self.events if each.kind is Kind.LEDGER]
        return frozenset(each.step for each in ledger if each.step is not None)


class DrilledSagas(EmbeddedSagas):
    """The kit, over programs that crash."""

    def __init__(self, cell: Cell, workshop: Workshop) -> None:
        super().__init__(patience=_PATIENCE)
        self._programs = self.programs = DrilledPrograms(workshop)
        self.story = Story()
        self.injection = Injection(
            cell,
            self.story,
            crash=self.programs.crash,
            cancel=self.cancel_if_possible,
            change=self.programs.change,
        )
        names = frozenset(step.name for step in cell.plan)
        self.books = Books(cell.drill, SAGA_ID, names, self.story)
        self.programs.equip(cell.drill, self.injection, self.books)
        self._cell = cell

    async def cancel_if_possible(self) -> None:
        try:
            await self.cancel(SAGA_ID, reason="to see what it does")
        except Refused as refusal:
            self.story.tell(Kind.FAULT, f"that is refused: {refusal}")

    async def begin(self) -> None:
        """All services are at work, their tables filled, and the saga has started."""
        drill = self._cell.drill
        services = [*drill.services, *stand_ins(self._cell.plan, drill.services)]
        await self.programs.fill(services)
        self.host(*services)
        await self.start(drill.definition, self._cell.data, saga_id=SAGA_ID)

    async def rest(self) -> Rest:
        """Wait until nothing moves the saga, not even what was held back."""
        await self._until_at_rest()
        await self.injection.remove_obstacle()
        while held := self.injection.released(Moment.AT_REST):
            await self.programs.post(held)
            await self._until_at_rest()
        await self.books.look(self.programs.inbox.engine)
        view = await self.show(SAGA_ID)
        self.story.tell(Kind.SAGA, _told(view))
        return Rest(state=view.state, steps=view.steps, standing=self.books.standing)

    @property
    def refused_commands(self) -> Sequence[str]:
        """What a service has no handler for, or could not read."""
        return self._waiting.refused_commands()

    async def _until_at_rest(self) -> None:
        now = asyncio.get_running_loop().time
        told, until = -1, 0.0
        while True:
            if len(self.story.events) > told:
                told, until = len(self.story.events), now() + _PATIENCE
            self.programs.raise_failures()
            idle = await self.programs.idleness()
            if idle is not None and not await self._people_act():
                if idle.until is None or await self._has_ended(SAGA_ID):
                    return
                self._pass_time(idle.until)
                await self.programs.wake()
            if now() > until:
                raise ScenarioFailed(f"nothing happens, and it is not at rest, for {_PATIENCE:g} s")
            await asyncio.sleep(_LOOK)

    def _pass_time(self, until: datetime) -> None:
        pause = until - self.programs.time.now()
        if pause > _NOTABLE:
            self.story.tell(Kind.TIME, f"nothing happens for {_rounded(pause)}")
        self.programs.time.put_forward(until)

    async def _people_act(self) -> bool:
        """True if there is something to do now for the programs."""
        people = self._cell.drill.people
        if people is None:
            return False
        engine = self.programs.inbox.engine
        scene = Scene(
            saga_id=SAGA_ID,
            has_ended=await self._has_ended(SAGA_ID),
            engine=engine,
            replies=self.replies,
        )
        try:
            async with self._cell.drill.asking("people"):
                await people(scene)
        except Interrupted:
            return True
        await self.books.look(engine)
        return await self.programs.idleness() is None


async def run(cell: Cell, workshop: Workshop) -> Run:
    """Run it. Raises what is wrong with the drill itself: DefinitionError, ConfigurationError."""
    kit = DrilledSagas(cell, workshop)
    rests: list[Rest] = []
    error: str | None = None
    problems: Sequence[str] = ()
    try:
        async with kit:
            await kit.begin()
            rests.append(await kit.rest())
            if rests[-1].halted_at and kit.injection.relent():
                rests.append(await _gone_on(kit, rests[-1]))
            _check(kit.refused_commands)
            problems = await _audited(kit, cell, rests[-1])
    except ScenarioFailed as failed:
        error = str(failed)
    return Run(
        cell=cell,
        rests=rests,
        events=tuple(kit.story.events),
        has_struck=kit.injection.has_struck,
        problems=problems,
        error=error,
    )


def _check(refused: Sequence[str]) -> None:
    """A service that does not know its own commands is wrong without any fault."""
    if refused:
        raise DefinitionError("; ".join(dict.fromkeys(refused)))


async def _gone_on(kit: DrilledSagas, halted: Rest) -> Rest:
    """An operator has what has halted tried again."""
    for step in halted.halted_at:
        kit.story.tell(Kind.FAULT, f"an operator has {step.name} tried again")
        await kit.retry(SAGA_ID, step.name)
    return await kit.rest()


async def _audited(kit: DrilledSagas, cell: Cell, rest: Rest) -> Sequence[str]:
    if cell.drill.audit is None or not rest.has_ended:
        return ()
    completed = [SAGA_ID] if rest.state == SagaState.COMPLETED else []
    async with cell.drill.asking("audit"):
        return list(await cell.drill.audit(kit.programs.inbox.engine, completed))


def _told(view: SagaView) -> str:
    failure = view.first_failure
    where = f"{failure.step}: " if failure and failure.step else ""
    why = f" ({where}{failure.error})" if failure else ""
    if SagaState(view.state).is_final:
        return f"the saga has {view.state}{why}"
    waits = ", ".join(f"{step.name} {step.status}" for step in view.steps)
    return f"the saga is {view.state}{why} and waits for a person: {waits}"


def _rounded(pause: timedelta) -> str:
    """As long as it would have been but for the moments that the programs have taken."""
    grain = 10 if pause > timedelta(minutes=1) else 1
    return str(timedelta(seconds=round(pause.total_seconds() / grain) * grain))
