"""Strict JSON: the rules for bodies that come in and for values that go out (CONTRACT §3)."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, Final

from messaging.contract import MAX_BODY_BYTES, MAX_DATA_BYTES, MAX_DEPTH
from messaging.errors import ProtocolError

MAX_INTEGER: Final = 2**63
MAX_INTEGER_CHARACTERS: Final = len(str(-MAX_INTEGER))

# Within a message every value has one object around it: the body.
MAX_VALUE_DEPTH: Final = MAX_DEPTH - 1
# An element takes two bytes or more, so a value with more of them is too large anyway.
MAX_ELEMENTS: Final = MAX_DATA_BYTES

_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_OPENING: Final = frozenset(b"[{")
# Only these escapes can bring in NUL or half a surrogate pair; raw ones are no JSON or no UTF-8.
_SUSPICIOUS_ESCAPE: Final = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


def parse_object(body: bytes, *, limit: int = MAX_BODY_BYTES) -> dict[str, Any]:
    """The JSON object in `body`. ProtocolError, with its reason, for whatever breaks a rule."""
    if len(body) > limit:
        raise ProtocolError("too_large", f"the body has {len(body)} bytes; at most {limit} pass")
    text = _text_of(body)
    _check_depth(body)
    value = _parsed(text)
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise ProtocolError("not_an_object", f"the body is a {kind}; send a JSON object")
    if b"\\u" in body and _SUSPICIOUS_ESCAPE.search(body):
        _check(value, MAX_DEPTH)
    return value


def dump(value: object) -> bytes:
    """`value` as compact UTF-8 JSON. ProtocolError if it cannot be written."""
    try:
        return _ENCODER.encode(value).encode()
    except UnicodeEncodeError as error:
        raise _lone_surrogate() from error
    except RecursionError as error:
        raise _too_deep(MAX_DEPTH) from error
    except (TypeError, ValueError) as error:
        raise ProtocolError("not_json", str(error)) from error


def check_value(value: object) -> None:
    """Holds a value made in this process, a result or a saga's data, to the same rules."""
    _check(value, MAX_VALUE_DEPTH)


def _text_of(body: bytes) -> str:
    if body.startswith(b"\xef\xbb\xbf"):
        raise ProtocolError("bad_encoding", "the body begins with a BOM; send plain UTF-8")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        detail = f"the body is not UTF-8 at byte {error.start}: {error.reason}"
        raise ProtocolError("bad_encoding", detail) from error
    if "\0" in text:
        raise _raw_nul(body)
    return text


def _raw_nul(body: bytes) -> ProtocolError:
    """UTF-16 and UTF-32 are full of NUL bytes; in UTF-8 JSON there is none."""
    encoding = json.detect_encoding(body)
    if encoding.startswith("utf-8"):
        return _nul()
    return ProtocolError("bad_encoding", f"the body looks like {encoding}; send UTF-8")


def _check_depth(body: bytes) -> None:
    """Before parsing, and without recursion: a parser's stack is no place to find out."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for bracket in _STRING.sub(b"", body).translate(None, _NO_BRACKETS):
        depth += 1 if bracket in _OPENING else -1
        if depth > MAX_DEPTH:
            raise _too_deep(MAX_DEPTH)


def _parsed(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        detail = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise ProtocolError("bad_json", f"the body is no JSON: {detail}") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = Counter(keys).most_common(1)[0][0]
        raise ProtocolError("duplicate_key", f"the key {_shown(twice)} stands twice in one object")
    return value


def _integer(digits: str) -> int:
    if len(digits) > MAX_INTEGER_CHARACTERS:  # thousands of digits must not even be converted
        raise _out_of_range(digits)
    value = int(digits)
    if abs(value) > MAX_INTEGER:
        raise _out_of_range(digits)
    return value


def _fraction(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise _out_of_range(digits)
    return value


def _constant(name: str) -> None:
    raise ProtocolError("bad_json", f"{name} is no JSON")


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_integer,
    parse_float=_fraction,
    parse_constant=_constant,
)


def _check(value: object, max_depth: int) -> None:
    """Walk level by level; what is shared or refers to itself meets one of the two limits."""
    level, depth, elements = [value], 0, 0
    while level:
        elements += len(level)
        if elements > MAX_ELEMENTS:
            raise ProtocolError("too_large", f"the value has more than {MAX_ELEMENTS} elements")
        containers = [each for each in level if _is_container(each)]
        depth += 1
        if containers and depth > max_depth:
            raise _too_deep(max_depth)
        inside = chain.from_iterable(_items(each) for each in containers)
        level = list(islice(inside, MAX_ELEMENTS + 1))


def _is_container(value: object) -> bool:
    """Whether to look inside; anything else is checked here and now."""
    match value:
        case dict() | list() | tuple():
            return True
        case str():
            _check_text(value)
        case None | bool():
            pass
        case int():
            if abs(value) > MAX_INTEGER:
                raise _out_of_range(hex(value))
        case float():
            if not math.isfinite(value):
                raise ProtocolError("number_range", f"{value} is no JSON")
        case _:
            raise ProtocolError("not_json", f"a {type(value).__name__} cannot be written as JSON")
    return False


def _items(container: Any) -> Iterator[object]:
    if not isinstance(container, dict):
        yield from container
        return
    for key, item in container.items():
        if not isinstance(key, str):
            detail = f"a key is a {type(key).__name__}; keys are strings"
            raise ProtocolError("not_json", detail)
        _check_text(key)
        yield item


def _check_text(text: str) -> None:
    if "\0" in text:
        raise _nul()
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _lone_surrogate() from error


def _nul() -> ProtocolError:
    return ProtocolError("nul_char", "a string has a NUL character; leave it out")


def _lone_surrogate() -> ProtocolError:
    return ProtocolError("lone_surrogate", "a string has half a surrogate pair; send whole ones")


def _too_deep(limit: int) -> ProtocolError:
    return ProtocolError("too_deep", f"the value is nested deeper than {limit} levels")


def _out_of_range(digits: str) -> ProtocolError:
    detail = f"{digits[:40]} is out of range; integers go to ±2^63, others to 1.8e308"
    return ProtocolError("number_range", detail)


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 40 else f"{text[:40]}…")
