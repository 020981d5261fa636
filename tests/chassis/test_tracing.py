"""One trace through all services, with and without an SDK."""

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from chassis.tracing import current_trace_id, current_traceparent, processing, publishing, span

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Where an SDK of the test's own puts finished spans."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return exporter


def test_without_a_trace_there_is_no_traceparent() -> None:
    assert current_traceparent() is None
    assert current_trace_id() is None
    with span(SpanKind.CONSUMER, "process", {}):
        assert current_traceparent() is None


def test_without_an_sdk_the_traceparent_is_passed_on() -> None:
    with processing("saga.replies", "saga.replies", "SagaStepCompleted", traceparent=TRACEPARENT):
        assert current_traceparent() == TRACEPARENT
        with publishing("saga.commands", "Payment.Charge"):
            assert current_traceparent() == TRACEPARENT
            assert current_trace_id() == TRACE_ID
    assert current_traceparent() is None


@pytest.mark.parametrize("traceparent", ["", "nonsense", "00-" + "0" * 32 + "-b7ad6b7169203331-01"])
def test_a_bad_traceparent_is_ignored(traceparent: str) -> None:
    with processing("q", "e", "k", traceparent=traceparent):
        assert current_traceparent() is None


def test_with_an_sdk_spans_continue_the_trace_under_current_names(
    exporter: InMemorySpanExporter,
) -> None:
    with (
        processing("saga.replies", "saga.replies", "SagaStepCompleted", traceparent=TRACEPARENT),
        publishing("saga.commands", "Payment.Charge", saga_id="s-1"),
    ):
        sent = current_traceparent()
    published, processed = exporter.get_finished_spans()
    assert sent is not None
    assert sent.split("-")[1] == TRACE_ID
    assert published.parent is not None
    assert published.parent.span_id == processed.context.span_id
    assert (published.kind, processed.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert published.name == "publish saga.commands:Payment.Charge"
    assert dict(published.attributes or {}) == {
        "messaging.system": "rabbitmq",
        "messaging.operation.type": "send",
        "messaging.operation.name": "publish",
        "messaging.destination.name": "saga.commands:Payment.Charge",
        "messaging.rabbitmq.destination.routing_key": "Payment.Charge",
        "messaging.message.conversation_id": "s-1",
    }
    assert processed.name == "process saga.replies:SagaStepCompleted"


def test_an_error_marks_its_span(exporter: InMemorySpanExporter) -> None:
    with pytest.raises(ZeroDivisionError), publishing("e", "k"):
        raise ZeroDivisionError
    (failed,) = exporter.get_finished_spans()
    assert failed.status.status_code is StatusCode.ERROR
