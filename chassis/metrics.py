"""Facts become Prometheus metrics. No ids as labels."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Final, TypeVar, assert_never, cast

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from chassis.facts import (
    IN_DOUBT,
    LOCK_FAILURES,
    BatchCommitted,
    BatchPublished,
    CommandHandled,
    ConnectionChanged,
    DeadLettered,
    EventHandled,
    EventRecorded,
    Fact,
    GaugeMeasured,
    LateReply,
    MessageRejected,
    Noticed,
    Purged,
    SagaAdvanced,
    StepMoved,
)
from chassis.metric_table import METRICS, Kind, MetricSpec
from chassis.version import version

MAX_VALUES: Final = 200  # of one label; what comes later counts as `other`
OTHER: Final = "other"

_BY_SAGA_STATE: Final = {
    "completed": "saga_completed_total",
    "failed": "saga_failed_total",
    "compensating": "saga_compensating_total",
}
_BY_PEER: Final = {"broker": "saga_consumer_up", "database": "saga_database_up"}


M = TypeVar("M", Counter, Histogram)


class Metrics:
    """All metrics of one program. `observe` is a listener of facts; any thread may scrape.

    A gauge without labels exists from its first value on, so that no program reports a zero
    for what it does not measure.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        # Else every counter has a twin with its time of birth.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # not annotated upstream
        self.registry = registry if registry is not None else CollectorRegistry()
        self._gauge_specs = {spec.name: spec for spec in METRICS if spec.kind is Kind.GAUGE}
        self._counters = {
            spec.name: Counter(spec.name, spec.help, spec.labels, registry=self.registry)
            for spec in METRICS
            if spec.kind is Kind.COUNTER
        }
        self._histograms = {
            spec.name: _histogram(spec, self.registry)
            for spec in METRICS
            if spec.kind is Kind.HISTOGRAM
        }
        self._gauges: dict[str, Gauge] = {}
        self._measured: dict[str, set[tuple[str, ...]]] = defaultdict(set)
        self._label_values: dict[str, set[str]] = defaultdict(set)
        self._children: dict[tuple[str, tuple[str, ...]], Counter | Histogram] = {}
        for name, spec in self._gauge_specs.items():
            if spec.labels:
                self._gauge(name)
        ProcessCollector(registry=self.registry)
        self._replace("saga_build_info", {(version(),): 1.0})

    def expect(self, saga_types: Iterable[str]) -> None:
        """Begin the saga counters of these types at zero, or `rate()` misses each first one."""
        for saga_type in saga_types:
            for name in ("saga_started_total", "saga_in_doubt_total", *_BY_SAGA_STATE.values()):
                self._counters[name].labels(*self._bounded(name, (saga_type,)))

    def follow(self, gauge: str, read: Callable[[], float]) -> None:
        """Read a gauge without labels afresh at every scrape, such as `saga_consumer_up`."""
        self._gauge(gauge).set_function(read)

    def observe(self, fact: Fact) -> None:  # noqa: C901, PLR0912  # one case for each kind
        """Count `fact`."""
        match fact:
            case SagaAdvanced():
                self._saga_advanced(fact)
            case LateReply():
                self._count("saga_late_replies_total", fact.kind)
            case MessageRejected():
                self._count("saga_bad_input_total", fact.reason)
            case DeadLettered():
                self._count("saga_dead_letters_total", fact.reason)
            case BatchCommitted():
                self._histograms["saga_batch_size"].observe(fact.size)
            case BatchPublished():
                self._batch_published(fact)
            case CommandHandled():
                self._command_handled(fact)
            case EventHandled():
                self._event_handled(fact)
            case EventRecorded():
                self._count("saga_events_recorded_total", fact.saga_type, fact.event)
            case Purged():
                self._purged(fact)
            case ConnectionChanged():
                self._replace(_BY_PEER[fact.peer], {(): float(fact.up)})
            case GaugeMeasured():
                self._replace(fact.name, fact.values)
            case Noticed():
                pass
            case _:
                assert_never(fact)

    def _saga_advanced(self, fact: SagaAdvanced) -> None:
        if fact.is_new:
            self._count("saga_started_total", fact.saga_type)
        for move in fact.moves:
            self._moved(fact.saga_type, move)
        if fact.duration is not None:
            self._time("saga_duration_seconds", fact.duration, fact.saga_type, fact.state)
        for step in fact.compensation_retries:
            self._count("saga_compensation_retries_total", fact.saga_type, step)

    def _moved(self, saga_type: str, move: StepMoved) -> None:
        if move.step is None:
            counter = _BY_SAGA_STATE.get(move.after)
            if counter is not None and move.before != move.after:
                self._count(counter, saga_type)
            if move.note == IN_DOUBT:
                self._count("saga_in_doubt_total", saga_type)
            if move.note in LOCK_FAILURES:
                self._count("saga_lock_failures_total", saga_type, LOCK_FAILURES[move.note])
        elif move.duration is not None:
            labels = (saga_type, move.step, move.direction or "action")
            self._time("saga_step_duration_seconds", move.duration, *labels)

    def _batch_published(self, fact: BatchPublished) -> None:
        self._histograms["saga_publish_seconds"].observe(fact.took.total_seconds())
        receipts = {
            "confirmed": fact.size - fact.unroutable - fact.unknown,
            "unroutable": fact.unroutable,
            "unknown": fact.unknown,
        }
        for receipt, count in receipts.items():
            self._counters["saga_messages_published_total"].labels(receipt).inc(max(count, 0))

    def _command_handled(self, fact: CommandHandled) -> None:
        labels = (fact.participant, fact.command)
        self._count("saga_commands_handled_total", *labels, fact.outcome)
        self._time("saga_command_seconds", fact.took, *labels)

    def _event_handled(self, fact: EventHandled) -> None:
        labels = (fact.service, fact.event)
        self._count("saga_events_handled_total", *labels, fact.outcome)
        self._time("saga_event_seconds", fact.took, *labels)

    def _purged(self, fact: Purged) -> None:
        for kind, count in fact.deleted.items():
            self._counters["saga_purged_total"].labels(kind).inc(count)

    def _count(self, name: str, *labels: str) -> None:
        self._child(self._counters[name], name, labels).inc()

    def _time(self, name: str, duration: timedelta, *labels: str) -> None:
        histogram = self._child(self._histograms[name], name, labels)
        histogram.observe(duration.total_seconds())

    def _child(self, metric: M, name: str, labels: tuple[str, ...]) -> M:
        """The series with these labels, found once."""
        child = self._children.get((name, labels))
        if child is None:
            bounded = self._bounded(name, labels)
            child = metric.labels(*bounded)
            if bounded == labels:
                self._children[name, labels] = child
        return cast("M", child)

    def _replace(self, name: str, values: Mapping[tuple[str, ...], float]) -> None:
        """New values first, then the removals: a scrape in between sees no gap."""
        gauge = self._gauge(name)
        for labels, value in values.items():
            (gauge.labels(*labels) if labels else gauge).set(value)
        for labels in self._measured[name] - values.keys():
            if labels:
                gauge.remove(*labels)
            else:
                gauge.set(0)
        self._measured[name] = set(values)

    def _gauge(self, name: str) -> Gauge:
        if name not in self._gauges:
            spec = self._gauge_specs[name]
            self._gauges[name] = Gauge(name, spec.help, spec.labels, registry=self.registry)
        return self._gauges[name]

    def _bounded(self, name: str, labels: tuple[str, ...]) -> tuple[str, ...]:
        """`labels`, with `other` for what would make a series without end."""
        return tuple(self._bounded_value(f"{name} {i}", text) for i, text in enumerate(labels))

    def _bounded_value(self, key: str, text: str) -> str:
        known = self._label_values[key]
        if text not in known:
            if len(known) >= MAX_VALUES:
                return OTHER
            known.add(text)
        return text


def _histogram(spec: MetricSpec, registry: CollectorRegistry) -> Histogram:
    return Histogram(spec.name, spec.help, spec.labels, registry=registry, buckets=spec.buckets)
