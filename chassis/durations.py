"""Durations as people type them: `90`, `90s`, `5m`, `1h30m`, `PT5M`."""

import re
from datetime import timedelta
from typing import Annotated, Final

from pydantic import BeforeValidator

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_SECONDS: Final = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_ISO: Final = re.compile(
    r"P(?:(?P<d>\d+)D)?(?:T(?:(?P<h>\d+)H)?(?:(?P<m>\d+)M)?(?:(?P<s>\d+(?:\.\d+)?)S)?)?", re.ASCII
)
_LONGEST: Final = timedelta(days=3650)
_LEAST_KEPT: Final = timedelta(hours=1)
_NEVER: Final = "never"
_REMEDY: Final = "write seconds (90), units (90s, 5m, 1h30m) or ISO 8601 (PT5M)"


def parse_duration(value: object) -> timedelta:
    """The duration that `value` (text, seconds or already a timedelta) means, else ValueError."""
    if isinstance(value, timedelta):
        return value
    seconds = _seconds(str(value).strip())
    if seconds is None:
        raise ValueError(f"is no duration; {_REMEDY}")
    if seconds > _LONGEST.total_seconds():
        raise ValueError(f"is longer than {_LONGEST.days} days; {_REMEDY}")
    return timedelta(seconds=seconds)


def parse_retention(value: object) -> timedelta | None:
    """How long to keep something; None for `never` and `0`: for ever. Else ValueError.

    An hour is the least: a start that is repeated must still find its saga.
    """
    if value is None or str(value).strip().lower() == _NEVER:
        return None
    duration = parse_duration(value)
    if timedelta() < duration < _LEAST_KEPT:
        raise ValueError("is less than an hour; write 1h or more, or `never` to keep for ever")
    return duration or None


def spoken(duration: timedelta) -> str:
    """A duration as a person would type it: `1h30m`, `20s`, `0s`."""
    rest = round(duration.total_seconds() * 1000)
    words = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, rest = divmod(rest, size)
        if count:
            words.append(f"{count}{unit}")
    return "".join(words) or "0s"


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]


def _seconds(text: str) -> float | None:
    if _SECONDS.fullmatch(text):
        return float(text)
    by_units = _seconds_of_units(text.lower())
    return by_units if by_units is not None else _seconds_of_iso(text.upper())


def _seconds_of_units(text: str) -> float | None:
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _seconds_of_iso(text: str) -> float | None:
    found = _ISO.fullmatch(text)
    if found is None or not any(found.groups()):
        return None
    return sum(float(found[unit]) * _UNITS[unit] for unit in "dhms" if found[unit])
