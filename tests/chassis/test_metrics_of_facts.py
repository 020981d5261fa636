"""Facts in, scraped numbers out."""

from datetime import timedelta

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from chassis.facts import (
    BatchCommitted,
    BatchPublished,
    CommandHandled,
    ConnectionChanged,
    DeadLettered,
    Fact,
    GaugeMeasured,
    LateReply,
    MessageRejected,
    Noticed,
    SagaAdvanced,
    StepMoved,
)
from chassis.metric_table import METRICS, Kind
from chassis.metrics import MAX_VALUES, Metrics

# CONTRACT §6, word for word.
CONTRACT = """saga_started_total{saga_type} saga_completed_total{saga_type}
saga_failed_total{saga_type} saga_compensating_total{saga_type}
saga_duration_seconds{saga_type,outcome}
saga_step_duration_seconds{saga_type,step,direction} saga_stuck_count{saga_type,state}
saga_compensation_retries_total{saga_type,step} saga_dead_letters_total{reason}
saga_dead_letters_open{reason} saga_bad_input_total{reason} saga_late_replies_total{kind}
saga_batch_size saga_publish_seconds saga_manual_interventions_open"""


def scraped(metrics: Metrics) -> dict[str, float]:
    """Every sample by its name and labels, as Prometheus reads them."""
    text = generate_latest(metrics.registry).decode()
    return {
        sample.name + "".join(f" {key}={value}" for key, value in sorted(sample.labels.items())): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def after(*facts: Fact) -> dict[str, float]:
    metrics = Metrics()
    for fact in facts:
        metrics.observe(fact)
    return scraped(metrics)


def advanced(*moves: StepMoved, state: str = "pending", **more: object) -> SagaAdvanced:
    return SagaAdvanced(saga_id="s-1", saga_type="Order", state=state, moves=moves, **more)  # type: ignore[arg-type]  # per call


def saga_moved(before: str, after: str) -> StepMoved:
    return StepMoved(step=None, before=before, after=after)


def test_the_table_has_every_metric_of_the_contract_with_its_labels() -> None:
    table = {
        spec.name + (f"{{{','.join(spec.labels)}}}" if spec.labels else "") for spec in METRICS
    }
    assert set(CONTRACT.split()) <= table


def test_every_histogram_has_buckets_and_nothing_else_has() -> None:
    assert all(bool(spec.buckets) == (spec.kind is Kind.HISTOGRAM) for spec in METRICS)


def test_a_saga_is_counted_at_its_start_and_its_end() -> None:
    samples = after(
        advanced(is_new=True, state="started"),
        advanced(saga_moved("started", "pending")),
        advanced(
            saga_moved("pending", "completed"), state="completed", duration=timedelta(seconds=7)
        ),
    )
    assert samples["saga_started_total saga_type=Order"] == 1
    assert samples["saga_completed_total saga_type=Order"] == 1
    assert samples["saga_duration_seconds_sum outcome=completed saga_type=Order"] == 7
    assert "saga_failed_total saga_type=Order" not in samples


def test_a_saga_that_compensates_and_fails_at_once_counts_as_both() -> None:
    samples = after(
        advanced(
            saga_moved("pending", "compensating"),
            saga_moved("compensating", "failed"),
            state="failed",
        )
    )
    assert samples["saga_compensating_total saga_type=Order"] == 1
    assert samples["saga_failed_total saga_type=Order"] == 1


def test_steps_are_timed_in_both_directions() -> None:
    def finished(direction: str, seconds: int) -> StepMoved:
        return StepMoved(
            step="pay",
            before="executing",
            after="completed",
            direction=direction,
            duration=timedelta(seconds=seconds),
        )

    samples = after(advanced(finished("action", 2), finished("compensation", 3)))
    name = "saga_step_duration_seconds_sum direction={} saga_type=Order step=pay"
    assert samples[name.format("action")] == 2
    assert samples[name.format("compensation")] == 3


def test_retries_of_compensations_are_counted_by_step() -> None:
    samples = after(advanced(compensation_retries=("pay", "pay", "ship")))
    name = "saga_compensation_retries_total saga_type=Order step={}"
    assert (samples[name.format("pay")], samples[name.format("ship")]) == (2, 1)


def test_what_goes_wrong_is_counted_by_reason() -> None:
    samples = after(
        MessageRejected(queue="saga.replies", reason="bad_json", detail="x"),
        DeadLettered(reason="compensation"),
        LateReply(saga_id="s", saga_type="Order", step="pay", kind="duplicate"),
    )
    assert samples["saga_bad_input_total reason=bad_json"] == 1
    assert samples["saga_dead_letters_total reason=compensation"] == 1
    assert samples["saga_late_replies_total kind=duplicate"] == 1


def test_batches_are_measured_and_receipts_counted() -> None:
    samples = after(
        BatchCommitted(size=40),
        BatchPublished(size=10, took=timedelta(milliseconds=20), unroutable=2, unknown=1),
    )
    assert samples["saga_batch_size_sum"] == 40
    assert samples["saga_publish_seconds_sum"] == pytest.approx(0.02)
    receipts = ("confirmed", "unroutable", "unknown")
    assert [samples[f"saga_messages_published_total receipt={r}"] for r in receipts] == [7, 2, 1]


def test_a_participants_commands_are_counted_and_timed() -> None:
    samples = after(
        CommandHandled(
            participant="Payment",
            command="Charge",
            direction="action",
            outcome="completed",
            saga_id="s",
            step="pay",
            attempt=1,
            took=timedelta(seconds=0.5),
        )
    )
    labels = "command=Charge outcome=completed participant=Payment"
    assert samples[f"saga_commands_handled_total {labels}"] == 1
    assert samples["saga_command_seconds_sum command=Charge participant=Payment"] == 0.5


def test_a_measured_gauge_forgets_what_is_no_longer_so() -> None:
    metrics = Metrics()
    name = "saga_stuck_count saga_type={} state=pending"
    both = {("Order", "pending"): 3.0, ("Refund", "pending"): 1.0}
    metrics.observe(GaugeMeasured(name="saga_stuck_count", values=both))
    assert scraped(metrics)[name.format("Order")] == 3
    metrics.observe(GaugeMeasured(name="saga_stuck_count", values={("Refund", "pending"): 2.0}))
    assert name.format("Order") not in scraped(metrics)
    assert scraped(metrics)[name.format("Refund")] == 2


def test_a_gauge_that_is_not_measured_reports_nothing() -> None:
    assert not {"saga_database_up", "saga_consumer_up", "saga_manual_interventions_open"} & set(
        after()
    )
    measured = after(GaugeMeasured(name="saga_manual_interventions_open", values={(): 2.0}))
    assert measured["saga_manual_interventions_open"] == 2


def test_connections_are_up_or_down() -> None:
    samples = after(
        ConnectionChanged(peer="database", up=True), ConnectionChanged(peer="broker", up=False)
    )
    assert (samples["saga_database_up"], samples["saga_consumer_up"]) == (1, 0)


def test_a_followed_gauge_is_read_at_every_scrape() -> None:
    metrics = Metrics()
    is_consuming = True
    metrics.follow("saga_consumer_up", lambda: float(is_consuming))
    assert scraped(metrics)["saga_consumer_up"] == 1
    is_consuming = False
    assert scraped(metrics)["saga_consumer_up"] == 0


def test_expected_saga_types_begin_at_zero() -> None:
    metrics = Metrics()
    metrics.expect(["Order"])
    assert scraped(metrics)["saga_failed_total saga_type=Order"] == 0


def test_a_flood_of_label_values_makes_no_flood_of_series() -> None:
    rejected = (MessageRejected(queue="q", reason=f"r{i}", detail="") for i in range(1000))
    samples = after(*rejected)
    counted = {name: value for name, value in samples.items() if "saga_bad_input" in name}
    assert len(counted) == MAX_VALUES + 1
    assert counted["saga_bad_input_total reason=other"] == 1000 - MAX_VALUES


def test_no_counter_has_a_twin_with_its_time_of_birth() -> None:
    assert not [name for name in after(BatchCommitted(size=1)) if "_created" in name]


def test_build_and_process_are_shown() -> None:
    samples = after(Noticed(level="info", message="nothing to count"))
    assert any(name.startswith("saga_build_info version=") for name in samples)
    assert samples["process_cpu_seconds_total"] > 0


def test_two_programs_in_one_process_have_metrics_of_their_own() -> None:
    one, other = Metrics(), Metrics()
    one.observe(BatchCommitted(size=5))
    assert (scraped(one)["saga_batch_size_sum"], scraped(other)["saga_batch_size_sum"]) == (5, 0)
