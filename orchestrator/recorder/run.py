"""`saga choreography run`: the recorder as a program: broker, store, health."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, Final

from chassis import systemd
from chassis.facts import ConnectionChanged, Noticed, Observe
from chassis.health import Health
from chassis.launch import launch
from chassis.lifecycle import supervise
from chassis.logs import log_fact
from chassis.metrics import Metrics
from chassis.observers import fan_out
from chassis.pacing import Pace, Reachability
from chassis.settings import RecorderSettings
from messaging.brokers import broker_for
from messaging.port import Broker
from messaging.topology import Names, TopologyMode, installation, joined, recording
from orchestrator.recorder.forgetting import records_purge
from orchestrator.recorder.intake import EventIntake
from orchestrator.recorder.watching import Watch
from orchestrator.store.database import DatabaseStore
from orchestrator.store.rounds import repeat_rounds
from orchestrator.store.stores import store_for

NAME: Final = "recorder"
_PREFETCH: Final = 250  # events held unacknowledged at a time
_GAUGES_EVERY: Final = timedelta(seconds=5)


def run(**flags: Any) -> int:
    """`saga choreography run`: the exit code. `flags` are settings from the command line."""
    return launch(_main, RecorderSettings, name=NAME, **flags)


async def _main(settings: RecorderSettings, stopping: asyncio.Event) -> None:
    metrics = Metrics()
    await serve(settings, stopping, fan_out(log_fact, metrics.observe), metrics)


async def serve(
    settings: RecorderSettings,
    stopping: asyncio.Event,
    observe: Observe,
    metrics: Metrics | None = None,
) -> None:
    """Connect, answer probes and record until `stopping` is set.

    Raises ConfigurationError for what only the installation can repair.
    """
    health = Health(NAME, metrics.registry if metrics else None)
    async with AsyncExitStack() as stack:
        store = store_for(settings.required_database_url())
        stack.push_async_callback(store.close)
        broker = _broker(settings, observe)
        pace = Pace(stopping, Reachability(observe))
        health.register("broker", broker.obstacle)
        health.register("database", lambda: pace.database.problem)
        health.register("drain", lambda: "stopping" if stopping.is_set() else None)
        await stack.enter_async_context(health.serving(settings.http_host, settings.http_port))
        if not await pace.until_done(store.check):
            return
        await stack.enter_async_context(broker)
        if metrics:
            metrics.follow("saga_consumer_up", lambda: float(broker.is_ready()))
        observe(Noticed(level="info", message="recorder started"))
        async with asyncio.TaskGroup() as group:
            # It also raises the ConfigurationError of a broker that refuses us.
            greeting = systemd.ready_after(broker.wait_ready, "recording events")
            greeted = group.create_task(greeting, name="broker greeting")
            group.create_task(_purging(store, settings, stopping, observe), name="purging")
            await record(broker, store, settings, observe, pace)
            greeted.cancel()


async def record(
    broker: Broker,
    store: DatabaseStore,
    settings: RecorderSettings,
    observe: Observe,
    pace: Pace,
) -> None:
    """Record and watch over an open broker until the pace's `stopping` is set."""
    names = Names(settings.namespace)
    intake = EventIntake(
        broker,
        store,
        names,
        observe,
        prefetch=_PREFETCH,
        quiet_after=settings.quiet_after,
    )
    watch = Watch(broker, store, names, observe)
    interval = settings.poll_interval
    await supervise(
        pace.stopping,
        intake=intake.run(pace),
        quiet=pace.repeat(watch.tell_of_quiet_ones, interval=interval),
        replays=pace.repeat(watch.send_replays, interval=interval),
        gauges=pace.repeat(watch.measure, interval=_GAUGES_EVERY),
    )


async def _purging(
    store: DatabaseStore, settings: RecorderSettings, stopping: asyncio.Event, observe: Observe
) -> None:
    """Delete what ended long ago, over a connection of its own."""
    ages = {"completed": settings.retention_completed, "failed": settings.retention_failed}
    async with store.aside() as other:
        await repeat_rounds(lambda: records_purge(other, ages), stopping, observe)


def _broker(settings: RecorderSettings, observe: Observe) -> Broker:
    names = Names(settings.namespace)

    def report(up: bool, detail: str) -> None:
        observe(ConnectionChanged(peer="broker", up=up, detail=detail))

    return broker_for(
        settings.amqp_url.get_secret_value(),
        names=names,
        topology=joined(installation(names, ()), recording(names)),
        mode=TopologyMode(settings.topology),
        app_id=NAME,
        on_change=report,
    )
