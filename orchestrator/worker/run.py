"""The orchestrator as a program: broker, store, definitions, health."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from chassis import systemd
from chassis.facts import ConnectionChanged, Noticed, Observe
from chassis.health import Health
from chassis.launch import launch
from chassis.lifecycle import report
from chassis.logs import configure, log_fact
from chassis.metrics import Metrics
from chassis.observers import fan_out
from chassis.pacing import Pace
from chassis.settings import OrchestratorSettings
from messaging.brokers import broker_for
from messaging.errors import SagaError
from messaging.port import Broker
from messaging.topology import Names, installation
from orchestrator.registry import Registry, load_definitions
from orchestrator.store.database import DatabaseStore
from orchestrator.store.purging import Purge, old_sagas
from orchestrator.store.rounds import repeat_rounds
from orchestrator.store.stores import store_for
from orchestrator.worker.service import Worker

NAME: Final = "orchestrator"


def run(targets: Sequence[str], **flags: Any) -> int:
    """`saga orchestrator run`: the exit code. `flags` are settings from the command line."""
    try:
        registry = load_definitions(targets)
    except SagaError as error:
        configure()
        return report(error)

    async def main(settings: OrchestratorSettings, stopping: asyncio.Event) -> None:
        metrics = Metrics()
        metrics.expect(registry.saga_types)
        observe = fan_out(log_fact, metrics.observe)
        await serve(registry, settings, stopping, observe, metrics)

    return launch(main, OrchestratorSettings, name=NAME, **flags)


async def serve(
    registry: Registry,
    settings: OrchestratorSettings,
    stopping: asyncio.Event,
    observe: Observe,
    metrics: Metrics | None = None,
) -> None:
    """Connect, answer probes and work until `stopping` is set.

    Raises ConfigurationError for what only the installation can repair: the schema, a refused
    login, another topology.
    """
    health = Health(NAME, metrics.registry if metrics else None)
    async with AsyncExitStack() as stack:
        store = store_for(settings.required_database_url(), stuck_after=settings.stuck_after)
        stack.push_async_callback(store.close)
        broker = _broker(registry, settings, observe)
        worker = Worker(broker, store, registry, settings, observe, began=datetime.now(UTC))
        health.register("broker", broker.obstacle)
        health.register("database", lambda: worker.database.problem)
        health.register("drain", lambda: "stopping" if stopping.is_set() else None)
        await stack.enter_async_context(health.serving(settings.http_host, settings.http_port))
        check = partial(_check, store, settings)
        if not await Pace(stopping, worker.database).until_done(check):
            return
        await stack.enter_async_context(broker)
        if metrics:
            metrics.follow("saga_consumer_up", lambda: float(broker.is_ready()))
        _announce(registry, observe)
        async with asyncio.TaskGroup() as group:
            # It also raises the ConfigurationError of a broker that refuses us.
            greeting = systemd.ready_after(broker.wait_ready, "moving sagas")
            greeted = group.create_task(greeting, name="broker greeting")
            group.create_task(_purging(store, settings, stopping, observe), name="purging")
            await worker.run(stopping)
            greeted.cancel()


async def _check(store: DatabaseStore, settings: OrchestratorSettings) -> None:
    if settings.migrate:
        await store.upgrade()
    await store.check()


async def _purging(
    store: DatabaseStore,
    settings: OrchestratorSettings,
    stopping: asyncio.Event,
    observe: Observe,
) -> None:
    """Delete what is kept no longer, over a connection of its own."""
    old = old_sagas(completed=settings.retention_completed, failed=settings.retention_failed)
    reason = "SAGA_RETENTION_COMPLETED, SAGA_RETENTION_FAILED"
    async with store.aside() as other:
        await repeat_rounds(
            lambda: Purge(other, old, by=NAME, reason=reason, gives_way=True), stopping, observe
        )


def _broker(registry: Registry, settings: OrchestratorSettings, observe: Observe) -> Broker:
    names = Names(settings.namespace)

    def on_change(up: bool, detail: str) -> None:
        observe(ConnectionChanged(peer="broker", up=up, detail=detail))

    return broker_for(
        settings.amqp_url.get_secret_value(),
        names=names,
        topology=installation(names, registry.participants),
        mode=settings.topology,
        app_id=NAME,
        on_change=on_change,
    )


def _announce(registry: Registry, observe: Observe) -> None:
    details = {
        "saga_types": ", ".join(sorted(registry.saga_types)),
        "participants": ", ".join(sorted(registry.participants)),
    }
    observe(Noticed(level="info", message="orchestrator started", details=details))
