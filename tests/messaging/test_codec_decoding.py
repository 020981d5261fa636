"""What arrives becomes a message or a ProtocolError. The corpus tries what is malformed."""

from dataclasses import replace
from datetime import UTC, datetime
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
from messaging.port import Delivery
from messaging.strict_json import dump

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def delivery(kind: str, body: dict[str, Any], **changes: Any) -> Delivery:
    arrived = Delivery(
        queue="q", exchange="x", routing_key=kind, body=dump(body), tag=1, session=1, type=kind
    )
    return replace(arrived, **changes)


def reply(kind: str = "SagaStepCompleted", /, **fields: Any) -> Reply:
    return codec.decode_reply(delivery(kind, {"saga_id": "s-1", "step_name": "pay", **fields}))


def command(headers: dict[str, Any], **fields: Any) -> Command:
    body = {"saga_id": "s-1", "step_name": "pay", **fields}
    return codec.decode_command(delivery("PaymentService.Pay", body, headers=headers))


def test_a_completed_step_brings_its_result() -> None:
    assert reply(result={"id": 7}) == Reply(
        type=ReplyType.STEP_COMPLETED, saga_id="s-1", step_name="pay", result={"id": 7}
    )


def test_a_failed_step_says_why_and_whether_to_try_again() -> None:
    failed = reply("SagaStepFailed", error="no", retryable=True, effect="unknown", result={"a": 1})
    assert failed == Reply(
        type=ReplyType.STEP_FAILED,
        saga_id="s-1",
        step_name="pay",
        error="no",
        retryable=True,
        effect=Effect.UNKNOWN,
    )


def test_what_a_failure_does_not_say_is_not_known() -> None:
    failed = reply("SagaCompensationFailed")
    assert (failed.error, failed.retryable, failed.effect) == (None, None, Effect.NONE)


def test_a_field_that_its_type_does_not_know_is_ignored_whatever_it_is() -> None:
    assert reply("SagaCompensationCompleted", error=5, retryable="x", effect=[]).error is None
    assert reply("SagaStepFailed", result=5).result is None


def test_an_error_is_cut_to_4_kib_between_two_characters() -> None:
    error = reply("SagaStepFailed", error="a" + "€" * 5000).error
    assert error is not None
    assert 4093 <= len(error.encode()) <= 4096
    assert error == "a" + "€" * (len(error) - 1)


def test_a_reply_echoes_what_it_answers() -> None:
    headers = {"saga-command-id": "c-1", "saga-attempt": 3, "traceparent": TRACE}
    answered = codec.decode_reply(
        delivery("SagaStepCompleted", {"saga_id": "s", "step_name": "p"}, headers=headers)
    )
    assert (answered.command_id, answered.attempt, answered.traceparent) == ("c-1", 3, TRACE)


def test_without_a_type_the_routing_key_names_it() -> None:
    body = {"saga_id": "s", "step_name": "p"}
    named = delivery("SagaStepFailed", body, type=None)
    assert codec.decode_reply(named).type is ReplyType.STEP_FAILED


@pytest.mark.parametrize("kind", [None, ""])
def test_the_name_of_the_queue_names_no_type(kind: str | None) -> None:
    unnamed = delivery("saga.replies", {}, type=kind, queue="saga.replies")
    with pytest.raises(ProtocolError, match="unknown_type: the message has no type"):
        codec.decode_reply(unnamed)


def test_a_command_is_read_with_all_its_headers() -> None:
    headers = {
        "saga-type": "Order",
        "saga-direction": "compensation",
        "saga-command-id": "c-1",
        "saga-attempt": 2,
        "saga-deadline": "2030-01-02T03:04:05.5z",
        "traceparent": TRACE,
    }
    assert command(headers, order_id=42, original_result={"id": 7}) == Command(
        saga_id="s-1",
        saga_type="Order",
        step_name="pay",
        direction=Direction.COMPENSATION,
        destination="PaymentService.Pay",
        command_id="c-1",
        attempt=2,
        deadline=datetime(2030, 1, 2, 3, 4, 5, 500_000, tzinfo=UTC),
        data={"order_id": 42},
        original_result={"id": 7},
        traceparent=TRACE,
    )


