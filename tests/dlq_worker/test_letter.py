"""Reading dead letters: total, storable, and each with the right identity."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from dlq_stories import (
    GATEWAY_DOWN,
    NAMES,
    REFUND,
    REFUND_FAILED,
    SAGA,
    command_letter,
    delivered,
    delivery,
    exhausted,
    letter,
    saga_after,
)
from hypothesis import given
from hypothesis import strategies as st

from dlq_worker.letter import (
    FIRST_ID,
    MAX_KEPT_BODY,
    DeadLetter,
    Origin,
    Place,
    bare_letter,
    read_letter,
)
from dlq_worker.rows import values_of
from messaging.contract import Direction
from orchestrator.saga.state import OutboundKind
from orchestrator.worker.outgoing import message_for


def test_an_exhausted_compensation_tells_everything_that_a_replay_needs() -> None:
    read = read_letter(delivered(exhausted(saga_after(*REFUND_FAILED))), NAMES)
    assert read.origin is Origin.COMPENSATION
    assert read.reason == "compensation_exhausted"
    assert (read.saga_id, read.saga_type, read.step_name) == (SAGA, "Order", "pay")
    assert read.direction is Direction.COMPENSATION
    assert (read.destination, read.participant) == (REFUND, "PaymentService")
    assert (read.attempt, read.error) == (1, GATEWAY_DOWN)
    assert read.signature == "compensation_exhausted PaymentService pay: gateway <n> said <n>"


@pytest.mark.parametrize(
    ("routing_key", "origin", "place", "queue"),
    [
        ("compensation", Origin.COMPENSATION, Place.NONE, None),
        ("forward", Origin.FORWARD, Place.NONE, None),
        ("late_success", Origin.LATE_SUCCESS, Place.NONE, None),
        ("rejected.saga.replies", Origin.REJECTED, Place.REPLIES, "saga.replies"),
        ("rejected.saga.starts", Origin.REJECTED, Place.STARTS, "saga.starts"),
        ("rejected.saga.commands.A", Origin.REJECTED, Place.COMMANDS, "saga.commands.A"),
        ("rejected.elsewhere", Origin.REJECTED, Place.NONE, None),
        ("saga.replies", Origin.BROKER, Place.REPLIES, "saga.replies"),
        ("saga.starts", Origin.BROKER, Place.STARTS, "saga.starts"),
        ("saga.commands.A", Origin.BROKER, Place.COMMANDS, "saga.commands.A"),
        ("saga.commands.", Origin.UNKNOWN, Place.NONE, None),
        ("other.replies", Origin.UNKNOWN, Place.NONE, None),
        ("", Origin.UNKNOWN, Place.NONE, None),
    ],
)
def test_the_routing_key_tells_where_a_letter_comes_from(
    routing_key: str, origin: Origin, place: Place, queue: str | None
) -> None:
    read = letter(routing_key)
    assert (read.origin, read.place, read.queue) == (origin, place, queue)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"x-last-death-reason": "expired", "x-first-death-reason": "rejected"}, "expired"),
        ({"x-death": [{"reason": "delivery_limit"}]}, "delivery_limit"),
        ({"x-first-death-reason": "maxlen"}, "maxlen"),
        ({"x-death": "forged", "x-first-death-reason": 7}, "dead_lettered"),
        ({}, "dead_lettered"),
    ],
)
def test_the_broker_tells_its_reason_in_one_of_three_ways(
    headers: dict[str, Any], reason: str
) -> None:
    assert letter("saga.replies", headers=headers).reason == reason


def test_a_message_without_a_type_has_that_of_the_routing_key_it_was_published_with() -> None:
    death = {"reason": "delivery_limit", "routing-keys": ["SagaStepCompleted"]}
    assert letter("saga.replies", headers={"x-death": [death]}).type == "SagaStepCompleted"
    assert letter("saga.replies", headers={"x-death": [{"routing-keys": 7}]}).type is None


@pytest.mark.parametrize("reason", ["Not A Word", "a" * 51, "", 7, None, "x\n"])
def test_a_reason_that_is_no_word_is_unknown(reason: object) -> None:
    read = letter("rejected.saga.replies", headers={"saga-reason": reason})
    assert read.reason == "unknown"


@pytest.mark.parametrize(
    ("body", "correlation_id", "expected"),
    [
        (b'{"saga_id": "order-1"}', "order-2", "order-1"),
        (b"{not json", "order-2", "order-2"),
        (b'{"saga_id": "has a space"}', None, None),
        (b'{"saga_id": 7}', None, None),
        (b'["saga_id"]', None, None),
        (b"[" * 100_000, "order-2", "order-2"),
        (b"\xff\xfe", "\x00", None),
        (b'{"saga_id": "' + b"a" * 300_000 + b'"}', None, None),
        (b'{"saga_id": "order-1", "d": "' + b"a" * 2**20 + b'"}', None, "order-1"),
    ],
)
def test_the_saga_is_named_by_the_body_or_else_by_the_correlation_id(
    body: bytes, correlation_id: str | None, expected: str | None
) -> None:
    assert letter("saga.replies", body, correlation_id=correlation_id).saga_id == expected


@pytest.mark.parametrize("attempt", [0, -1, True, "3", 10**9, None, 2.0])
def test_an_attempt_out_of_range_is_not_known(attempt: object) -> None:
    assert letter("compensation", headers={"saga-attempt": attempt}).attempt is None


def test_what_terminals_and_databases_cannot_take_is_escaped() -> None:
    read = letter(
        "rejected.saga.replies",
        headers={"saga-error": "nul \x00, red \x1b[31m, lone \ud800, reversed \u202e"},
    )
    assert read.error == r"nul \x00, red \x1b[31m, lone \ud800, reversed \u202e"


def test_a_huge_body_is_cut_and_its_size_remembered() -> None:
    read = letter("saga.replies", b"x" * (MAX_KEPT_BODY + 1))
    assert len(read.body) == MAX_KEPT_BODY
    assert read.body_bytes == MAX_KEPT_BODY + 1
    assert not read.is_whole


def test_the_same_exhaustion_published_twice_is_one_arrival() -> None:
    message = exhausted(saga_after(*REFUND_FAILED))
    once = read_letter(delivered(message, message_id="a"), NAMES)
    twice = read_letter(delivered(message, message_id="b"), NAMES)
    assert (once.key, once.arrival) == (twice.key, twice.arrival)


def test_a_later_attempt_is_the_same_letter_arriving_again() -> None:
    once, again = command_letter(attempt=1), command_letter(attempt=2)
    assert once.key == again.key
    assert once.arrival != again.arrival


def test_an_attempt_that_was_lost_and_is_counted_again_is_another_arrival() -> None:
    once, again, twice = (published_in(epoch) for epoch in ("1", "2", "2"))
    assert once.key == again.key == twice.key
    assert once.arrival != again.arrival == twice.arrival


def published_in(epoch: str) -> DeadLetter:
    """What the orchestrator says of an exhausted compensation, in that epoch of its database."""
    saga = replace(saga_after(*REFUND_FAILED), epochs=(epoch,))
    [owed] = (each for each in saga.outbound if each.kind is OutboundKind.DEAD_LETTER)
    return read_letter(delivered(message_for(NAMES, saga, owed)), NAMES)


def test_action_and_compensation_of_a_step_are_different_letters() -> None:
    action = command_letter()
    undo = command_letter(command=REFUND, direction="compensation")
    assert action.key != undo.key


def test_a_participant_cannot_forge_a_letter_of_the_orchestrator() -> None:
    message = exhausted(saga_after(*REFUND_FAILED))
    real = read_letter(delivered(message), NAMES)
    forged = delivery(
        "rejected.saga.commands.PaymentService",
        message.body,
        headers=message.headers,
        type=message.type,
    )
    assert read_letter(forged, NAMES).key != real.key


def test_rejected_messages_are_letters_of_their_own_even_with_one_saga_and_step() -> None:
    body = {"saga_id": SAGA, "step_name": "pay"}
    headers = {"saga-reason": "out_of_sequence"}
    once = letter("rejected.saga.replies", body, headers=headers, message_id="a")
    again = letter("rejected.saga.replies", body, headers=headers, message_id="b")
    assert once.key != again.key


def test_two_equal_starts_of_two_clients_are_two_letters() -> None:
    start = {"saga_type": "Order", "data": {}}
    assert letter("saga.starts", start, message_id="a").key != letter("saga.starts", start).key


def test_a_message_sent_again_is_the_letter_it_was_but_not_with_another_body() -> None:
    first = letter("saga.replies", b"{}", message_id="a")
    again = letter("saga.replies", b"{}", message_id="b", headers={FIRST_ID: "a"})
    forged = letter("saga.replies", b"[]", message_id="c", headers={FIRST_ID: "a"})
    assert again.key == first.key
    assert again.arrival != first.arrival
    assert forged.key != first.key


def test_a_rejected_message_is_the_letter_it_was_before_whoever_rejects_it() -> None:
    given_up = letter("saga.replies", b"{}", message_id="a")
    rejected = letter(
        "rejected.saga.replies",
        b"{}",
        message_id="b",
        headers={"saga-original-message-id": "a", "saga-reason": "unknown_saga"},
    )
    assert rejected.key == given_up.key


def test_a_body_that_was_cut_when_it_was_rejected_is_not_whole() -> None:
    read = letter("rejected.saga.replies", b"{", headers={"saga-body-size": 300_000})
    assert read.body_bytes == 300_000
    assert not read.is_whole


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMED_HEADERS = st.sampled_from(
    ["saga-reason", "saga-error", "saga-attempt", "saga-direction", "x-death", FIRST_ID, "other"]
)


@given(
    routing_key=st.sampled_from(["compensation", "saga.replies", "rejected.saga.commands.A"])
    | st.text(max_size=20),
    body=st.binary(max_size=50) | ANYTHING.map(lambda value: json.dumps(str(value)).encode()),
    headers=st.dictionaries(NAMED_HEADERS, ANYTHING, max_size=4),
    texts=st.dictionaries(
        st.sampled_from(["type", "message_id", "correlation_id", "user_id", "app_id"]),
        st.none() | st.text(st.characters(), max_size=30),
    ),
)
def test_reading_is_total_and_what_comes_of_it_can_be_stored(
    routing_key: str, body: bytes, headers: dict[str, Any], texts: dict[str, Any]
) -> None:
    arrival = delivery(routing_key, body, headers=headers, timestamp=datetime.now(UTC), **texts)
    for read in (read_letter(arrival, NAMES), bare_letter(arrival)):
        for value in values_of(read).values():
            assert not isinstance(value, str) or "\x00" not in value.encode().decode()
        assert "\\u0000" not in json.dumps(read.headers, allow_nan=False)
