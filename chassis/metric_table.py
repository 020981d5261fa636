"""Every metric, as data: code, reference page and alert rules agree because of this table."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec:
    name: str  # as it is scraped
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()  # histograms only; base units


# From a tenth of a second to a month: sagas wait for approvals and shipments.
_LONG: Final = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400, 604800, 2592000)
_STEP: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 86400)
_SHORT: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_HANDLING: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_SIZES: Final = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000)

METRICS: Final = (
    MetricSpec(
        name="saga_started_total",
        kind=Kind.COUNTER,
        help="Sagas started.",
        labels=("saga_type",),
    ),
    MetricSpec(
        name="saga_completed_total",
        kind=Kind.COUNTER,
        help="Sagas of which every step completed.",
        labels=("saga_type",),
    ),
    MetricSpec(
        name="saga_failed_total",
        kind=Kind.COUNTER,
        help="Sagas that failed, with every compensation finished.",
        labels=("saga_type",),
    ),
    MetricSpec(
        name="saga_compensating_total",
        kind=Kind.COUNTER,
        help="Sagas that began to compensate.",
        labels=("saga_type",),
    ),
    MetricSpec(
        name="saga_duration_seconds",
        kind=Kind.HISTOGRAM,
        help="From a saga's start to its end, by stored times. Outcome: completed or failed.",
        labels=("saga_type", "outcome"),
        buckets=_LONG,
    ),
    MetricSpec(
        name="saga_step_duration_seconds",
        kind=Kind.HISTOGRAM,
        help="From the first command of a step to its reply, by stored times.",
        labels=("saga_type", "step", "direction"),
        buckets=_STEP,
    ),
    MetricSpec(
        name="saga_stuck_count",
        kind=Kind.GAUGE,
        help="Unfinished sagas that have not moved for SAGA_STUCK_AFTER. In the database: every"
        " orchestrator reports the same number.",
        labels=("saga_type", "state"),
    ),
    MetricSpec(
        name="saga_locks_waiting",
        kind=Kind.GAUGE,
        help="Sagas that wait in line for locks. In the database: every orchestrator with"
        " definitions that have locks reports the same number.",
        labels=("saga_type",),
    ),
    MetricSpec(
        name="saga_lock_held_seconds",
        kind=Kind.GAUGE,
        help="For how long the saga that holds locks longest has done so by now. As above.",
        labels=("saga_type",),
    ),
    MetricSpec(
        name="saga_lock_failures_total",
        kind=Kind.COUNTER,
        help="Sagas that failed for want of a lock. Reason: refused or timed_out.",
        labels=("saga_type", "reason"),
    ),
    MetricSpec(
        name="saga_compensation_retries_total",
        kind=Kind.COUNTER,
        help="Compensations that failed and are tried again.",
        labels=("saga_type", "step"),
    ),
    MetricSpec(
        name="saga_dead_letters_total",
        kind=Kind.COUNTER,
        help="Messages given up.",
        labels=("reason",),
    ),
    MetricSpec(
        name="saga_dead_letters_open",
        kind=Kind.GAUGE,
        help="Dead letters that nobody has resolved or discarded. In the database: every dlq"
        " worker reports the same number.",
        labels=("reason",),
    ),
    MetricSpec(
        name="saga_bad_input_total",
        kind=Kind.COUNTER,
        help="Messages that broke the contract.",
        labels=("reason",),
    ),
    MetricSpec(
        name="saga_late_replies_total",
        kind=Kind.COUNTER,
        help="Replies that changed nothing or came too late.",
        labels=("kind",),
    ),
    MetricSpec(
        name="saga_in_doubt_total",
        kind=Kind.COUNTER,
        help="Sagas that the database may be behind of, after a restore or a failover.",
        labels=("saga_type",),
    ),
    MetricSpec(
        name="saga_choreographies_open",
        kind=Kind.GAUGE,
        help="Choreographed sagas that no event has ended. In the database: every recorder"
        " reports the same number.",
        labels=("saga_type",),
    ),
    MetricSpec(
        name="saga_choreographies_quiet",
        kind=Kind.GAUGE,
        help="Those of them that have had no event for as long as their start declared.",
        labels=("saga_type",),
    ),
    MetricSpec(
        name="saga_events_recorded_total",
        kind=Kind.COUNTER,
        help="Events in the recorder's log.",
        labels=("saga_type", "event"),
    ),
    MetricSpec(
        name="saga_events_handled_total",
        kind=Kind.COUNTER,
        help="Events that a choreographed service has dealt with. Outcome: handled, repeated"
        " (answered from the log), refused (it came after what undoes it) or failed (the"
        " business said no).",
        labels=("service", "event", "outcome"),
    ),
    MetricSpec(
        name="saga_event_seconds",
        kind=Kind.HISTOGRAM,
        help="From an event's arrival until all that it led to is published.",
        labels=("service", "event"),
        buckets=_HANDLING,
    ),
    MetricSpec(
        name="saga_batch_size",
        kind=Kind.HISTOGRAM,
        help="Sagas decided, or commands handled, in one transaction.",
        buckets=_SIZES,
    ),
    MetricSpec(
        name="saga_publish_seconds",
        kind=Kind.HISTOGRAM,
        help="From publishing a batch until its last confirm.",
        buckets=_SHORT,
    ),
    MetricSpec(
        name="saga_messages_published_total",
        kind=Kind.COUNTER,
        help="Messages published. Receipt: confirmed, unroutable or unknown (sent again).",
        labels=("receipt",),
    ),
    MetricSpec(
        name="saga_manual_interventions_open",
        kind=Kind.GAUGE,
        help="Steps that wait for a person. In the database: every dlq worker reports the same.",
    ),
    MetricSpec(
        name="saga_purged_total",
        kind=Kind.COUNTER,
        help="Rows deleted because they ended long ago. Kind: completed and failed (sagas),"
        " dead_letter or alert.",
        labels=("kind",),
    ),
    MetricSpec(
        name="saga_commands_handled_total",
        kind=Kind.COUNTER,
        help="Commands answered. Outcome: completed, failed, replayed, refused or later.",
        labels=("participant", "command", "outcome"),
    ),
    MetricSpec(
        name="saga_command_seconds",
        kind=Kind.HISTOGRAM,
        help="Time a participant took to handle a command.",
        labels=("participant", "command"),
        buckets=_HANDLING,
    ),
    MetricSpec(
        name="saga_consumer_up",
        kind=Kind.GAUGE,
        help="1 while the broker is connected and every consumer is really consuming, else 0.",
    ),
    MetricSpec(
        name="saga_database_up",
        kind=Kind.GAUGE,
        help="1 while the database can be reached, else 0.",
    ),
    MetricSpec(
        name="saga_build_info",
        kind=Kind.GAUGE,
        help="Always 1; the release is in the label.",
        labels=("version",),
    ),
)
