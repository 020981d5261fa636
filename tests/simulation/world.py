"""One run: servers, programs and clients, a storm of faults, and the quiet after it."""

import asyncio
import json
import random
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from chassis.facts import Fact
from chassis.pacing import Pace, Reachability
from chassis.settings import OrchestratorSettings, load
from dlq_worker import operations
from dlq_worker.intake import Intake
from dlq_worker.planning import ReplayPolicy
from dlq_worker.recovery import Recovery
from messaging import codec
from messaging.contract import EPOCH_HEADER, CancelRequest, ReplyType, StartRequest
from messaging.errors import NotFound, Refused, SagaError, Unavailable
from messaging.port import Outgoing, Receipt
from messaging.topology import Names, Topology, installation
from orchestrator.client import SagaClient
from orchestrator.reconcile.findings import Finding
from orchestrator.saga.flow import is_forward_exhausted
from orchestrator.saga.state import Saga, Step, StepStatus
from orchestrator.worker.service import Worker
from participants.context import Context
from participants.guard import TOO_LATE
from participants.replies import Replies
from participants.runner import Runner
from tests.simulation import aftermath, faults
from tests.simulation.broker import Network, SimulatedBroker
from tests.simulation.database import BEGINNING, Database, Key
from tests.simulation.faults import Machine
from tests.simulation.inbox import EFFECTS, INBOX, Effect, SimulatedInbox
from tests.simulation.letters import Row, alerts_of, rows_of
from tests.simulation.loop import VirtualLoop
from tests.simulation.scenario import REGISTRY, SERVICES, Order, Scenario
from tests.simulation.services import Bank, participants, standing
from tests.simulation.store import HISTORY, SAGAS, SimulatedStore
from tests.simulation.story import Story

PATIENCE: Final = 1800.0  # virtual seconds in which everything has to come to rest
_SETTINGS: Final = load(OrchestratorSettings, namespace="sim", poll_interval="5s")
_POLICY: Final = ReplayPolicy(limit=2, base=timedelta(seconds=3), maximum=timedelta(seconds=10))
_PARTICIPANTS: Final = participants()


