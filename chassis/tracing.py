"""Spans and trace context by the OpenTelemetry API; without its SDK, context is passed on."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from chassis.version import version

Attributes = Mapping[str, str | int]

_PROPAGATOR: Final = TraceContextTextMapPropagator()
_HEADER: Final = "traceparent"


def current_traceparent() -> str | None:
    """The `traceparent` header for a message that is sent now, if a trace is active."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get(_HEADER)


def current_trace_id() -> str | None:
    """The active trace as 32 hexadecimal digits, for logs."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None


@contextmanager
def span(
    kind: SpanKind, name: str, attributes: Attributes, traceparent: str | None = None
) -> Iterator[Span]:
    """A span around the block, a child of `traceparent` if that is valid, else of the active one.

    Without an SDK nothing is recorded, and inside the block `current_traceparent` gives
    `traceparent` back, so that the services around us keep one trace.
    """
    parent = _PROPAGATOR.extract({_HEADER: traceparent}) if traceparent else None
    tracer = trace.get_tracer("countermand", version())
    with tracer.start_as_current_span(
        name, context=parent, kind=kind, attributes=dict(attributes)
    ) as current:
        yield current


@contextmanager
def publishing(exchange: str, routing_key: str, *, saga_id: str | None = None) -> Iterator[Span]:
    """A producer span, named after the semantic conventions for RabbitMQ."""
    destination = _destination(exchange, routing_key)
    attributes = {
        **_messaging("send", "publish", destination, routing_key),
        **_conversation(saga_id),
    }
    with span(SpanKind.PRODUCER, f"publish {destination}", attributes) as current:
        yield current


@contextmanager
def processing(
    queue: str,
    exchange: str,
    routing_key: str,
    *,
    saga_id: str | None = None,
    traceparent: str | None = None,
) -> Iterator[Span]:
    """A consumer span, named after the semantic conventions for RabbitMQ."""
    if traceparent is None and not _is_recorded():
        yield trace.INVALID_SPAN  # a span for every message costs as much as to read it
        return
    destination = _destination(exchange, routing_key, queue)
    attributes = {
        **_messaging("process", "process", destination, routing_key),
        **_conversation(saga_id),
    }
    with span(SpanKind.CONSUMER, f"process {destination}", attributes, traceparent) as current:
        yield current


def _is_recorded() -> bool:
    """Whether an SDK has been set up."""
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _destination(*parts: str) -> str:
    """The parts joined by colons, without empty and repeated ones."""
    return ":".join(dict.fromkeys(filter(None, parts))) or "amq.default"


def _messaging(kind: str, operation: str, destination: str, routing_key: str) -> Attributes:
    return {
        "messaging.system": "rabbitmq",
        "messaging.operation.type": kind,
        "messaging.operation.name": operation,
        "messaging.destination.name": destination,
        "messaging.rabbitmq.destination.routing_key": routing_key,
    }


def _conversation(saga_id: str | None) -> Attributes:
    return {} if saga_id is None else {"messaging.message.conversation_id": saga_id}