def test_a_command_needs_no_header_but_its_direction() -> None:
    seen = command({"saga-direction": "action"}, original_result="ignored")
    assert (seen.saga_type, seen.attempt, seen.deadline) == ("", 1, None)
    assert seen.command_id == command_id_for("s-1", "pay", Direction.ACTION)
    assert (dict(seen.data), seen.original_result, seen.traceparent) == ({}, None, None)
    with pytest.raises(ProtocolError, match="bad_header: saga-direction is missing"):
        command({})


@pytest.mark.parametrize(
    "deadline", ["tomorrow", "2030-13-01T00:00:00Z", "2030-01-02T03:04:05", 5, b"x", None]
)
def test_a_deadline_that_cannot_be_read_is_none(deadline: object) -> None:
    seen = command({"saga-direction": "action", "saga-deadline": deadline})
    assert seen.deadline is None


def test_a_command_may_carry_a_megabyte_of_data() -> None:
    assert len(command({"saga-direction": "action"}, v="x" * 1_000_000).data["v"]) == 1_000_000


def test_a_start_is_read() -> None:
    body = {"saga_type": "Order", "saga_id": "s-1", "data": {"a": 1}}
    start = delivery("StartSaga", body, headers={"traceparent": TRACE})
    assert codec.decode_start(start) == StartRequest(
        saga_type="Order", saga_id="s-1", data={"a": 1}, traceparent=TRACE
    )


def test_a_start_needs_no_id_and_no_data() -> None:
    start = codec.decode_start(delivery("StartSaga", {"saga_type": "Order"}))
    assert start == StartRequest(saga_type="Order")


def test_a_cancel_is_read_with_its_reason_cut_to_4_kib() -> None:
    cancel = codec.decode_start(delivery("CancelSaga", {"saga_id": "s", "reason": "x" * 5000}))
    assert cancel == CancelRequest(saga_id="s", reason="x" * 4096)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"saga_id": "a b"}, "saga_id is 'a b'; use 1 to 200 characters of A-Za-z0-9._:@-"),
        ({"saga_id": 7}, "saga_id is 7 (int)"),
        ({"step_name": None}, "step_name is missing"),
        ({"result": [1]}, "result is an array; send an object"),
    ],
)
def test_the_detail_names_the_field_the_value_and_the_remedy(
    fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(ProtocolError) as caught:
        reply(**fields)
    assert caught.value.reason == "bad_field"
    assert words in caught.value.detail


def test_the_detail_keeps_the_content_of_results_and_errors_to_itself() -> None:
    for fields in ({"result": "4111 1111"}, {"result": ["4111 1111"]}):
        with pytest.raises(ProtocolError) as caught:
            reply(**fields)
        assert "4111" not in caught.value.detail


def test_a_message_is_known_by_its_id_or_by_what_it_says() -> None:
    named = delivery("K", {"a": 1}, message_id="m-1")
    assert codec.identity_of(named) == "m-1"
    unnamed = replace(named, message_id=None)
    assert codec.identity_of(unnamed).startswith("sha256:")
    assert codec.identity_of(unnamed) == codec.identity_of(replace(unnamed, tag=2, session=9))
    assert codec.identity_of(unnamed) != codec.identity_of(replace(unnamed, routing_key="L"))
    assert codec.identity_of(unnamed) != codec.identity_of(replace(unnamed, body=b"{}"))


def test_an_identity_can_be_stored_and_logged_whatever_the_message_id() -> None:
    odd = delivery("K", {}, message_id="\0\ud800\r\n" + "é" * 255)
    identity = codec.identity_of(odd)
    assert identity.isprintable()
    assert len(identity.encode()) <= 255


@pytest.mark.parametrize("trace", [f"{TRACE}-x", TRACE.upper(), TRACE[:-1], "", 7, None])
def test_a_trace_that_is_not_well_formed_is_none(trace: object) -> None:
    assert command({"saga-direction": "action", "traceparent": trace}).traceparent is None
