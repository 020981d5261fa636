"""Holds a saga's data and a step's result to the sizes and keys of CONTRACT §3."""

from collections.abc import Mapping
from typing import Any, Final

from messaging.contract import MAX_DATA_BYTES, MAX_RESULT_BYTES, RESERVED_KEYS
from messaging.errors import ProtocolError
from messaging.strict_json import check_value, dump

# JSON written anew is at most this many times as long: 1e15 becomes 1000000000000000.0.
_GROWTH: Final = 5


def check_data(data: Mapping[str, Any]) -> None:
    """All rules for a saga's data that were made in this process. ProtocolError if one breaks."""
    check_value(dict(data))
    check_parsed_data(data, MAX_DATA_BYTES)


def check_result(result: Mapping[str, Any]) -> None:
    """All rules for a result that was made in this process. ProtocolError if one breaks."""
    check_value(dict(result))
    check_parsed_result(result, MAX_RESULT_BYTES)


def check_parsed_data(data: Mapping[str, Any], body_bytes: int) -> None:
    """The rules that are left once the body of that size has passed as strict JSON."""
    reserved = ", ".join(sorted(RESERVED_KEYS & data.keys()))
    if reserved:
        raise ProtocolError("reserved_key", f"the data have {reserved}; choose other keys")
    _check_size(data, body_bytes, MAX_DATA_BYTES, "data_too_large")


def check_parsed_result(result: Mapping[str, Any], body_bytes: int) -> None:
    """The rules that are left once the body of that size has passed as strict JSON."""
    _check_size(result, body_bytes, MAX_RESULT_BYTES, "result_too_large")


def _check_size(value: Mapping[str, Any], body_bytes: int, limit: int, reason: str) -> None:
    if body_bytes * _GROWTH <= limit:
        return
    size = len(dump(dict(value)))
    if size > limit:
        raise ProtocolError(reason, f"{size} bytes of JSON; at most {limit} pass")
