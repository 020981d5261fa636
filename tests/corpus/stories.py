"""What is said to one saga, in turn, and where it is to end: the corpus's abuse of the protocol.

Each story begins with a start of `Story` with its own id. Its messages follow, each an answer for
a step (`step`, and fields of the body), a start with other `data`, or whatever `headers` and
`properties` make of them; null leaves a field or a property out.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from messaging.contract import StartType
from tests.corpus.files import load, text_of

SAGA_TYPE: Final = "Story"
_ABOUT_A_MESSAGE: Final = frozenset({"type", "step", "headers", "properties", "data"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One message; its properties are named as the client library names them."""

    is_start: bool
    body: bytes
    properties: Mapping[str, Any]
    headers: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What is said about the saga `saga_id`, and what is to come of it."""

    name: str
    saga_id: str
    messages: tuple[Said, ...]
    state: str
    letters: frozenset[str]  # the reasons of the dead letters about it
    perhaps: frozenset[str]  # further ones that depend on who is faster
    late: Sequence[str]  # kinds of late replies that are counted


def stories(user: str, prefix: str = "story-") -> tuple[Story, ...]:
    """All of them, told by a user of the broker, each about a saga whose id has that prefix."""
    return tuple(
        _story(spec, f"{prefix}{number}", user) for number, spec in enumerate(load("stories"))
    )


def start_of(story: Story) -> Said:
    """The start with which it begins."""
    return _start(story.saga_id, {"data": {}}, "-start")


def _story(spec: Mapping[str, Any], saga_id: str, user: str) -> Story:
    return Story(
        name=spec["name"],
        saga_id=saga_id,
        messages=tuple(_messages(spec["messages"], saga_id, user)),
        state=spec["state"],
        letters=frozenset(spec.get("letters", ())),
        perhaps=frozenset(spec.get("perhaps", ())),
        late=tuple(spec.get("late", ())),
    )


def _messages(specs: Sequence[Mapping[str, Any]], saga_id: str, user: str) -> Iterator[Said]:
    for number, spec in enumerate(specs):
        if spec["type"] == StartType.START:
            yield _start(saga_id, spec, f"-{number}")
        else:
            yield _answer(saga_id, spec, f"-{number}", user)


def _start(saga_id: str, spec: Mapping[str, Any], suffix: str) -> Said:
    body = {"saga_type": SAGA_TYPE, "saga_id": saga_id, "data": spec["data"]}
    properties = {"type": StartType.START.value, "message_id": f"{saga_id}{suffix}"}
    return Said(is_start=True, body=_json(body), properties=properties, headers={})


def _answer(saga_id: str, spec: Mapping[str, Any], suffix: str, user: str) -> Said:
    said = {key: _value(value) for key, value in spec.items() if key not in _ABOUT_A_MESSAGE}
    properties = {
        "type": spec["type"],
        "message_id": f"{saga_id}{suffix}",
        "user_id": user,
        **spec.get("properties", {}),
    }
    return Said(
        is_start=False,
        body=_json({"saga_id": saga_id, "step_name": spec["step"], **said}),
        properties={key: value for key, value in properties.items() if value is not None},
        headers=spec.get("headers", {}),
    )


def _value(value: Any) -> Any:
    """Long texts are written as they are everywhere in the corpus."""
    match value:
        case {"repeat": _}:
            return text_of(value)
        case dict():
            return {key: _value(each) for key, each in value.items()}
        case _:
            return value


def _json(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body).encode()
