"""The DLQ worker as a program: broker, store, sinks, health."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any, Final

from chassis import systemd
from chassis.facts import ConnectionChanged, Noticed, Observe
from chassis.health import Health
from chassis.launch import launch
from chassis.logs import log_fact
from chassis.metrics import Metrics
from chassis.observers import fan_out
from chassis.pacing import Pace
from chassis.settings import DlqSettings
from dlq_worker.purging import letters_purge
from dlq_worker.worker import DlqWorker
from messaging.brokers import broker_for
from messaging.port import Broker
from messaging.topology import Names, TopologyMode, installation
from orchestrator.store.database import DatabaseStore
from orchestrator.store.rounds import repeat_rounds
from orchestrator.store.stores import store_for

NAME: Final = "dlq-worker"


def run(**flags: Any) -> int:
    """`saga dlq run`: the exit code. `flags` are settings from the command line."""
    return launch(_main, DlqSettings, name=NAME, **flags)


async def _main(settings: DlqSettings, stopping: asyncio.Event) -> None:
    metrics = Metrics()
    await serve(settings, stopping, fan_out(log_fact, metrics.observe), metrics)


async def serve(
    settings: DlqSettings,
    stopping: asyncio.Event,
    observe: Observe,
    metrics: Metrics | None = None,
) -> None:
    """Connect, answer probes and work until `stopping` is set.

    Raises ConfigurationError for what only the installation can repair: a sink, the schema,
    a refused login, another topology.
    """
    health = Health(NAME, metrics.registry if metrics else None)
    async with AsyncExitStack() as stack:
        store = store_for(settings.required_database_url())
        stack.push_async_callback(store.close)
        broker = _broker(settings, observe)
        worker = DlqWorker(broker, store, settings, observe)
        health.register("broker", broker.obstacle)
        health.register("database", lambda: worker.database.problem)
        health.register("drain", lambda: "stopping" if stopping.is_set() else None)
        http_host, http_port = settings.http_host, settings.http_port
        await stack.enter_async_context(health.serving(http_host, http_port))
        if not await Pace(stopping, worker.database).until_done(store.check):
            return
        await stack.enter_async_context(broker)
        if metrics:
            metrics.follow("saga_consumer_up", lambda: float(broker.is_ready()))
        _announce(observe, worker)
        async with asyncio.TaskGroup() as group:
            # It also raises the ConfigurationError of a broker that refuses us.
            greeting = systemd.ready_after(broker.wait_ready, "recovering dead letters")
            greeted = group.create_task(greeting, name="broker greeting")
            group.create_task(_purging(store, settings, stopping, observe), name="purging")
            await worker.run(stopping)
            greeted.cancel()


async def _purging(
    store: DatabaseStore, settings: DlqSettings, stopping: asyncio.Event, observe: Observe
) -> None:
    """Delete what was closed long ago, over a connection of its own."""
    async with store.aside() as other:
        await repeat_rounds(
            lambda: letters_purge(other, settings.retention_failed), stopping, observe
        )


def _broker(settings: DlqSettings, observe: Observe) -> Broker:
    names = Names(settings.namespace)

    def report(up: bool, detail: str) -> None:
        observe(ConnectionChanged(peer="broker", up=up, detail=detail))

    return broker_for(
        settings.amqp_url.get_secret_value(),
        names=names,
        topology=installation(names, ()),
        mode=TopologyMode(settings.topology),
        app_id=NAME,
        on_change=report,
    )


def _announce(observe: Observe, worker: DlqWorker) -> None:
    details = {"sinks": ", ".join(sink.name for sink in worker.sinks)}
    observe(Noticed(level="info", message="dlq worker started", details=details))
