"""Targets: strict JSON, every kind of message, what is rejected, and texts made fit."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from hypothesis import strategies as st
from pamqp import commands, frame, header

from messaging import codec
from messaging.contract import CancelRequest, Command, Reply, ReplyType, StartRequest
from messaging.errors import ProtocolError
from messaging.port import Delivery, Outgoing
from messaging.strict_json import dump, parse_object
from messaging.texts import escaped, within
from messaging.topology import Names
from tests.fuzzing.inputs import ANY_TEXT, BODIES, DELIVERIES
from tests.fuzzing.target import target
from tests.messaging.test_codec_round_trips import COMMANDS, REPLIES, arrival

NAMES: Final = Names()
MAX_DEPTH: Final = 32
MAX_REASON: Final = 50
MAX_DETAIL: Final = 400
MAX_SHORT: Final = 255  # bytes of a property or routing key
MAX_REJECTED: Final = 256 * 1024


@target(BODIES, examples=150)
def strict_json_takes_what_json_takes_and_the_rules_allow(body: bytes) -> None:
    wanted = _by_the_book(body)
    try:
        value: object = parse_object(body)
    except ProtocolError as error:
        _assert_presentable(error)
        value = None
    assert repr(value) == repr(wanted)
    if value is not None:
        assert repr(parse_object(dump(value), limit=2 * MAX_REJECTED)) == repr(wanted)


@target(DELIVERIES, examples=100)
def a_reply_is_valid_or_rejected(delivery: Delivery) -> None:
    message = _decoded(codec.decode_reply, delivery)
    if isinstance(message, Reply):
        whole = _with_what_was_left_out(message)
        _assert_comes_back(whole, codec.encode_reply(NAMES, whole), codec.decode_reply)


@target(DELIVERIES, examples=100)
def a_start_is_valid_or_rejected(delivery: Delivery) -> None:
    message = _decoded(codec.decode_start, delivery)
    match message:
        case StartRequest():
            _assert_comes_back(message, codec.encode_start(NAMES, message), codec.decode_start)
        case CancelRequest():
            _assert_comes_back(message, codec.encode_cancel(NAMES, message), codec.decode_start)


@target(DELIVERIES, examples=100)
def a_command_is_valid_or_rejected(delivery: Delivery) -> None:
    message = _decoded(codec.decode_command, delivery)
    if isinstance(message, Command):
        _assert_comes_back(message, codec.encode_command(NAMES, message), codec.decode_command)


@target(REPLIES)
def a_reply_comes_back_as_it_left(reply: Reply) -> None:
    assert_can_leave(codec.encode_reply(NAMES, reply))
    _assert_comes_back(reply, codec.encode_reply(NAMES, reply), codec.decode_reply)


@target(COMMANDS)
def a_command_comes_back_as_it_left(command: Command) -> None:
    assert_can_leave(codec.encode_command(NAMES, command))
    _assert_comes_back(command, codec.encode_command(NAMES, command), codec.decode_command)


@target(st.tuples(DELIVERIES, ANY_TEXT))
def what_is_rejected_can_go_to_the_dead_letters(said: tuple[Delivery, str]) -> None:
    delivery, detail = said
    message = codec.rejected(NAMES, delivery, "bad_json", detail)
    assert_can_leave(message)
    assert len(message.body) <= MAX_REJECTED
    assert codec.identity_of(delivery).isprintable()
    assert len(codec.identity_of(delivery).encode()) <= MAX_SHORT


@target(st.tuples(st.text(st.characters(codec=None)), st.integers(1, 300)))
def a_text_is_cut_and_escaped(said: tuple[str, int]) -> None:
    text, limit = said
    kept, shown = within(text, limit), escaped(text, limit)
    assert len(kept.encode()) <= limit
    assert "\0" not in kept
    assert len(shown.encode()) <= limit
    assert shown.isprintable()
    assert escaped(shown, limit) == shown


def assert_can_leave(message: Outgoing) -> None:
    """As it is, the client library can put it into frames that a broker takes."""
    for text in (message.routing_key, message.type, message.correlation_id or ""):
        assert len(text.encode()) <= MAX_SHORT
    properties = commands.Basic.Properties(
        headers=dict(message.headers),
        correlation_id=message.correlation_id,
        message_type=message.type,
    )
    assert frame.marshal(header.ContentHeader(0, len(message.body), properties), 1)


def _decoded(decode: Callable[[Delivery], Any], delivery: Delivery) -> Any:
    try:
        return decode(delivery)
    except ProtocolError as error:
        _assert_presentable(error)
        return None


def _with_what_was_left_out(reply: Reply) -> Reply:
    """We always send a completed step's result and a failure's error, empty if there is none."""
    match reply.type:
        case ReplyType.STEP_COMPLETED:
            return replace(reply, result=reply.result or {})
        case ReplyType.STEP_FAILED | ReplyType.COMPENSATION_FAILED:
            return replace(reply, error=reply.error or "")
        case ReplyType.COMPENSATION_COMPLETED:
            return reply


def _assert_comes_back(
    message: object, outgoing: Outgoing, decode: Callable[[Delivery], object]
) -> None:
    assert decode(arrival(outgoing)) == message


def _assert_presentable(error: ProtocolError) -> None:
    assert error.reason.isidentifier()
    assert len(error.reason) <= MAX_REASON
    assert len(error.detail) <= MAX_DETAIL
    assert error.detail.encode()


def _by_the_book(body: bytes) -> object:
    """The object, by the standard library and the rules one after the other; None if refused."""
    if body.startswith(b"\xef\xbb\xbf"):
        return None
    try:
        value = json.loads(
            body.decode(), object_pairs_hook=_without_repetition, parse_constant=_refuse
        )
        return value if isinstance(value, dict) and _is_allowed(value, 1) else None
    except (ValueError, RecursionError):
        return None


def _without_repetition(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _is_allowed(value: object, depth: int) -> bool:
    match value:
        case dict():
            inside = [*value.keys(), *value.values()]
            return depth <= MAX_DEPTH and all(_is_allowed(each, depth + 1) for each in inside)
        case list():
            return depth <= MAX_DEPTH and all(_is_allowed(each, depth + 1) for each in value)
        case str():
            return "\0" not in value and not any("\ud800" <= each <= "\udfff" for each in value)
        case bool() | None:
            return True
        case int():
            return abs(value) <= 2**63
        case float():
            return math.isfinite(value)
        case _:
            return False
