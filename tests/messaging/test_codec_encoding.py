"""Messages on their way out, exactly as CONTRACT §2 has them."""

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from messaging import codec
from messaging.contract import (
    CancelRequest,
    Command,
    Direction,
    Effect,
    Reply,
    ReplyType,
    StartRequest,
    command_id_for,
)
from messaging.errors import ProtocolError
from messaging.port import Outgoing
from messaging.topology import Names

NAMES = Names("n")
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
COMMAND = Command(
    saga_id="s-1",
    saga_type="Order",
    step_name="pay",
    direction=Direction.ACTION,
    destination="PaymentService.Pay",
    command_id="c-1",
    attempt=2,
    data={"order_id": 42},
)


def body_of(message: Outgoing) -> Any:
    return json.loads(message.body)


def address_of(message: Outgoing) -> tuple[str, str, str, str | None]:
    return message.exchange, message.routing_key, message.type, message.correlation_id


def test_a_command_lays_its_data_flat() -> None:
    message = codec.encode_command(NAMES, COMMAND)
    assert address_of(message) == ("n.commands", "PaymentService.Pay", "PaymentService.Pay", "s-1")
    assert body_of(message) == {"saga_id": "s-1", "step_name": "pay", "order_id": 42}
    assert message.headers == {
        "saga-type": "Order",
        "saga-direction": "action",
        "saga-command-id": "c-1",
        "saga-attempt": 2,
    }
    assert message.mandatory


def test_data_cannot_replace_what_a_command_is_about() -> None:
    data = {"saga_id": "x", "step_name": "x", "original_result": "x", "a": 1}
    command = Command(
        saga_id="s-1",
        saga_type="Order",
        step_name="pay",
        direction=Direction.COMPENSATION,
        destination="PaymentService.Refund",
        command_id="c-1",
        attempt=1,
        data=data,
    )
    body = codec.command_body(command)
    assert body == {"saga_id": "s-1", "step_name": "pay", "a": 1, "original_result": None}


def test_a_stored_body_leaves_as_it_is_under_the_computed_command_id() -> None:
    east = timezone(timedelta(hours=2))
    message = codec.command_message(
        NAMES,
        saga_id="s-1",
        saga_type="Order",
        step_name="pay",
        direction=Direction.COMPENSATION,
        destination="PaymentService.Refund",
        attempt=3,
        deadline=datetime(2030, 1, 2, 5, 4, 5, tzinfo=east),
        body=b"exactly this",
        traceparent=TRACE,
    )
    assert message.body == b"exactly this"
    assert message.headers == {
        "saga-type": "Order",
        "saga-direction": "compensation",
        "saga-command-id": command_id_for("s-1", "pay", Direction.COMPENSATION),
        "saga-attempt": 3,
        "saga-deadline": "2030-01-02T03:04:05+00:00",
        "traceparent": TRACE,
    }
    assert type(message.headers["saga-direction"]) is str


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({"type": "SagaStepCompleted", "result": {"a": 1}}, {"result": {"a": 1}}),
        ({"type": "SagaStepCompleted"}, {"result": {}}),
        ({"type": "SagaStepFailed", "error": "no"}, {"error": "no"}),
        (
            {
                "type": "SagaStepFailed",
                "error": "no",
                "retryable": False,
                "effect": Effect.UNKNOWN,
            },
            {"error": "no", "retryable": False, "effect": "unknown"},
        ),
        ({"type": "SagaCompensationCompleted"}, {}),
        ({"type": "SagaCompensationCompleted", "result": {"a": 1}}, {"result": {"a": 1}}),
        (
            {"type": "SagaCompensationFailed", "error": "no", "retryable": True},
            {"error": "no", "retryable": True},
        ),
    ],
)
def test_a_reply_has_the_fields_of_its_type(
    fields: Mapping[str, Any], body: Mapping[str, Any]
) -> None:
    kind = ReplyType(fields["type"])
    message = codec.encode_reply(
        NAMES, Reply(saga_id="s-1", step_name="pay", **{**fields, "type": kind})
    )
    assert address_of(message) == ("n.replies", kind.value, kind.value, "s-1")
    assert body_of(message) == {"saga_id": "s-1", "step_name": "pay", **body}
    assert message.headers == {}


def test_a_reply_echoes_command_id_attempt_and_trace() -> None:
    reply = Reply(
        type=ReplyType.COMPENSATION_COMPLETED,
        saga_id="s-1",
        step_name="pay",
        command_id="c-1",
        attempt=4,
        traceparent=TRACE,
    )
    headers = codec.encode_reply(NAMES, reply).headers
    assert headers == {"saga-command-id": "c-1", "saga-attempt": 4, "traceparent": TRACE}


def test_an_error_of_any_text_can_be_sent() -> None:
    error = "\ud800\0" + "€" * 5000
    reply = Reply(type=ReplyType.STEP_FAILED, saga_id="s", step_name="p", error=error)
    sent = body_of(codec.encode_reply(NAMES, reply))["error"]
    assert sent.startswith("\\ud800\\x00€")
    assert len(sent.encode()) <= 4096


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ({"v": "x" * 65_536}, "result_too_large"),
        ({"v": "\0"}, "nul_char"),
        ({"v": float("nan")}, "number_range"),
        ({"v": datetime(2030, 1, 1, tzinfo=UTC)}, "not_json"),
    ],
)
def test_a_result_that_would_be_rejected_is_not_sent(result: dict[str, Any], reason: str) -> None:
    reply = Reply(type=ReplyType.STEP_COMPLETED, saga_id="s", step_name="p", result=result)
    with pytest.raises(ProtocolError) as caught:
        codec.encode_reply(NAMES, reply)
    assert caught.value.reason == reason


def test_a_start_and_a_cancel() -> None:
    start = codec.encode_start(
        NAMES, StartRequest(saga_type="Order", saga_id="s-1", data={"a": 1}, traceparent=TRACE)
    )
    assert address_of(start) == ("n.starts", "StartSaga", "StartSaga", "s-1")
    assert body_of(start) == {"saga_type": "Order", "saga_id": "s-1", "data": {"a": 1}}
    assert start.headers == {"traceparent": TRACE}
    cancel = codec.encode_cancel(NAMES, CancelRequest(saga_id="s-1", reason="called"))
    assert address_of(cancel) == ("n.starts", "CancelSaga", "CancelSaga", "s-1")
    assert body_of(cancel) == {"saga_id": "s-1", "reason": "called"}


def test_a_start_without_an_id_leaves_it_to_the_orchestrator() -> None:
    start = codec.encode_start(NAMES, StartRequest(saga_type="Order"))
    assert body_of(start) == {"saga_type": "Order", "data": {}}
    assert start.correlation_id is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"saga_id": "x"}, "reserved_key"),
        ({"v": "x" * (1024 * 1024)}, "data_too_large"),
        ({"v": "x" * (256 * 1024)}, "too_large"),
        ({"v": "\ud800"}, "lone_surrogate"),
    ],
)
def test_a_start_that_would_be_rejected_is_not_sent(data: dict[str, Any], reason: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        codec.encode_start(NAMES, StartRequest(saga_type="Order", data=data))
    assert caught.value.reason == reason


@pytest.mark.parametrize("number", range(64))
def test_a_command_id_is_the_uuid_that_the_standard_computes(number: int) -> None:
    name = f"order-{number}|pay|action"
    expected = uuid.uuid5(uuid.UUID("5a9ac0de-0000-5000-8000-c0de5a9a0001"), name)
    assert command_id_for(f"order-{number}", "pay", Direction.ACTION) == str(expected)
