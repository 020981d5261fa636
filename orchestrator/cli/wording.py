"""Texts, moments and durations as people read them. Pure."""

from datetime import datetime, timedelta, tzinfo

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def clean(text: str) -> str:
    """One line, with whatever a terminal would not print, or would obey, as its escape."""
    line = " ".join(text.split())
    if line.isprintable():
        return line
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in line
    )


def shortened(text: str, limit: int) -> str:
    """At most `limit` characters of it."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def span(duration: timedelta, units: int = 2) -> str:
    """`0.8 s`, `12 s`, `4 min`, `1 h 5 min`, `3 d 2 h`: that many units at most."""
    seconds = abs(duration.total_seconds())
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for index, (size, unit) in enumerate(_UNITS):
        if whole >= size:
            count, rest = divmod(whole, size)
            smaller = _UNITS[index + 1] if index + 1 < len(_UNITS) else None
            more = rest // smaller[0] if smaller and count < 10 and units > 1 else 0
            return f"{count} {unit} {more} {smaller[1]}" if smaller and more else f"{count} {unit}"
    return "0 s"


def ago(moment: datetime, now: datetime, units: int = 2) -> str:
    """`4 min ago`, or `in 4 min` for what is still to come."""
    if moment <= now:
        return f"{span(now - moment, units)} ago"
    return f"in {span(moment - now, units)}"


def clock(moment: datetime, now: datetime, zone: tzinfo | None = None) -> str:
    """The time of day, with its date if that is another one than today's; local by default."""
    local, today = moment.astimezone(zone), now.astimezone(zone).date()
    return f"{local:%H:%M:%S}" if local.date() == today else f"{local:%Y-%m-%d %H:%M:%S}"


def stamp(moment: datetime, zone: tzinfo | None = None) -> str:
    """The whole of it, with its zone."""
    local = moment.astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M:%S} {local:%z}"


def times(count: int) -> str:
    """`never`, `once`, `3 times`."""
    return {0: "never", 1: "once"}.get(count, f"{count} times")


def counted(count: int, noun: str) -> str:
    """`1 saga`, `2 sagas`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
