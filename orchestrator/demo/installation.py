"""All programs in one process: embedded broker, two SQLite files, three daemons."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

from chassis.facts import Observe
from chassis.settings import DlqSettings, OrchestratorSettings
from dlq_worker.sinks.port import Sink
from dlq_worker.worker import DlqWorker
from messaging.memory import MemoryBroker
from messaging.memory_server import MemoryServer
from messaging.topology import Names, TopologyMode, installation
from orchestrator.definition import RetryPolicy, SagaStep
from orchestrator.examples.order_fulfillment import OrderFulfillmentSaga
from orchestrator.registry import Registry
from orchestrator.store.sqlite import SqliteStore
from orchestrator.worker.service import Worker
from participants.examples.order_fulfillment import inventory, notification, payment, shipping
from participants.runner import Runner
from participants.sql_inbox import SqlInbox

NAMES: Final = Names("saga")
REPLAYS: Final = 3
_SERVICES: Final = (inventory, payment, shipping, notification)
_OFTEN: Final = timedelta(milliseconds=50)
_SECOND: Final = timedelta(seconds=1)
# As many attempts as by default, but nobody wants to watch pauses of minutes.
_IMPATIENT: Final = RetryPolicy(initial=timedelta(milliseconds=100), maximum=_SECOND)


class DemoOrderSaga(OrderFulfillmentSaga):
    """The order saga, in a hurry."""

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        steps = super().define_steps(data)
        return [
            replace(step, compensation_retry=_IMPATIENT) if isinstance(step, SagaStep) else step
            for step in steps
        ]


class _QuickStore(SqliteStore):
    def __init__(self, database_url: str) -> None:
        super().__init__(database_url)
        _do_not_wait_for_the_disk(self._engine)


@dataclass(frozen=True, slots=True, kw_only=True)
class Databases:
    """The orchestrator's database, and the one that the services share."""

    url: str
    store: SqliteStore
    inbox: SqlInbox


def database_url_in(folder: Path) -> str:
    """The orchestrator's database, as SAGA_DATABASE_URL names it."""
    return f"sqlite:///{folder / 'sagas.db'}"


@asynccontextmanager
async def databases_in(folder: Path) -> AsyncIterator[Databases]:
    """Both databases, with their schemas."""
    url = database_url_in(folder)
    store, inbox = _QuickStore(url), SqlInbox(f"sqlite:///{folder / 'books.db'}")
    _do_not_wait_for_the_disk(inbox.engine)
    try:
        await store.upgrade()
        await inbox.prepare([each for service in _SERVICES for each in service.preparations])
        yield Databases(url=url, store=store, inbox=inbox)
    finally:
        await inbox.close()
        await store.close()


@asynccontextmanager
async def programs_at_work(
    databases: Databases, observe: Observe, sink: Sink
) -> AsyncIterator[MemoryBroker]:
    """Orchestrator, services and DLQ worker at work; yields a broker for their customers.

    Afterwards they have drained. Raises what brings one of them down.
    """
    server = MemoryServer()
    stopping = asyncio.Event()
    async with (
        _broker(server, "orchestrator") as orchestrator,
        _broker(server, "participants") as participants,
        _broker(server, "dlq-worker") as dlq_worker,
        _broker(server, "customer") as customer,
        asyncio.TaskGroup() as programs,
    ):
        registry = Registry([DemoOrderSaga()])
        settings = orchestrator_settings()
        began = datetime.now(UTC)
        worker = Worker(orchestrator, databases.store, registry, settings, observe, began=began)
        runner = _runner(participants, databases, observe)
        recovery = _dlq_worker(dlq_worker, databases, observe, [sink])
        programs.create_task(worker.run(stopping), name="orchestrator")
        programs.create_task(runner.run(stopping), name="participants")
        programs.create_task(recovery.run(stopping), name="dlq worker")
        try:
            yield customer
        finally:
            stopping.set()


def orchestrator_settings() -> OrchestratorSettings:
    """The defaults, whatever the environment or a `.env` says: nothing of that is read."""
    return OrchestratorSettings.model_construct(poll_interval=_OFTEN)


def dlq_settings() -> DlqSettings:
    """The same for the DLQ worker, with replays a second apart."""
    return DlqSettings.model_construct(
        poll_interval=4 * _OFTEN, replay_limit=REPLAYS, replay_base=_SECOND, replay_maximum=_SECOND
    )


def _broker(server: MemoryServer, app_id: str) -> MemoryBroker:
    names = [service.name for service in _SERVICES]
    return MemoryBroker(
        server,
        names=NAMES,
        topology=installation(NAMES, names),
        mode=TopologyMode.DECLARE,
        app_id=app_id,
        user_id=app_id,
    )


def _runner(broker: MemoryBroker, databases: Databases, observe: Observe) -> Runner:
    return Runner(*_SERVICES, broker=broker, inbox=databases.inbox, names=NAMES, observe=observe)


def _dlq_worker(
    broker: MemoryBroker, databases: Databases, observe: Observe, sinks: Sequence[Sink]
) -> DlqWorker:
    return DlqWorker(broker, databases.store, dlq_settings(), observe, sinks=sinks)


def _do_not_wait_for_the_disk(engine: AsyncEngine) -> None:
    """Who pulls the plug on a demo runs it again: no commit has to survive that."""
    event.listen(engine.sync_engine, "connect", _switch_syncing_off)


def _switch_syncing_off(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=OFF")
    cursor.close()
