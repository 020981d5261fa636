"""How the values of the core become JSON and come back, field by field. Pure.

The keys are the names of the fields; moments are ISO 8601, durations are seconds. Keys that
this release does not know are ignored: a newer one may have written them.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from json.encoder import encode_basestring as quoted
from operator import attrgetter
from typing import Any, Final, NamedTuple

from orchestrator.saga.plan import OnTimeout, RetryPolicy
from orchestrator.saga.state import Direction, OutboundKind, StepStatus
from orchestrator.saga.written import Written, json_of

to_text: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False
).encode


def data_text(data: Mapping[str, Any]) -> str:
    """Raises ValueError for a NUL, which could be stored but not be searched for."""
    text = data.json if isinstance(data, Written) else to_text(dict(data))
    if "\\u0000" in text and "\\u0000" in text.replace("\\\\", ""):
        raise ValueError("a NUL character in the saga's data")
    return text


class _Form(NamedTuple):
    """How a field becomes JSON text, and how it comes back from parsed JSON; None: as it is."""

    write: Callable[[Any], str]
    read: Callable[[Any], Any] | None = None


class Shape:
    """The JSON object of a frozen value: its fields, but for those that are None.

    With `omit_zero` 0 and False are left out as well; they must be the fields' defaults.
    """

    def __init__(self, fields: Mapping[str, _Form], *, omit_zero: bool = False) -> None:
        self._values_of = attrgetter(*fields)
        self._writers = [(f'"{name}":', form.write) for name, form in fields.items()]
        self._readers = {name: form.read for name, form in fields.items()}
        self._omitted = (None, 0) if omit_zero else (None,)

    def write(self, value: object) -> str:
        texts = [
            key + write(field)
            for (key, write), field in zip(self._writers, self._values_of(value), strict=True)
            if field or field not in self._omitted
        ]
        return f"{{{','.join(texts)}}}"

    def write_all(self, values: Iterable[object]) -> str:
        """An array of them."""
        return f"[{','.join(map(self.write, values))}]"

    def read(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that this release knows."""
        readers = self._readers
        return {
            name: read(value) if (read := readers[name]) else value
            for name, value in values.items()
            if name in readers
        }


def _word(kind: type[StrEnum]) -> _Form:
    return _Form(quoted, {word.value: word for word in kind}.__getitem__)


@lru_cache(maxsize=4096)  # of a batch nearly all are the same
def moment_text(moment: datetime) -> str:
    return f'"{moment.isoformat()}"'


def _seconds_text(duration: timedelta) -> str:
    return to_text(duration.total_seconds())


def _seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


_ANY: Final = _Form(to_text)
_TEXT: Final = _Form(quoted)
_NUMBER: Final = _Form(int.__repr__)
_MOMENT: Final = _Form(moment_text, datetime.fromisoformat)
_DURATION: Final = _Form(_seconds_text, _seconds)

STEP: Final = Shape(
    {
        "status": _word(StepStatus),
        "attempts": _NUMBER,
        "compensation_attempts": _NUMBER,
        "forgiven": _NUMBER,
        "effect_unknown": _ANY,
        "result": _Form(json_of),
        "error": _TEXT,
        "deadline": _MOMENT,
        "retry_at": _MOMENT,
        "unroutable": _ANY,
        "started_at": _MOMENT,
        "completed_at": _MOMENT,
        "compensation_started_at": _MOMENT,
        "compensated_at": _MOMENT,
    },
    omit_zero=True,
)

FAILURE: Final = Shape({"step": _TEXT, "error": _TEXT, "at": _MOMENT})

OUTBOUND: Final = Shape(
    {
        "kind": _word(OutboundKind),
        "destination": _TEXT,
        "body": _TEXT,
        "cause": _TEXT,
        "step": _TEXT,
        "direction": _word(Direction),
        "attempt": _NUMBER,
        "deadline": _MOMENT,
        "reason": _TEXT,
        "error": _TEXT,
    }
)

_RETRY: Final = Shape(
    {
        "max_attempts": _NUMBER,
        "initial": _DURATION,
        "maximum": _DURATION,
        "multiplier": _ANY,
        "jitter": _ANY,
    }
)


def _retry_from(values: Mapping[str, Any]) -> RetryPolicy:
    return RetryPolicy(**_RETRY.read(values))


_POLICY: Final = _Form(_RETRY.write, _retry_from)

PLANNED: Final = Shape(
    {
        "name": _TEXT,
        "stage": _NUMBER,
        "action": _TEXT,
        "compensation": _TEXT,
        "timeout": _DURATION,
        "retry": _POLICY,
        "compensation_retry": _POLICY,
        "on_timeout": _word(OnTimeout),
        "payload": _Form(to_text, tuple),
        "pivot": _ANY,
        "locked": _ANY,
    }
)
