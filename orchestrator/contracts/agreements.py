"""What orchestrator and participants agree on, command by command, drawn from definitions. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from messaging.contract import RESERVED_KEYS, Direction, participant_of
from messaging.errors import DefinitionError
from orchestrator.contracts.fields import UNKNOWN, Fields, Passage, of_schema, passages
from orchestrator.contracts.handled import Handled
from orchestrator.contracts.outlines import Outline
from orchestrator.contracts.schemas import Schema, schema_of
from orchestrator.definition import SagaStep

_MAX_EXAMPLES: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A step that sends the command."""

    saga_type: str
    step_name: str
    counterpart: str | None  # the command of the other direction


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """One command: what it carries beside the reserved keys, and what is answered."""

    destination: str
    direction: Direction
    uses: tuple[Use, ...]
    carries: Fields
    answers: Fields  # of an action; a compensation answers nothing that is kept
    examples: tuple[Mapping[str, Any], ...] = ()

    @property
    def participant(self) -> str:
        return participant_of(self.destination)

    @property
    def places(self) -> str:
        """The steps that send it, for people."""
        return ", ".join(f"{use.saga_type}.{use.step_name}" for use in self.uses)


def agreements_of(
    outlines: Iterable[Outline], handled: Mapping[str, Handled] | None = None
) -> tuple[Agreement, ...]:
    """The agreements of all steps in all plans, by destination.

    What a step does not declare is taken from the handlers, where they are known. Raises
    DefinitionError for a definition without any plan, and for a command of two directions.
    """
    found: dict[str, Agreement] = {}
    for each in _of_every_plan(outlines, handled or {}):
        known = found.get(each.destination)
        found[each.destination] = _both(known, each) if known else each
    return tuple(found[name] for name in sorted(found))


def _of_every_plan(
    outlines: Iterable[Outline], handled: Mapping[str, Handled]
) -> Iterator[Agreement]:
    for outline in outlines:
        if outline.problem:
            raise DefinitionError(outline.problem)
        for layout in outline.layouts:
            for passage in passages(outline, layout, lambda step: answers_of(step, handled)):
                yield from _of_step(outline.saga_type, passage, handled)


def answers_of(step: SagaStep, handled: Mapping[str, Handled]) -> Fields:
    """What the step's action adds to the data: as declared, or as its handler says."""
    if step.result is not None:
        return of_schema(schema_of(step.result, sent=False))
    known = handled.get(step.action)
    return known.answers if known else UNKNOWN


def _of_step(
    saga_type: str, passage: Passage, handled: Mapping[str, Handled]
) -> Iterator[Agreement]:
    step = passage.step
    yield Agreement(
        destination=step.action,
        direction=Direction.ACTION,
        uses=(Use(saga_type=saga_type, step_name=step.name, counterpart=step.compensation),),
        carries=_carried(passage.before, step, handled.get(step.action)),
        answers=answers_of(step, handled),
        examples=passage.examples,
    )
    if step.compensation is not None:
        yield Agreement(
            destination=step.compensation,
            direction=Direction.COMPENSATION,
            uses=(Use(saga_type=saga_type, step_name=step.name, counterpart=step.action),),
            carries=_described(passage.after, handled.get(step.compensation)),
            answers=answers_of(step, handled),
            examples=passage.examples,
        )


def _carried(before: Fields, step: SagaStep, handler: Handled | None) -> Fields:
    if step.command is None:
        return _described(before, handler)
    return of_schema(_without_reserved(schema_of(step.command, sent=False)))


def _described(carried: Fields, handler: Handled | None) -> Fields:
    """What examples only hint at, the handler's model knows; and while not all is known, what
    it cannot do without is there, or sagas would fail."""
    if handler is None or handler.accepts is None:
        return carried
    accepts = of_schema(_without_reserved(handler.accepts))
    if carried.is_complete:
        better = {name: accepts.known.get(name, has) for name, has in carried.known.items()}
        return replace(carried, known=better)
    return Fields(
        known={**carried.known, **accepts.known},
        sure=carried.sure | accepts.sure,
        is_complete=False,
    )


def _without_reserved(schema: Schema) -> Schema:
    fields = {k: v for k, v in schema.get("properties", {}).items() if k not in RESERVED_KEYS}
    needed = [name for name in schema.get("required", ()) if name not in RESERVED_KEYS]
    return {**schema, "properties": fields, "required": needed}


def _both(one: Agreement, other: Agreement) -> Agreement:
    if one.direction is not other.direction:
        raise DefinitionError(
            f"{one.destination} is the {one.direction} of {one.places} and the "
            f"{other.direction} of {other.places}; a command has one direction: rename one"
        )
    examples = [*one.examples, *(each for each in other.examples if each not in one.examples)]
    return replace(
        one,
        uses=(*one.uses, *(use for use in other.uses if use not in one.uses)),
        carries=one.carries.either(other.carries),
        answers=one.answers.either(other.answers),
        examples=tuple(examples[:_MAX_EXAMPLES]),
    )


def schema_for(fields: Fields) -> Schema:
    """An object with these fields, which may always have more."""
    schema: dict[str, Any] = {"type": "object", "properties": dict(fields.known)}
    if fields.sure:
        schema["required"] = sorted(fields.sure)
    return schema


def unmet(outline: Outline, handled: Mapping[str, Handled] | None = None) -> Iterator[str]:
    """What the definition's own steps promise and nobody gives, a sentence for each."""
    known = handled or {}
    for layout in outline.layouts:
        for passage in passages(outline, layout, lambda step: answers_of(step, known)):
            yield from _unmet_by(outline.saga_type, passage)


def _unmet_by(saga_type: str, passage: Passage) -> Iterator[str]:
    step, before = passage.step, passage.before
    if not before.is_complete:
        return
    where = f"{saga_type}.{step.name}"
    if step.payload is not None:
        for key in step.payload:
            if key not in before.known and key not in passage.after.known:
                yield f"{where}: payload lists {key!r}, which neither the data nor a result has"
    if step.command is not None:
        needed = of_schema(schema_of(step.command, sent=False)).sure
        for key in sorted(needed - before.sure - RESERVED_KEYS):
            when = "not always" if key in before.known else "never"
            yield f"{where}: its command needs {key!r}, which the data before it {when} have"
