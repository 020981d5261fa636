"""What Python participants accept and answer, read off their handlers."""

import json
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError

from messaging.contract import RESERVED_KEYS, Direction
from orchestrator.contracts.fields import NOTHING, UNKNOWN, Fields, of_schema
from orchestrator.contracts.schemas import Schema, schema_of
from participants.outcome import LaterType
from participants.participant import Participant
from participants.signatures import Handler


@dataclass(frozen=True, slots=True, kw_only=True)
class Handled:
    """One handler of a participant, as the other side sees it."""

    destination: str
    direction: Direction
    model: type[BaseModel] | None  # None: it takes whatever comes
    accepts: Schema | None
    answers: Fields

    @property
    def needs(self) -> frozenset[str]:
        """The fields without which it refuses a command."""
        if self.model is None:
            return frozenset()
        fields = self.model.model_fields.items()
        names = {each.alias or name for name, each in fields if each.is_required()}
        return frozenset(names - RESERVED_KEYS)

    def refusal_of(self, body: Mapping[str, Any]) -> str | None:
        """Why the model would refuse such a command, field by field; None if it would not."""
        if self.model is None:
            return None
        try:
            self.model.model_validate_json(json.dumps(dict(body)))  # as the handler reads it
        except ValidationError as error:
            told = error.errors(include_url=False, include_context=False, include_input=False)
            return "; ".join(f"{_place(each['loc'])}: {each['msg']}" for each in told)
        return None


def handled_by(hosted: Iterable[object]) -> Mapping[str, Handled]:
    """Every handler of commands, by its destination. What takes no commands has none."""
    participants = [each for each in hosted if isinstance(each, Participant)]
    return {
        f"{participant.name}.{name}": _handled(f"{participant.name}.{name}", handler)
        for participant in participants
        for name, handler in participant.handlers.items()
    }


def _handled(destination: str, handler: Handler) -> Handled:
    return Handled(
        destination=destination,
        direction=handler.direction,
        model=handler.model,
        accepts=schema_of(handler.model, sent=False) if handler.model else None,
        answers=_answers(handler),
    )


def _answers(handler: Handler) -> Fields:
    """From the annotation of what the function returns; without one nothing is known."""
    try:
        returned = get_type_hints(handler.function).get("return", Any)
    except (NameError, AttributeError, TypeError):
        return UNKNOWN
    found: list[Fields] = []
    for kind in _kinds(returned):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found.append(of_schema(schema_of(kind, sent=True)))
        elif kind is type(None):
            found.append(NOTHING)
        else:
            found.append(UNKNOWN)
    return _any_of(found)


def _any_of(found: list[Fields]) -> Fields:
    first, *others = found
    for each in others:
        first = first.either(each)
    return first


def _kinds(annotation: Any) -> list[Any]:
    """The kinds of a union; what is answered later is known by the others, if at all."""
    if get_origin(annotation) in {Union, types.UnionType}:
        kinds = [each for each in get_args(annotation) if each is not LaterType]
        return kinds or [type(None)]
    return [object if annotation is LaterType else annotation]


def _place(loc: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in loc) or "command"
