"""The rules for JSON, one by one. The corpus tries many more bodies."""

import enum
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from messaging.contract import MAX_BODY_BYTES, MAX_DEPTH
from messaging.errors import ProtocolError
from messaging.strict_json import MAX_VALUE_DEPTH, check_value, dump, parse_object


def reason_of_parsing(body: bytes) -> str | None:
    with pytest.raises(ProtocolError) as caught:
        parse_object(body)
    return caught.value.reason


def reason_of_value(value: object) -> str:
    with pytest.raises(ProtocolError) as caught:
        check_value(value)
    return caught.value.reason


def test_an_object_of_every_kind_of_value_is_parsed() -> None:
    body = '{"a":[1,-2.5,1e3,true,false,null,"ü😀\\n"],"b":{}}'.encode()
    assert parse_object(body) == {"a": [1, -2.5, 1000.0, True, False, None, "ü😀\n"], "b": {}}


def test_a_body_of_the_full_size_passes_and_one_byte_more_does_not() -> None:
    filling = b"x" * (MAX_BODY_BYTES - len(b'{"a":""}'))
    assert parse_object(b'{"a":"%s"}' % filling)["a"] == filling.decode()
    assert reason_of_parsing(b'{"a":"x%s"}' % filling) == "too_large"


def test_another_limit_can_be_asked_for() -> None:
    with pytest.raises(ProtocolError, match=r"too_large: the body has 7 bytes; at most 6 pass"):
        parse_object(b'{"a":1}', limit=6)


def test_32_levels_pass_and_33_do_not() -> None:
    def nested(levels: int) -> bytes:
        return b'{"a":' * (levels - 1) + b"{}" + b"}" * (levels - 1)

    assert parse_object(nested(MAX_DEPTH))
    assert reason_of_parsing(nested(MAX_DEPTH + 1)) == "too_deep"


def test_brackets_that_close_too_early_cannot_hide_depth() -> None:
    assert reason_of_parsing(b'{"a":[]}' + b"]" * 50 + b"[" * 100) in {"bad_json", "too_deep"}
    assert reason_of_parsing(b"]" * 100_000 + b"[" * 100_000) == "bad_json"


def test_many_small_containers_are_not_deep() -> None:
    body = b'{"a":[' + b'{"b":[]},' * 1000 + b"{}]}"
    assert len(parse_object(body)["a"]) == 1001


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"a":1,}', "column 8"),
        (b'{"price":1,"price":2}', "'price' stands twice"),
        (b'{"a":9223372036854775809}', "9223372036854775809 is out of range"),
        (b"[]", "is a list"),
        (b'{"a":"\xff"}', "byte 6"),
        (b"\xef\xbb\xbf{}", "BOM"),
    ],
)
def test_the_detail_says_where_or_what(body: bytes, words: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_object(body)
    assert words in caught.value.detail


def test_the_detail_is_short_however_long_the_culprit() -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_object(b'{"%s":1,"%s":2}' % (b"k" * 50_000, b"k" * 50_000))
    assert len(caught.value.detail) < 200
    with pytest.raises(ProtocolError) as caught:
        parse_object(b'{"a":%s}' % (b"9" * 200_000))
    assert len(caught.value.detail) < 200


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (float("nan"), "number_range"),
        (float("-inf"), "number_range"),
        (2**63 + 1, "number_range"),
        (-(2**63) - 1, "number_range"),
        pytest.param(10**5000, "number_range", id="10**5000"),
        ("a\0", "nul_char"),
        ("\ud800", "lone_surrogate"),
        (b"bytes", "not_json"),
        ({1, 2}, "not_json"),
        (object(), "not_json"),
        ({"a": {1: 2}}, "not_json"),
        ({"a\0": 1}, "nul_char"),
        ({"\udfff": 1}, "lone_surrogate"),
        ({"a": [{"b": ["\0"]}]}, "nul_char"),
    ],
)
def test_a_value_that_breaks_a_rule_is_refused(value: object, reason: str) -> None:
    assert reason_of_value(value) == reason
    assert reason_of_value({"deep": [value]}) == reason


def test_a_value_may_have_any_form_that_json_can_write() -> None:
    class Colour(enum.StrEnum):
        RED = "red"

    check_value({"a": (1, 2), "b": [None, True, 1.5, 2**63, -(2**63)], "c": Colour.RED})


def test_a_value_leaves_a_level_for_the_message_around_it() -> None:
    value: Any = 1
    for _ in range(MAX_VALUE_DEPTH):
        value = {"a": value}
    check_value(value)
    assert parse_object(dump({"result": value}))
    assert reason_of_value({"a": value}) == "too_deep"


def test_a_value_that_contains_itself_is_too_deep() -> None:
    value: list[object] = []
    value.append(value)
    assert reason_of_value(value) == "too_deep"


def test_a_value_that_is_shared_a_million_times_is_too_large() -> None:
    value: list[object] = [0]
    for _ in range(MAX_VALUE_DEPTH - 1):
        value = [value, value]
    assert reason_of_value(value) == "too_large"
    wide = [[0] * 3000] * 3000
    assert reason_of_value([wide] * 3000) == "too_large"


def test_dump_writes_compact_utf8() -> None:
    assert dump({"a": [1, "ü"], "b": None}) == '{"a":[1,"ü"],"b":null}'.encode()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (float("nan"), "not_json"),
        (object(), "not_json"),
        ("\ud800", "lone_surrogate"),
    ],
)
def test_dump_refuses_what_cannot_be_written(value: object, reason: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        dump(value)
    assert caught.value.reason == reason


def test_dump_refuses_a_value_that_contains_itself_or_is_too_deep_to_write() -> None:
    circle: list[object] = []
    circle.append(circle)
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for value, reason in ((circle, "not_json"), (deep, "too_deep")):
        with pytest.raises(ProtocolError) as caught:
            dump(value)
        assert caught.value.reason == reason
    while deep:  # freed from the outside in: the interpreter would do it by recursion
        deep = deep.pop()  # type: ignore[assignment]


_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
)
_KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(_KEYS, VALUES, max_size=5))
def test_what_passes_the_check_survives_the_way_there_and_back(value: dict[str, Any]) -> None:
    check_value(value)
    assert parse_object(dump(value)) == value


@given(st.binary(max_size=300))
@example(b'{"a":"\\ud83d"}')
@example(b'{"a":' + b"1" * 5000 + b"}")
def test_whatever_the_bytes_only_a_protocol_error_is_raised(body: bytes) -> None:
    try:
        value = parse_object(body)
    except ProtocolError:
        return
    check_value(value)


@given(st.text(alphabet='{}[]":,\\u0dD8c1eE+-.9nul ', max_size=200))
def test_whatever_looks_like_json_is_parsed_or_refused(text: str) -> None:
    try:
        value = parse_object(b'{"a":' + text.encode() + b"}")
    except ProtocolError:
        return
    assert parse_object(dump(value)) == value
