"""JSON objects from the command line: as text, from a file, or from standard input."""

import sys
from pathlib import Path
from typing import Any, Final

import typer

_MAX_READ: Final = 8 * 1024 * 1024  # the contract allows less; the check of that says how much


def json_object(text: str, option: str) -> dict[str, Any]:
    """The object that `JSON`, `@FILE` or `-` stands for. Raises typer.BadParameter."""
    from messaging.errors import ProtocolError
    from messaging.strict_json import parse_object

    raw, origin = _read(text, option)
    try:
        return parse_object(raw, limit=_MAX_READ)
    except ProtocolError as error:
        raise _wrong(option, f"{origin}: {error.detail.replace('the body', 'it')}") from error


def _read(text: str, option: str) -> tuple[bytes, str]:
    """The bytes, and what to call them in a message."""
    if text == "-":
        return sys.stdin.buffer.read(_MAX_READ + 1), "standard input"
    if not text.startswith("@"):
        return text.encode(errors="surrogateescape"), repr(_beginning(text))
    try:
        with Path(text[1:]).open("rb") as file:
            return file.read(_MAX_READ + 1), text
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise _wrong(
            option, f"{text} cannot be read: {why}; name a file, or - for stdin"
        ) from error


def _beginning(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"


def _wrong(option: str, problem: str) -> typer.BadParameter:
    return typer.BadParameter(problem, param_hint=f"'{option}'")
