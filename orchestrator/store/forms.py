"""How the values of the core become JSON and come back, field by field. Pure.

The keys are the names of the fields; moments are ISO 8601, durations are seconds. Keys that
this release does not know are ignored: a newer one may have written them.
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final, NamedTuple

from orchestrator.saga.plan import OnTimeout, RetryPolicy
from orchestrator.saga.state import Direction, OutboundKind, StepStatus
from orchestrator.saga.written import Written

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
    """How a field becomes JSON and comes back; None: as it is."""

    write: Callable[[Any], Any] | None = None
    read: Callable[[Any], Any] | None = None


class Shape:
    """The JSON object of a frozen value: its fields, but for those that are None.

    With `omit_zero` 0 and False are left out as well; they must be the fields' defaults.
    """

    def __init__(self, fields: Mapping[str, _Form], *, omit_zero: bool = False) -> None:
        self._values_of = attrgetter(*fields)
        self._writers = [(name, form.write) for name, form in fields.items()]
        self._readers = {name: form.read for name, form in fields.items()}
        self._omit_zero = omit_zero

    def write(self, value: object) -> dict[str, Any]:
        omitted = int if self._omit_zero else ()
        return {
            name: write(field) if write else field
            for (name, write), field in zip(self._writers, self._values_of(value), strict=True)
            if field or (field is not None and not isinstance(field, omitted))
        }

    def read(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that this release knows."""
        readers = self._readers
        return {
            name: read(value) if (read := readers[name]) else value
            for name, value in values.items()
            if name in readers
        }


def _word(kind: type[StrEnum]) -> _Form:
    return _Form(None, {word.value: word for word in kind}.__getitem__)


def _seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


_AS_IS: Final = _Form()
_MOMENT: Final = _Form(datetime.isoformat, datetime.fromisoformat)
_DURATION: Final = _Form(timedelta.total_seconds, _seconds)

STEP: Final = Shape(
    {
        "status": _word(StepStatus),
        "attempts": _AS_IS,
        "compensation_attempts": _AS_IS,
        "forgiven": _AS_IS,
        "effect_unknown": _AS_IS,
        "result": _Form(dict),
        "error": _AS_IS,
        "deadline": _MOMENT,
        "retry_at": _MOMENT,
        "unroutable": _AS_IS,
        "started_at": _MOMENT,
        "completed_at": _MOMENT,
        "compensation_started_at": _MOMENT,
        "compensated_at": _MOMENT,
    },
    omit_zero=True,
)

FAILURE: Final = Shape({"step": _AS_IS, "error": _AS_IS, "at": _MOMENT})

OUTBOUND: Final = Shape(
    {
        "kind": _word(OutboundKind),
        "destination": _AS_IS,
        "body": _AS_IS,
        "cause": _AS_IS,
        "step": _AS_IS,
        "direction": _word(Direction),
        "attempt": _AS_IS,
        "deadline": _MOMENT,
        "reason": _AS_IS,
        "error": _AS_IS,
    }
)

_RETRY: Final = Shape(
    {
        "max_attempts": _AS_IS,
        "initial": _DURATION,
        "maximum": _DURATION,
        "multiplier": _AS_IS,
        "jitter": _AS_IS,
    }
)


def _retry_from(values: Mapping[str, Any]) -> RetryPolicy:
    return RetryPolicy(**_RETRY.read(values))


_POLICY: Final = _Form(_RETRY.write, _retry_from)

PLANNED: Final = Shape(
    {
        "name": _AS_IS,
        "stage": _AS_IS,
        "action": _AS_IS,
        "compensation": _AS_IS,
        "timeout": _DURATION,
        "retry": _POLICY,
        "compensation_retry": _POLICY,
        "on_timeout": _word(OnTimeout),
        "payload": _Form(list, tuple),
        "pivot": _AS_IS,
    }
)
