"""A contract read back from its AsyncAPI document. Raises ConfigurationError: what, and where."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from messaging.contract import DESTINATION, RESERVED_KEYS, Direction
from messaging.errors import ConfigurationError
from orchestrator.contracts.agreements import Agreement, Use
from orchestrator.contracts.document import completed_name
from orchestrator.contracts.fields import NOTHING, UNKNOWN, Fields
from orchestrator.contracts.schemas import fields_of, required_of

Document = Mapping[str, Any]

_MAX_DEPTH: Final = 64


def read_contract(path: Path) -> Document:
    """The document in that file, with its references resolved."""
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"the contract {str(path)!r} cannot be read: {error.strerror}; "
            "`saga contract MODULE` writes one"
        ) from error
    except ValueError as error:
        raise ConfigurationError(f"the contract {str(path)!r} is no JSON: {error}") from error
    version = found.get("asyncapi") if isinstance(found, dict) else None
    if not isinstance(version, str) or not version.startswith("3."):
        raise ConfigurationError(
            f"{str(path)!r} is no AsyncAPI 3 document; `saga contract MODULE` writes one"
        )
    return resolved(found)


def resolved(document: Document) -> Document:
    """The document with each reference within it replaced by what it points at."""
    return _inlined(document, document, 0)  # type: ignore[no-any-return]


def messages_in(document: Document) -> Mapping[str, Any]:
    return document.get("components", {}).get("messages", {})  # type: ignore[no-any-return]


def agreements_in(document: Document) -> tuple[Agreement, ...]:
    """The agreements that the document was written from, as far as others need them."""
    messages = messages_in(document)
    names = [name for name in messages if DESTINATION.fullmatch(name)]
    found = [_agreement(name, messages) for name in sorted(names) if "x-saga" in messages[name]]
    if not found:
        raise ConfigurationError(
            "the contract has no command; write it with `saga contract MODULE`"
        )
    return tuple(found)


def _agreement(name: str, messages: Mapping[str, Any]) -> Agreement:
    message = messages[name]
    try:
        about, payload = message["x-saga"], message["payload"]
        return Agreement(
            destination=name,
            direction=Direction(about["direction"]),
            uses=tuple(_use(each) for each in about["steps"]),
            carries=_fields(payload, is_complete=bool(about["is-complete"])),
            answers=_answers(messages.get(completed_name(name))),
            examples=tuple(_data(each["payload"]) for each in message.get("examples", ())),
        )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(
            f"the contract's message {name} cannot be read ({type(error).__name__}: {error}); "
            "write it anew with `saga contract MODULE`"
        ) from error


def _use(written: Mapping[str, Any]) -> Use:
    return Use(
        saga_type=written["saga-type"],
        step_name=written["step-name"],
        counterpart=written["counterpart"],
    )


def _answers(message: Mapping[str, Any] | None) -> Fields:
    if message is None:
        return UNKNOWN
    result = message["payload"]["properties"].get("result", {})
    is_complete = bool(message.get("x-saga", {}).get("is-complete"))
    return _fields(result, is_complete=is_complete) if result else NOTHING


def _fields(schema: Mapping[str, Any], *, is_complete: bool) -> Fields:
    known = {key: each for key, each in fields_of(schema).items() if key not in RESERVED_KEYS}
    return Fields(known=known, sure=required_of(schema) - RESERVED_KEYS, is_complete=is_complete)


def _data(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: value for key, value in payload.items() if key not in RESERVED_KEYS}


def _inlined(node: Any, root: Any, depth: int) -> Any:
    """With each reference within the document replaced by what it points at."""
    if depth > _MAX_DEPTH:
        return {}
    match node:
        case {"$ref": str(reference)} if reference.startswith("#/"):
            return _inlined(_target(reference, root), root, depth + 1)
        case dict():
            return {key: _inlined(value, root, depth + 1) for key, value in node.items()}
        case list():
            return [_inlined(each, root, depth + 1) for each in node]
        case _:
            return node


def _target(reference: str, root: Any) -> Any:
    found = root
    for part in reference[2:].split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, dict) or name not in found:
            raise ConfigurationError(f"the contract points at {reference!r}, and it is not there")
        found = found[name]
    return found
