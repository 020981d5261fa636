"""What is known of a saga's data at each point of its way. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from orchestrator.contracts.outlines import Layout, Outline
from orchestrator.contracts.schemas import (
    Schema,
    fields_of,
    guessed,
    joined,
    required_of,
    sample_of,
    schema_of,
)
from orchestrator.definition import SagaStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """The fields of an object: all that it may have, and those that it has for certain."""

    known: Mapping[str, Schema] = field(default_factory=dict)
    sure: frozenset[str] = frozenset()
    is_complete: bool = True  # False: it may have others, of which nothing is known

    def chosen(self, payload: Sequence[str] | None) -> Self:
        """What a step's `payload` lets through."""
        if payload is None:
            return self
        known = {key: schema for key, schema in self.known.items() if key in payload}
        return type(self)(
            known=known,
            sure=self.sure & set(payload),
            is_complete=self.is_complete or set(payload) <= set(known),
        )

    def merged(self, later: Self) -> Self:
        """With a later object laid over it."""
        return type(self)(
            known={**self.known, **later.known},
            sure=self.sure | later.sure,
            is_complete=self.is_complete and later.is_complete,
        )

    def either(self, other: Self) -> Self:
        """What can be said when it is the one or the other."""
        names = dict.fromkeys((*self.known, *other.known))
        return type(self)(
            known={
                name: joined(each.known[name] for each in (self, other) if name in each.known)
                for name in names
            },
            sure=self.sure & other.sure,
            is_complete=self.is_complete and other.is_complete,
        )


NOTHING: Final = Fields()
UNKNOWN: Final = Fields(is_complete=False)

Answers = Callable[[SagaStep], Fields]


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A step of a plan, and the data that its commands find."""

    step: SagaStep
    before: Fields  # of the action
    after: Fields  # of the compensation: what later steps have answered may be there as well
    examples: tuple[Mapping[str, Any], ...]  # data that its commands may carry


def of_schema(schema: Schema) -> Fields:
    return Fields(known=dict(fields_of(schema)), sure=required_of(schema))


def of_examples(examples: Iterable[Mapping[str, Any]]) -> Fields:
    """An example with a field shows that it may be there; only all together, that it is."""
    found: Fields | None = None
    for data in examples:
        one = Fields(known={k: guessed(v) for k, v in data.items()}, sure=frozenset(data))
        found = one if found is None else found.either(one)
    return found or UNKNOWN


def input_of(outline: Outline, layout: Layout) -> Fields:
    """The data that a saga with this plan starts with."""
    shown = of_examples(layout.data) if outline.is_exemplary else UNKNOWN
    model = outline.definition.input
    if model is None:
        return shown
    told = of_schema(schema_of(model, sent=False))
    return Fields(known={**shown.known, **told.known}, sure=told.sure)


def passages(outline: Outline, layout: Layout, answers: Answers) -> tuple[Passage, ...]:
    """The steps of one plan in its order; `answers` says what each adds to the data."""
    now = gathered = input_of(outline, layout)
    samples: dict[str, Any] = {}
    gained: dict[str, Any] = {}
    stage, found = -1, []
    for planned, step in zip(layout.plan, layout.steps, strict=True):
        if planned.stage != stage:  # results of one stage are there for the next
            stage, now, samples = planned.stage, gathered, gained
        answer = answers(step)
        gathered = gathered.merged(answer)
        gained = gained | {key: sample_of(answer.known[key]) for key in sorted(answer.sure)}
        found.append((step, now, samples))
    shown = layout.data if outline.is_exemplary else ()
    return tuple(
        _passage(step, before, gathered, [{**data, **results} for data in shown])
        for step, before, results in found
    )


def _passage(
    step: SagaStep, before: Fields, end: Fields, examples: Iterable[Mapping[str, Any]]
) -> Passage:
    """The compensation carries at least what was there before; what has come since, perhaps."""
    after = Fields(
        known={**end.known, **before.known}, sure=before.sure, is_complete=end.is_complete
    )
    return Passage(
        step=step,
        before=before.chosen(step.payload),
        after=after.chosen(step.payload),
        examples=tuple(
            {k: v for k, v in data.items() if step.payload is None or k in step.payload}
            for data in examples
        ),
    )
