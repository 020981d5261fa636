"""The copy of a message that cannot be processed, for the dead letters."""

import hashlib
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands, encode

from messaging import codec
from messaging.port import Delivery
from messaging.topology import Names

NAMES = Names("n")


def arrived(**changes: Any) -> Delivery:
    usual = {
        "queue": "n.replies",
        "exchange": "n.replies",
        "routing_key": "SagaStepCompleted",
        "body": b"\xff not json",
        "tag": 1,
        "session": 1,
    }
    return Delivery(**{**usual, **changes})


def test_body_type_and_correlation_are_kept_and_the_reason_is_added() -> None:
    delivery = arrived(
        type="SagaStepCompleted", correlation_id="s-1", message_id="m-1", user_id="anna"
    )
    message = codec.rejected(NAMES, delivery, "bad_encoding", "not UTF-8 at byte 0")
    assert (message.exchange, message.routing_key) == ("n.dead", "rejected.n.replies")
    assert (message.type, message.correlation_id) == ("SagaStepCompleted", "s-1")
    assert message.body == b"\xff not json"
    assert message.headers == {
        "saga-reason": "bad_encoding",
        "saga-error": "not UTF-8 at byte 0",
        "saga-original-type": "SagaStepCompleted",
        "saga-original-message-id": "m-1",
        "saga-original-user-id": "anna",
    }
    assert message.mandatory


def test_without_a_type_the_routing_key_that_named_it_is_kept() -> None:
    assert codec.rejected(NAMES, arrived(), "r", "d").type == "SagaStepCompleted"
    assert codec.rejected(NAMES, arrived(routing_key="n.replies"), "r", "d").type == ""
    assert "saga-original-type" not in codec.rejected(NAMES, arrived(), "r", "d").headers


def test_of_the_headers_only_our_own_short_ones_are_kept() -> None:
    headers = {
        "saga-type": "Order",
        "saga-direction": "action",
        "saga-attempt": 3,
        "saga-command-id": "c" * 256,
        "saga-deadline": {"a": "table"},
        "saga-step": True,
        "saga-destination": None,
        "saga-reason": "forged",
        "saga-unheard-of": "x",
        "x-death": [{"count": 9}],
        "x-delivery-count": 9,
        "CC": ["n.dead"],
    }
    kept = codec.rejected(NAMES, arrived(headers=headers), "bad_json", "d").headers
    assert kept == {
        "saga-type": "Order",
        "saga-direction": "action",
        "saga-attempt": 3,
        "saga-reason": "bad_json",
        "saga-error": "d",
    }


def test_an_integer_that_no_header_can_hold_is_left_out() -> None:
    for attempt, is_kept in ((2**63 - 1, True), (2**63, False)):
        delivery = arrived(headers={"saga-attempt": attempt})
        assert ("saga-attempt" in codec.rejected(NAMES, delivery, "r", "d").headers) is is_kept


def test_a_body_of_256_kib_is_kept_whole_and_of_a_larger_one_the_beginning() -> None:
    whole = codec.rejected(NAMES, arrived(body=b"x" * 262_144), "r", "d")
    assert len(whole.body) == 262_144
    assert "saga-body-size" not in whole.headers
    large = b"y" * 262_145
    cut = codec.rejected(NAMES, arrived(body=large), "too_large", "d")
    assert cut.body == b"y" * 65_536
    assert cut.headers["saga-body-size"] == 262_145
    assert cut.headers["saga-body-sha256"] == hashlib.sha256(large).hexdigest()


def test_the_detail_becomes_one_short_printable_line() -> None:
    message = codec.rejected(NAMES, arrived(), "r", "a\r\n\x1b[31mb\u202ec\0" + "é" * 500)
    error = message.headers["saga-error"]
    assert isinstance(error, str)
    assert error.startswith("a\\r\\n\\x1b[31mb\\u202ec\\x00é")
    assert error.isprintable()
    assert len(error.encode()) <= 256


def test_a_long_queue_name_still_makes_a_routing_key() -> None:
    message = codec.rejected(NAMES, arrived(queue="q" * 255), "r", "d")
    assert len(message.routing_key.encode()) == 255


_TEXT = st.none() | st.text(st.characters(codec=None), max_size=300)


@given(
    st.builds(
        arrived,
        queue=st.text(min_size=1, max_size=255),
        routing_key=st.text(st.characters(codec=None), max_size=300),
        body=st.binary(max_size=50),
        type=_TEXT,
        message_id=_TEXT,
        correlation_id=_TEXT,
        user_id=_TEXT,
        headers=st.dictionaries(
            st.sampled_from(["saga-type", "saga-attempt", "traceparent"]),
            st.integers() | _TEXT | st.lists(st.integers(), max_size=2) | st.floats(),
        ),
    ),
    st.text(st.characters(codec=None), max_size=600),
)
def test_whatever_arrived_its_copy_fits_into_amqp(delivery: Delivery, detail: str) -> None:
    message = codec.rejected(NAMES, delivery, "bad_json", detail)
    assert encode.short_string(message.routing_key)
    assert encode.short_string(message.type)
    properties = commands.Basic.Properties(
        message_type=message.type,
        correlation_id=message.correlation_id,
        headers=dict(message.headers),
        timestamp=datetime(2030, 1, 1, tzinfo=UTC),
    )
    assert properties.marshal()
