"""What is encoded is decoded to the same; what is not ours raises a ProtocolError or nothing."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from messaging import codec
from messaging.contract import (
    RESERVED_KEYS,
    CancelRequest,
    Command,
    Direction,
    Effect,
    Reply,
    ReplyType,
    StartRequest,
)
from messaging.errors import ProtocolError
from messaging.port import Delivery, Outgoing
from messaging.topology import Names
from tests.messaging.test_strict_json import VALUES

NAMES = Names()
_CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
_IDS = st.from_regex(r"[A-Za-z0-9._:@-]{1,200}", fullmatch=True)
_STEPS = st.text(_CHARACTERS, min_size=1, max_size=200)
_TEXTS = st.text(_CHARACTERS, max_size=100)
_PRINTABLE = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1)
_OBJECTS = st.dictionaries(
    st.text(_CHARACTERS, max_size=9).filter(lambda key: key not in RESERVED_KEYS),
    VALUES,
    max_size=4,
)
_ATTEMPTS = st.integers(1, 10**6)
_TRACES = st.none() | st.from_regex(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True)
_MOMENTS = st.none() | st.datetimes(
    min_value=datetime(1971, 1, 1),  # noqa: DTZ001  # the strategy adds the zone
    timezones=st.just(UTC),
)
_ORIGIN: dict[str, Any] = {
    "saga_id": _IDS,
    "step_name": _STEPS,
    "command_id": st.none() | _PRINTABLE,
    "attempt": st.none() | _ATTEMPTS,
    "traceparent": _TRACES,
}
_RETRYABLE = st.none() | st.booleans()
REPLIES = st.one_of(
    st.builds(Reply, type=st.just(ReplyType.STEP_COMPLETED), result=_OBJECTS, **_ORIGIN),
    st.builds(
        Reply,
        type=st.just(ReplyType.STEP_FAILED),
        error=_TEXTS,
        retryable=_RETRYABLE,
        effect=st.sampled_from(Effect),
        **_ORIGIN,
    ),
    st.builds(
        Reply,
        type=st.just(ReplyType.COMPENSATION_COMPLETED),
        result=st.none() | _OBJECTS,
        **_ORIGIN,
    ),
    st.builds(
        Reply,
        type=st.just(ReplyType.COMPENSATION_FAILED),
        error=_TEXTS,
        retryable=_RETRYABLE,
        **_ORIGIN,
    ),
)
_COMMAND: dict[str, Any] = {
    "saga_id": _IDS,
    "saga_type": _PRINTABLE,
    "step_name": _STEPS,
    "destination": st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,99}\.[A-Za-z]{1,99}", fullmatch=True),
    "command_id": _PRINTABLE,
    "attempt": _ATTEMPTS,
    "deadline": _MOMENTS,
    "data": _OBJECTS,
    "traceparent": _TRACES,
}
COMMANDS = st.builds(
    Command, direction=st.just(Direction.ACTION), original_result=st.none(), **_COMMAND
) | st.builds(
    Command,
    direction=st.just(Direction.COMPENSATION),
    original_result=st.none() | _OBJECTS,
    **_COMMAND,
)


def arrival(message: Outgoing) -> Delivery:
    return Delivery(
        queue="q",
        exchange=message.exchange,
        routing_key=message.routing_key,
        body=message.body,
        tag=1,
        session=1,
        type=message.type,
        correlation_id=message.correlation_id,
        content_type="application/json",
        headers=message.headers,
    )


@given(REPLIES)
def test_a_reply_comes_back_as_it_left(reply: Reply) -> None:
    assert codec.decode_reply(arrival(codec.encode_reply(NAMES, reply))) == reply


@given(COMMANDS)
def test_a_command_comes_back_as_it_left(command: Command) -> None:
    assert codec.decode_command(arrival(codec.encode_command(NAMES, command))) == command


@given(
    st.builds(
        StartRequest,
        saga_type=_STEPS.map(lambda text: text[:100]),
        saga_id=st.none() | _IDS,
        data=_OBJECTS,
        traceparent=_TRACES,
    )
)
def test_a_start_comes_back_as_it_left(request: StartRequest) -> None:
    assert codec.decode_start(arrival(codec.encode_start(NAMES, request))) == request


@given(st.builds(CancelRequest, saga_id=_IDS, reason=_STEPS))
def test_a_cancel_comes_back_as_it_left(request: CancelRequest) -> None:
    assert codec.decode_start(arrival(codec.encode_cancel(NAMES, request))) == request


_ANY_TEXT = st.text(st.characters(codec=None), max_size=30)
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _ANY_TEXT | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_ANY_TEXT, inner, max_size=3),
    max_leaves=6,
)
_KINDS = st.sampled_from([*ReplyType, "StartSaga", "CancelSaga", "A.B", "", "nonsense"])
_FIELDS = st.sampled_from(
    [
        *("saga_id", "step_name", "saga_type", "result", "error", "retryable", "effect"),
        *("data", "reason", "original_result"),
    ]
)
_GOOD_VALUES = st.sampled_from(["s-1", {"a": 1}, True, "none", "unknown"])


@st.composite
def _nearly_good_bodies(draw: st.DrawFn) -> bytes:
    body = draw(st.dictionaries(_FIELDS, _GOOD_VALUES | _ANYTHING.filter(_is_json), max_size=10))
    return json.dumps(body, ensure_ascii=True).encode()


def _is_json(value: object) -> bool:
    match value:
        case bytes():
            return False
        case list():
            return all(map(_is_json, value))
        case dict():
            return all(map(_is_json, value.values()))
        case _:
            return True


DELIVERIES = st.builds(
    Delivery,
    queue=st.sampled_from(["saga.replies", "q"]),
    exchange=_ANY_TEXT,
    routing_key=_KINDS | _ANY_TEXT,
    body=_nearly_good_bodies() | st.binary(max_size=40),
    tag=st.just(1),
    session=st.just(1),
    type=st.none() | _KINDS | _ANY_TEXT,
    message_id=st.none() | _ANY_TEXT,
    correlation_id=st.none() | _ANY_TEXT,
    content_type=st.none() | st.just("application/json") | _ANY_TEXT,
    content_encoding=st.none() | st.just("identity") | _ANY_TEXT,
    headers=st.dictionaries(
        st.sampled_from(
            [
                *("saga-type", "saga-direction", "saga-command-id", "saga-attempt"),
                *("saga-deadline", "traceparent", "x-death"),
            ]
        ),
        st.sampled_from(["action", "compensation", 1, "2030-01-01T00:00:00Z"]) | _ANYTHING,
    ),
)


@given(DELIVERIES)
def test_whatever_arrives_decoding_raises_nothing_but_a_protocol_error(
    delivery: Delivery,
) -> None:
    for decode in (codec.decode_reply, codec.decode_command, codec.decode_start):
        refusal = _refusal(decode, delivery)
        if refusal is not None:
            assert refusal.reason.isidentifier()
            assert len(refusal.detail) < 400
    assert codec.identity_of(delivery).isprintable()


def _refusal(decode: Callable[[Delivery], object], delivery: Delivery) -> ProtocolError | None:
    try:
        decode(delivery)
    except ProtocolError as error:
        return error
    return None
