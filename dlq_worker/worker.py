"""The worker as a whole: intake, recovery, alerts and gauges, side by side on one event loop."""

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import timedelta
from typing import Any, Final

from chassis.facts import GaugeMeasured, Observe
from chassis.lifecycle import supervise
from chassis.pacing import Pace, Reachability
from chassis.settings import DlqSettings
from dlq_worker.alerts import begin_rounds, count_interventions
from dlq_worker.deliveries import Courier
from dlq_worker.intake import Intake
from dlq_worker.letters import open_by_reason
from dlq_worker.planning import ReplayPolicy
from dlq_worker.recovery import Recovery
from dlq_worker.sinks.configured import sinks_for
from dlq_worker.sinks.port import Sink
from messaging.port import Broker
from messaging.topology import Names
from orchestrator.store.database import DatabaseStore

_GAUGES_EVERY: Final = timedelta(seconds=5)


class DlqWorker:
    """Runs until it is asked to stop. Broker and store are opened and closed by the caller."""

    def __init__(
        self,
        broker: Broker,
        store: DatabaseStore,
        settings: DlqSettings,
        observe: Observe,
        *,
        sinks: Sequence[Sink] | None = None,
    ) -> None:
        """`sinks` are those of the settings unless given. Raises ConfigurationError."""
        self.sinks = tuple(sinks_for(settings, observe) if sinks is None else sinks)
        names = Names(settings.namespace)
        self._store = store
        self._settings = settings
        self._observe = observe
        self._look = asyncio.Event()  # a letter has arrived
        self._ring = asyncio.Event()  # an alert was raised or closed
        self._go = {sink.name: asyncio.Event() for sink in self.sinks}  # a round has begun
        self.database = Reachability(observe)
        self._intake = Intake(
            broker,
            store,
            names,
            prefetch=settings.prefetch,
            observe=observe,
            on_kept=self._look.set,
        )
        self._recovery = Recovery(
            broker,
            store,
            names,
            policy=policy_of(settings),
            observe=observe,
            on_alert=self._ring.set,
        )

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set; what is under way is finished."""
        pace = Pace(stopping, self.database)
        interval = self._settings.poll_interval
        services: dict[str, Coroutine[Any, Any, None]] = {
            "intake": self._intake.run(pace),
            "recovery": pace.repeat(self._recovery.look, interval=interval, wake=self._look),
            "rounds": pace.repeat(self._begin_rounds, interval=interval, wake=self._ring),
            "gauges": pace.repeat(self._measure, interval=_GAUGES_EVERY),
        }
        for sink in self.sinks:
            courier = self._courier(sink)
            services[sink.name] = courier.run(pace, interval, self._go[sink.name])
        await supervise(stopping, **services)

    def _courier(self, sink: Sink) -> Courier:
        console = self._settings.console_url
        return Courier(
            sink,
            self._store,
            observe=self._observe,
            timeout=self._settings.alert_timeout,
            console_url=console.get_secret_value() if console else None,
        )

    async def _begin_rounds(self) -> bool:
        repeat = self._settings.alert_repeat_every
        has_more = await begin_rounds(self._store, self._go.keys(), repeat)
        for go in self._go.values():
            go.set()
        return has_more

    async def _measure(self) -> bool:
        reasons = await open_by_reason(self._store)
        by_reason: dict[tuple[str, ...], float] = {
            (reason,): float(count) for reason, count in reasons.items()
        }
        self._observe(GaugeMeasured(name="saga_dead_letters_open", values=by_reason))
        waiting = float(await count_interventions(self._store))
        self._observe(GaugeMeasured(name="saga_manual_interventions_open", values={(): waiting}))
        return False


def policy_of(settings: DlqSettings) -> ReplayPolicy:
    """How exhausted compensations are replayed."""
    return ReplayPolicy(
        limit=settings.replay_limit, base=settings.replay_base, maximum=settings.replay_maximum
    )
