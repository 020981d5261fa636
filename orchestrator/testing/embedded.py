"""EmbeddedSagas: whole sagas in a test's own process, on the embedded broker and SQLite."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Final, Literal, Self

from chassis.facts import DeadLettered, Fact
from messaging.codec import encode_start
from messaging.contract import StartRequest
from messaging.errors import ConfigurationError, Conflict, NotFound, Refused
from messaging.limits import check_data
from orchestrator.backoff import retry_delay
from orchestrator.definition import SagaOrchestrator
from orchestrator.ids import new_saga_id
from orchestrator.planning import participants_of_plan
from orchestrator.saga.decide import decide
from orchestrator.saga.state import (
    CancelRequested,
    ResolveRequested,
    RetryRequested,
    SagaState,
    Verdict,
)
from orchestrator.store.queries import show_saga, state_of
from orchestrator.store.views import SagaView
from orchestrator.testing.course import ByHand
from orchestrator.testing.failures import HIDDEN
from orchestrator.testing.programs import NAMES, Programs
from orchestrator.testing.scripted import Call, ScriptedParticipant, Stage
from orchestrator.testing.virtual_time import VirtualTime
from orchestrator.testing.waiting import Waiting
from participants.participant import Participant
from participants.replies import Replies

__tracebackhide__ = HIDDEN

_ROOM: Final = 10_000
_TESTER: Final = "the test"


class EmbeddedSagas:
    """Orchestrator, broker, store and participants in one process, for tests of whole sagas.

        async with EmbeddedSagas() as kit:
            kit.participant("Flights").completes("Book", {"seat": "12A"})
            saga = await kit.run(TripSaga, {"from": "BER"})

    With the virtual clock, time is put forward to the next timer whenever nothing is in hand:
    pauses, deadlines and scripted delays take no time. With the real one they take theirs.
    `patience` is how many real seconds a wait may take before it fails. In pytest, the fixture
    `saga_kit` is one that is open.
    """

    def __init__(
        self, *, clock: Literal["virtual", "real"] = "virtual", patience: float = 10.0
    ) -> None:
        self._is_virtual = clock == "virtual"
        self._patience = patience
        self._programs = Programs(VirtualTime())
        self._scripted: dict[str, ScriptedParticipant] = {}
        self._hosted: dict[str, Participant] = {}
        self._at_work: set[str] = set()
        self._stage: Stage | None = None

    async def __aenter__(self) -> Self:
        await self._programs.open()
        self._stage = Stage(broker=self._programs.broker, names=NAMES, time=self._programs.time)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._programs.close()

    # --- who answers ---------------------------------------------------------------------

    def participant(self, name: str) -> ScriptedParticipant:
        """The participant of this name that answers by a script; the same one each time."""
        if name in self._hosted:
            raise ConfigurationError(f"{name} is hosted; it answers by its own handlers")
        if name not in self._scripted:
            self._scripted[name] = ScriptedParticipant(name, self._open_stage)
        return self._scripted[name]

    def host(self, *participants: Participant) -> None:
        """Run these participants of your own, with their handlers and the guard in SQLite."""
        for each in participants:
            if each.name in self._scripted or each.name in self._hosted:
                raise ConfigurationError(f"{each.name} is there already; a queue has one owner")
            self._hosted[each.name] = each

    @property
    def replies(self) -> Replies:
        """For hosted participants whose handlers returned `context.later()`."""
        return Replies(self._programs.broker, self._programs.inbox, NAMES)

    # --- sagas ---------------------------------------------------------------------------

    async def run(
        self,
        definition: type[SagaOrchestrator] | SagaOrchestrator,
        data: Mapping[str, Any] | None = None,
        *,
        saga_id: str | None = None,
    ) -> SagaView:
        """Start a saga, and see it through: `start`, then `finish`."""
        return await self.finish(await self.start(definition, data, saga_id=saga_id))

    async def start(
        self,
        definition: type[SagaOrchestrator] | SagaOrchestrator,
        data: Mapping[str, Any] | None = None,
        *,
        saga_id: str | None = None,
    ) -> str:
        """Start a saga by message, as a client would; its id.

        Raises DefinitionError for a definition or a plan that the orchestrator would refuse,
        ProtocolError for data that cannot cross the network, Conflict for an id in use.
        """
        given, chosen = dict(data or {}), saga_id or new_saga_id()
        check_data(given)
        made = definition() if isinstance(definition, type) else definition
        self._programs.registry.register(made)
        plan = self._programs.registry.plan(made.saga_type, given)
        if await self._has_begun(chosen):
            raise Conflict(f"there is a saga {chosen} already; choose another id")
        await self._staff(participants_of_plan(plan))
        request = StartRequest(saga_type=made.saga_type, saga_id=chosen, data=given)
        await self._programs.broker.publish([encode_start(NAMES, request)])
        await self._waiting.until(lambda: self._has_begun(chosen), saga_id=None)
        return chosen

    async def finish(self, saga_id: str) -> SagaView:
        """The saga when it has ended, or waits for a person: its `state` says which."""
        await self._waiting.until_at_rest(lambda: self._has_ended(saga_id), saga_id)
        return await self.show(saga_id)

    async def show(self, saga_id: str) -> SagaView:
        """The saga as it is now, with its steps and history. NotFound for an unknown id."""
        view = await show_saga(self._programs.store, saga_id)
        if view is None:
            raise NotFound(f"there is no saga {saga_id!r}")
        return view

    async def cancel(self, saga_id: str, *, reason: str = "cancelled") -> None:
        """Turn the saga back. Refused if it has ended or is past its pivot."""
        await self._ask(saga_id, CancelRequested(reason=reason, actor=_TESTER))

    async def retry(self, saga_id: str, step: str, *, reason: str = "again") -> None:
        """As an operator, have the step's command sent once more. Refused if it owes none."""
        await self._ask(saga_id, RetryRequested(step=step, reason=reason, actor=_TESTER))

    async def resolve(
        self,
        saga_id: str,
        step: str,
        *,
        result: Mapping[str, Any] | None = None,
        reason: str = "done by hand",
    ) -> None:
        """As an operator, say that it is done: a compensation, or a step past the pivot."""
        request = ResolveRequested(step=step, reason=reason, actor=_TESTER, result=result)
        await self._ask(saga_id, request)

    # --- time ----------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The time by the kit's clock."""
        return self._programs.time.now()

    async def settle(self) -> None:
        """Wait until nothing is in hand; timers are left alone."""
        await self._waiting.until_idle()

    async def pass_time(
        self, time: timedelta = timedelta(0), *, minutes: float = 0, seconds: float = 0
    ) -> None:
        """Let so much time pass, with all that is due in it, by the virtual clock."""
        if not self._is_virtual:
            raise ConfigurationError('time passes by itself here; use clock="virtual"')
        passing = time + timedelta(minutes=minutes, seconds=seconds)
        await self._waiting.until_time(self.now + passing)

    # --- to look at ----------------------------------------------------------------------

    @property
    def commands(self) -> Sequence[Call]:
        """Every command that a scripted participant has got, in order."""
        return tuple(self._open_stage.calls)

    @property
    def facts(self) -> Sequence[Fact]:
        """What the programs have reported, as metrics and logs would hear it."""
        return tuple(self._programs.facts)

    @property
    def dead_letters(self) -> Sequence[DeadLettered]:
        """The dead letters of sagas, of which nobody takes care here."""
        return [fact for fact in self._programs.facts if isinstance(fact, DeadLettered)]

    # --- inside --------------------------------------------------------------------------

    @property
    def _open_stage(self) -> Stage:
        if self._stage is None:
            raise ConfigurationError("the kit is not open; use `async with EmbeddedSagas() as kit`")
        return self._stage

    async def _staff(self, names: frozenset[str]) -> None:
        """Everybody whom the plan names is at work; who is not hosted has a script."""
        wanted = names - self._at_work
        self._programs.declare(wanted)
        hosted = [each for each in self._hosted.values() if each.name in wanted]
        if hosted:
            await self._programs.employ(*hosted)
        for name in wanted - self._hosted.keys():
            queue = NAMES.commands_for(name)
            consumer = await self._programs.broker.consume(queue, prefetch=_ROOM)
            self._programs.attend(self.participant(name).serve(consumer), name)
        self._at_work |= wanted

    async def _ask(self, saga_id: str, event: ByHand) -> None:
        async with self._programs.store.transaction() as transaction:
            saga = (await transaction.lock({saga_id})).get(saga_id)
            if saga is None:
                raise NotFound(f"there is no saga {saga_id!r}")
            decision = decide(saga, event, now=transaction.now, delay=retry_delay)
            if decision.verdict is Verdict.REFUSED:
                raise Refused(decision.refusal or f"saga {saga_id} does not allow that now")
            await transaction.save([decision])
            await transaction.notify()

    async def _has_begun(self, saga_id: str) -> bool:
        return await state_of(self._programs.store, saga_id) is not None

    async def _has_ended(self, saga_id: str) -> bool:
        state = await state_of(self._programs.store, saga_id)
        if state is None:
            raise NotFound(f"there is no saga {saga_id!r}")
        return SagaState(state).is_final

    @property
    def _waiting(self) -> Waiting:
        return Waiting(
            programs=self._programs,
            stage=self._open_stage,
            is_virtual=self._is_virtual,
            patience=self._patience,
        )