class World:
    """Everything there is in one run."""

    def __init__(self, chance: random.Random, scenario: Scenario, climate: faults.Climate) -> None:
        self.chance = chance
        self.scenario = scenario
        self.scripts = scenario.scripts
        self.climate = climate
        self.loop = VirtualLoop(chance)
        self.story = Story(self.loop.time)
        self.sagas_database = Database(self.loop.time)
        self.services_database = Database(self.loop.time)
        self.network = Network(self.loop, chance, self.story, lambda: self.sagas_database.now)
        self.network.server.declare(_topology(self.network.names, scenario.delivery_limit))
        self.network.heard.append(self._hear)
        self.network.can_lose = self._can_be_lost
        self.sagas_database.on_commit = self._on_commit
        self.services_database.on_commit = self._tell_effects
        self.bank = Bank(self)
        self.healed = asyncio.Event()
        self.asked: set[str] = set()  # sagas whose start the broker or the database has taken
        self.outcomes_told: set[tuple[str, str]] = set()
        self.answers: dict[tuple[str, str], set[str]] = {}
        self.breaches: list[str] = []  # of rules that are watched while it runs
        self.losses = 0  # how often the sagas' database has lost commits
        self.attempts: dict[tuple[object, ...], int] = {}  # that commits have asked for
        self.found: list[Finding] = []  # by the last `saga reconcile`, when all had come to rest
        self.repairs: list[aftermath.Repair] = []
        self.letters_told: set[tuple[str, str]] = set()  # of which sagas, and why
        self.machines = [
            self._machine("orchestrator-1", self._orchestrate),
            self._machine("orchestrator-2", self._orchestrate),
            self._machine("participants-1", self._serve),
            self._machine("participants-2", self._serve),
            self._machine("dlq-worker", self._recover),
        ]
        self.client = self._machine("client", self._orders)

    # --- the course of a run -------------------------------------------------------------

    async def run(self) -> None:
        """The storm, the healing, and the quiet."""
        everybody = [*self.machines, self.client]
        for machine in everybody:
            machine.weather(self.climate if machine is not self.client else faults.CALM)
            machine.start()
        self.network.climate = self.climate
        await self._storm()
        self._heal()
        await self._come_to_rest()
        for machine in everybody:
            machine.stop()

    async def _storm(self) -> None:
        climate, chance = self.climate, self.chance
        for _ in range(int(self.scenario.storm)):
            await asyncio.sleep(1)
            if chance.random() < climate.broker_outage:
                self._broker_outage(chance.random() * 8)
            if chance.random() < climate.unbound:
                self._unbind(chance.choice(SERVICES), chance.random() * 8)
            if chance.random() < climate.database_outage:
                name = chance.choice(("sagas", "services"))
                self._database_outage(name, chance.random() * 8)
            if chance.random() < climate.drain:
                chance.choice(self.machines).drain()
            if chance.random() < climate.clock_jump:
                self._jump_a_clock(chance.uniform(-60, 60))
            if chance.random() < climate.lost_commits:
                self._fail_over(chance.random() * 5)

    def _broker_outage(self, seconds: float) -> None:
        if self.network.server.is_up:
            self.story.tell(f"the broker is down for {seconds:.1f} s")
            self.network.server.go_down()
            self.loop.later(seconds, self._broker_returns)

    def _broker_returns(self) -> None:
        if not self.network.server.is_up:
            self.network.server.come_back()

    def _unbind(self, service: str, seconds: float) -> None:
        if not self.network.is_unbound(service):
            self.story.tell(f"no queue takes the commands of {service} for {seconds:.1f} s")
            self.network.unbind(service)
            self.loop.later(seconds, self.network.bind_all)

    def _database_outage(self, name: str, seconds: float) -> None:
        database = self.sagas_database if name == "sagas" else self.services_database
        if database.is_up:
            self.story.tell(f"the database of the {name} is down for {seconds:.1f} s")
            database.go_down()
            self.loop.later(seconds, database.come_back)

    def _jump_a_clock(self, seconds: float) -> None:
        owner = self.chance.choice([self.sagas_database, self.services_database, *self.machines])
        if isinstance(owner, Machine):
            self.story.tell(f"the clock of {owner.name} jumps by {seconds:+.1f} s")
            owner.program.clock_error += seconds
            return
        name = "sagas" if owner is self.sagas_database else "services"
        self.story.tell(f"the clock of the database of the {name} jumps by {seconds:+.1f} s")
        owner.clock_error += seconds

    def _fail_over(self, lost: float) -> None:
        count = self.sagas_database.fail_over(lost)
        self.story.tell(f"the database of the sagas fails over and loses {count} commits")
        self.losses += 1
        self.loop.later(self.chance.random() * 8, self._begin_looking)

    def _begin_looking(self) -> None:
        self.loop.launch(self.client.program, aftermath.look_for_sagas(self))

    def _heal(self) -> None:
        self.story.tell("everything is healed")
        self.network.climate = faults.CALM
        for machine in self.machines:
            machine.weather(faults.CALM)
        self._broker_returns()
        self.network.bind_all()
        for database in (self.sagas_database, self.services_database):
            database.come_back()
            database.clock_error = 0.0
        self.healed.set()

    async def _come_to_rest(self) -> None:
        """Until nothing moves any more, or patience ends; the laws say what that means."""
        until = self.loop.time() + PATIENCE
        quiet = 0
        while self.loop.time() < until and quiet < 2:
            await asyncio.sleep(3)
            if self.scenario.has_operator:
                await self._operate()
            quiet = quiet + 1 if self.is_at_rest() else 0
            if quiet == 2 and self.losses:
                self.found = aftermath.findings(self)
                repairs = await aftermath.repaired(self, self.found)
                self.repairs += repairs
                quiet = 0 if repairs else quiet

    def is_at_rest(self) -> bool:
        sagas = self.sagas()
        return (
            self.network.on_the_way == 0
            and self.asked <= {saga.saga_id for saga in sagas}
            and all(saga.state.is_final or parked_steps(saga) for saga in sagas)
            and not any(saga.outbound and saga.wake_at for saga in sagas)
            and all(self._is_still(row) for row in rows_of(self.sagas_database))
            and all(
                queue.depth == queue.unsettled == 0 for queue in self.network.server.queues.values()
            )
        )

    def _is_still(self, row: Row) -> bool:
        stored = row.stored
        if self.scenario.has_operator and stored.alert_key and _is_of_step(row):
            return stored.status.is_closed
        saga = self.sagas_database.table(SAGAS).get(stored.letter.saga_id)
        is_seen = saga is not None and row.saga_version == saga.version
        return stored.status.is_closed or (stored.alert_key is not None and is_seen)

    # --- what the laws look at -----------------------------------------------------------

    def sagas(self) -> list[Saga]:
        return list(self.sagas_database.table(SAGAS).values())

    def effects(self) -> list[Effect]:
        """All effects in the order in which they came about."""
        stored = self.services_database.table(EFFECTS).values()
        return sorted([*stored, *self.bank.effects], key=lambda effect: effect.at)

    def effect(self, context: Context, kind: str) -> Effect:
        by = f"attempt {context.attempt}"
        return Effect(context.saga_id, context.step_name, kind, self.loop.time(), by)

    def told_effect(self, effect: Effect) -> None:
        self.story.tell(f"effect: {effect.kind} {effect.step}, {effect.by}", effect.saga_id)

    # --- the programs --------------------------------------------------------------------

    def _machine(self, name: str, main: Any) -> Machine:
        databases = (self.sagas_database, self.services_database)
        machine = Machine(
            name,
            loop=self.loop,
            chance=self.chance,
            story=self.story,
            databases=databases,
            main=main,
        )
        machine.world = self
        return machine

    async def _orchestrate(self, machine: Machine) -> None:
        store = SimulatedStore(self.sagas_database, machine)
        try:
            async with SimulatedBroker(self.network, machine) as broker:
                # As if all had begun together: they share, and more of them meet at a saga.
                worker = Worker(broker, store, REGISTRY, _SETTINGS, self._observe, began=BEGINNING)
                await worker.run(machine.stopping)
        finally:
            await store.close()

    async def _serve(self, machine: Machine) -> None:
        async with SimulatedBroker(self.network, machine) as broker:
            inbox = SimulatedInbox(
                self.services_database, machine, forgets=lambda key: self.scripts[key].forgets
            )
            runner = Runner(
                *_PARTICIPANTS,
                broker=broker,
                inbox=inbox,
                names=self.network.names,
                observe=self._observe,
                concurrency=4,
            )
            await runner.run(machine.stopping)

    async def _recover(self, machine: Machine) -> None:
        """The dlq worker without its sinks."""
        store: Any = SimulatedStore(self.sagas_database, machine)
        names, look = self.network.names, asyncio.Event()
        pace = Pace(machine.stopping, Reachability(self._observe))
        try:
            async with SimulatedBroker(self.network, machine) as broker:
                intake = Intake(
                    broker, store, names, prefetch=20, observe=self._observe, on_kept=look.set
                )
                recovery = Recovery(
                    broker,
                    store,
                    names,
                    policy=_POLICY,
                    observe=self._observe,
                    on_alert=lambda: None,
                )
                async with asyncio.TaskGroup() as group:
                    group.create_task(intake.run(pace))
                    interval = timedelta(seconds=2)
                    group.create_task(pace.repeat(recovery.look, interval=interval, wake=look))
        finally:
            await store.close()

    # --- clients, operators, and those who answer later -----------------------------------

    async def _orders(self, machine: Machine) -> None:
        async with SimulatedBroker(self.network, machine), asyncio.TaskGroup() as group:
            for order in self.scenario.orders:
                group.create_task(self._order(order))
                if order.cancel_at is not None:
                    group.create_task(self._cancel(order, order.cancel_at))
            await asyncio.Event().wait()

    async def _order(self, order: Order) -> None:
        await asyncio.sleep(order.at)
        await self.ask_for(order)
        self.asked.add(order.saga_id)

    async def ask_for(self, order: Order) -> None:
        if order.by_message:
            request = StartRequest(
                saga_type=order.saga_type, saga_id=order.saga_id, data=order.data
            )
            await self._send(codec.encode_start(self.network.names, request))
        else:
            await self._insist(
                lambda client: client.start(order.saga_type, order.data, saga_id=order.saga_id)
            )
            self.story.tell("is asked for through the database", order.saga_id)

    async def _cancel(self, order: Order, at: float) -> None:
        await asyncio.sleep(at)
        if order.cancel_by_message:
            request = CancelRequest(saga_id=order.saga_id, reason="changed my mind")
            await self._send(codec.encode_cancel(self.network.names, request))
            return
        try:
            await self._insist(
                lambda client: client.cancel(order.saga_id, reason="changed my mind", by="client")
            )
            self.story.tell("is cancelled through the database", order.saga_id)
        except (Refused, NotFound) as error:
            self.story.tell(f"cannot be cancelled: {error}", order.saga_id)

    async def _send(self, message: Outgoing) -> None:
        broker = self.client.broker
        assert broker is not None
        while (await broker.publish([message]))[0] is not Receipt.CONFIRMED:
            await asyncio.sleep(0.5)

    async def _insist(self, ask: Any) -> None:
        client = SagaClient.__new__(SagaClient)
        store: Any = SimulatedStore(self.sagas_database, self.client)
        client._store = store
        while True:
            try:
                await ask(client)
                break
            except Unavailable:
                await asyncio.sleep(0.5)
        await store.close()

    def answer_later(self, saga_id: str, step: str, direction: str) -> None:
        def begin() -> None:
            self.loop.launch(self.client.program, self._answer(saga_id, step, direction))

        self.loop.later(self.chance.random() * 10, begin)

    async def _answer(self, saga_id: str, step: str, direction: str) -> None:
        broker = self.client.broker
        assert broker is not None
        inbox = SimulatedInbox(self.services_database, self.client)
        replies = Replies(broker, inbox, self.network.names)
        answer = {step: "approved"} if direction == "action" else None
        for _ in range(60):
            with suppress(NotFound, Refused):
                try:
                    await replies.reply(saga_id, step, answer)
                except Unavailable:
                    await asyncio.sleep(1)
                    continue
            return

    async def _operate(self) -> None:
        """Somebody looks at the alerts, mends what can be mended, and goes on."""
        store: Any = SimulatedStore(self.sagas_database, self.client)
        for row in rows_of(self.sagas_database):
            if row.stored.status.is_closed or not row.stored.alert_key or not _is_of_step(row):
                continue
            try:
                await self._deal_with(store, row)
            except SagaError as error:
                self.story.tell(f"the operator is refused: {error}", row.stored.letter.saga_id)
        await store.close()

    async def _deal_with(self, store: Any, row: Row) -> None:
        letter = row.stored.letter
        key = (letter.saga_id or "", letter.step_name or "")
        script = self.scripts[key]
        if self.chance.random() < 0.5:
            script.is_repaired = True
            script.actions = ("ok",)
            self.story.tell(f"the operator retries {letter.step_name}", letter.saga_id)
            await operations.retry(store, [row.stored.id], reason="mended", by="operator")
            return
        self.story.tell(f"the operator resolves {letter.step_name} by hand", letter.saga_id)
        if letter.origin.value == "forward":
            result = {key[1]: "by hand"}
            await operations.resolve(
                store, row.stored.id, reason="done", by="operator", result=result
            )
            return
        await self._undo_by_hand(key)
        await operations.resolve(store, row.stored.id, reason="undone", by="operator")

    async def _undo_by_hand(self, key: tuple[str, str]) -> None:
        """While nobody else is at it."""
        rows = self.services_database.begin(self.client)
        await rows.hold((INBOX, key), 600)
        self.scripts[key].is_undone_by_hand = True
        if standing(self.effects(), *key) > 0:
            effect = Effect(*key, "undid", self.loop.time(), "by hand")
            self.bank.effects.append(effect)
            self.told_effect(effect)
        rows.end()

    # --- listening -----------------------------------------------------------------------

    def _observe(self, fact: Fact) -> None:
        """Facts are for logs and metrics."""

    def _can_be_lost(self, message: Outgoing) -> bool:
        """Who forgets a failure must be heard when it succeeds after all."""
        names = self.network.names
        if message.exchange == names.commands:
            return True
        said = json.loads(message.body) if message.exchange == names.replies else {}
        script = self.scripts.get((said.get("saga_id"), said.get("step_name")))
        return script is not None and not script.forgets

    def _hear(self, sender: str, message: Outgoing, receipt: Receipt) -> None:
        names = self.network.names
        if message.exchange == names.events and receipt is Receipt.CONFIRMED:
            self.outcomes_told.add((message.correlation_id or "", message.type))
        if message.exchange == names.dead and receipt is Receipt.CONFIRMED:
            reason = str(message.headers.get("saga-reason"))
            self.letters_told.add((message.correlation_id or "", reason))
        if message.exchange == names.replies and sender != "dlq-worker":
            self._keep_answer(message)
        if message.exchange == names.commands and sender.startswith("orchestrator"):
            self._check_committed(message)

    def _keep_answer(self, message: Outgoing) -> None:
        """What a participant has said for good about an action."""
        said = json.loads(message.body)
        answers = self.answers.setdefault((said["saga_id"], said["step_name"]), set())
        if message.type == ReplyType.STEP_COMPLETED:
            answers.add("done")
        elif message.type == ReplyType.STEP_FAILED and said["error"] != TOO_LATE:
            is_definite = not said.get("retryable") and said.get("effect") != "unknown"
            answers |= {"definitely not"} if is_definite else set()

    def _check_committed(self, message: Outgoing) -> None:
        """State, then message: no command leaves before the commit that asks for it, in the life
        of the database that the command names. That commit may be lost by now."""
        name, headers = _step_in(message), message.headers
        asked = message.correlation_id, name, headers["saga-direction"], headers[EPOCH_HEADER]
        if int(headers["saga-attempt"]) > self.attempts.get(asked, 0):
            text = f"{message.type} for {name} of {message.correlation_id} left before its commit"
            self.breaches.append(text)

    def _on_commit(self, writes: Collection[tuple[Key, Any]]) -> None:
        for (table, saga_id), saga in writes:
            for step in saga.steps if table == SAGAS and saga else ():
                counts = {"action": step.attempts, "compensation": step.compensation_attempts}
                for direction, count in counts.items():
                    key = saga_id, step.name, direction, saga.epoch
                    self.attempts[key] = max(count, self.attempts.get(key, 0))
        self._tell_history(writes)

    def _tell_history(self, writes: Collection[tuple[Key, Any]]) -> None:
        for (table, key), value in writes:
            if table == HISTORY and value is not None:
                what = value.step or "saga"
                note = f" ({value.note})" if value.note else ""
                move = (
                    f"{value.before} → {value.after}"
                    if value.before != value.after
                    else value.after
                )
                self.story.tell(f"v{value.version} {what}: {move}{note}", key[0])

    def _tell_effects(self, writes: Collection[tuple[Key, Any]]) -> None:
        for (table, _), value in writes:
            if table == EFFECTS and value is not None:
                self.told_effect(value)


def parked_steps(saga: Saga) -> list[Step]:
    """Steps that wait for a person, if nothing else of the saga moves."""
    moving = [
        step
        for step in saga.steps
        if step.status in {StepStatus.EXECUTING, StepStatus.COMPENSATING}
    ]
    if moving or saga.state.is_final:
        return []
    return [
        step
        for step in saga.steps
        if step.status is StepStatus.COMPENSATION_FAILED or is_forward_exhausted(saga, step)
    ]


def open_alerts(world: World) -> list[str]:
    return [each.key for each in alerts_of(world.sagas_database) if each.status.value != "closed"]


def _is_of_step(row: Row) -> bool:
    return row.stored.letter.origin.value in {"compensation", "forward"}


def _step_in(message: Outgoing) -> str:
    return str(json.loads(message.body)["step_name"])


def _topology(names: Names, limit: int) -> Topology:
    topology = installation(names, SERVICES)
    queues = tuple(
        replace(queue, arguments={**queue.arguments, "x-delivery-limit": limit})
        if "x-delivery-limit" in queue.arguments
        else queue
        for queue in topology.queues
    )
    return replace(topology, queues=queues)
