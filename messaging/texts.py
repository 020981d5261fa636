"""Texts from anywhere, made fit for the wire, the log and the database."""

from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(maxsize=256)  # the commands of a batch have few deadlines among them
def moment_text(moment: datetime) -> str:
    """RFC 3339, in UTC."""
    return moment.astimezone(UTC).isoformat()


def within(text: str, limit: int) -> str:
    """At most `limit` bytes of UTF-8, cut between two characters; no NUL, no lone surrogates."""
    whole = text.replace("\0", "\\x00").encode(errors="backslashreplace")
    return whole[:limit].decode(errors="ignore")


def escaped(text: str, limit: int) -> str:
    """`within` the limit, and with escapes for all that is not printable: it stays one line."""
    if text.isprintable():
        return within(text, limit)
    return within("".join(map(_printable, text[:limit])), limit)


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode()
