"""By which key a call of an idempotent step is known again: from its arguments."""

import hashlib
import inspect
import string
from collections.abc import Callable, Mapping
from typing import Any, Final

from messaging.errors import DefinitionError, ProtocolError
from messaging.strict_json import dump

Key = str | Callable[..., str]
"""`"order-{order_id}"`, or a function that takes arguments by these names."""

MAX_KEY: Final = 500


def check_template(name: str, key: Key | None, function: Callable[..., Any]) -> None:
    """Raises DefinitionError for a text that names what the function does not take."""
    if not isinstance(key, str):
        return
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(key) if field is not None]
    except ValueError as error:
        raise DefinitionError(f"{name}: the key {key!r} cannot be read: {error}") from error
    known = inspect.signature(function).parameters
    unknown = [field for field in fields if _first(field) not in known]
    if unknown or not fields:
        named = ", ".join(unknown) or "none of them"
        raise DefinitionError(
            f"{name}: the key {key!r} names {named}; its parameters are {', '.join(known)}"
        )


def key_for(name: str, key: Key | None, arguments: Mapping[str, Any]) -> str:
    """The key of a call with these arguments, the session apart."""
    if key is None:
        return _digest(name, arguments)
    made = key.format(**arguments) if isinstance(key, str) else key(**_wanted(key, arguments))
    return checked_key(name, made)


def checked_key(name: str, key: object) -> str:
    if not isinstance(key, str) or not 1 <= len(key) <= MAX_KEY or "\0" in key:
        raise DefinitionError(
            f"the key of {name} is {key!r}; use a text of 1 to {MAX_KEY} characters"
        )
    return key


def _digest(name: str, arguments: Mapping[str, Any]) -> str:
    try:
        written = dump(dict(sorted(arguments.items())))
    except ProtocolError as error:
        raise DefinitionError(
            f"{name} makes its key of its arguments, and they are no JSON: {error.detail};"
            ' name some of them, for example key="order-{order_id}"'
        ) from error
    return hashlib.sha256(written).hexdigest()


def _wanted(key: Callable[..., str], arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Those that the function has parameters for."""
    parameters = inspect.signature(key).parameters
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values()):
        return arguments
    return {name: value for name, value in arguments.items() if name in parameters}


def _first(field: str) -> str:
    """Of `order.id` or `items[0]`: the parameter."""
    return field.partition(".")[0].partition("[")[0]
