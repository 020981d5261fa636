"""Whether Python participants keep a contract, as far as their handlers show. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from messaging.contract import RESERVED_KEYS, Direction, participant_of
from orchestrator.contracts.agreements import Agreement
from orchestrator.contracts.handled import Handled
from orchestrator.contracts.schemas import Schema


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"  # cannot be seen from here, or harms nobody
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. `field` names what is wrong, if it is one field."""

    level: Level
    destination: str
    check: str  # one word: "handler", "command", "result"
    detail: str
    field: str | None = None


_SCALARS: Final = frozenset({"string", "number", "integer", "boolean"})


def verified(
    agreements: Sequence[Agreement], handled: Mapping[str, Handled], participants: Sequence[str]
) -> tuple[Finding, ...]:
    """What there is to say about these participants, the contract's commands in order."""
    return tuple(_findings(agreements, handled, participants))


def is_kept(findings: Sequence[Finding]) -> bool:
    return all(each.level is not Level.PROBLEM for each in findings)


def _findings(
    agreements: Sequence[Agreement], handled: Mapping[str, Handled], participants: Sequence[str]
) -> Iterator[Finding]:
    wanted = {each.destination for each in agreements}
    for name in sorted(set(participants) - {each.participant for each in agreements}):
        detail = f"no saga of the contract has a command for {name}"
        yield Finding(level=Level.WARNING, destination=name, check="handler", detail=detail)
    for name in sorted({each.participant for each in agreements} - set(participants)):
        detail = f"{name} is not among these modules, and was not looked at"
        yield Finding(level=Level.WARNING, destination=name, check="handler", detail=detail)
    for agreement in agreements:
        if agreement.participant in participants:
            yield from of_command(agreement, handled.get(agreement.destination))
    for name in sorted(handled):
        if name not in wanted and participant_of(name) in {each.participant for each in agreements}:
            detail = "no step of the contract sends it"
            yield Finding(level=Level.WARNING, destination=name, check="handler", detail=detail)


def of_command(agreement: Agreement, handler: Handled | None) -> Iterator[Finding]:
    """What there is to say about one command: the problems, or that it is well."""
    found = [*_of_handler(agreement, handler)]
    if handler is not None and not found:
        found = [*_of_fields(agreement, handler), *_of_result(agreement, handler)]
        if not found:
            yield _finding(agreement, Level.OK, "handler", f"handles the {agreement.direction}")
    yield from found


def _of_handler(agreement: Agreement, handler: Handled | None) -> Iterator[Finding]:
    if handler is None:
        detail = f"there is no handler for the {agreement.direction} of {agreement.places}"
        yield _finding(agreement, Level.PROBLEM, "handler", detail)
    elif handler.direction.value != agreement.direction.value:
        detail = (
            f"the handler is registered as {handler.direction}, and {agreement.places} sends it "
            f"as {agreement.direction}"
        )
        yield _finding(agreement, Level.PROBLEM, "handler", detail)


def _of_fields(agreement: Agreement, handler: Handled) -> Iterator[Finding]:
    """What the handler's model needs must be in every command; kinds must fit."""
    carries = agreement.carries
    for field in sorted(handler.needs - carries.sure):
        if field in carries.known:
            detail = f"needs {field!r}, which not every command carries"
            yield _finding(agreement, Level.PROBLEM, "command", detail, field)
        elif carries.is_complete:
            detail = f"needs {field!r}, which no command carries"
            yield _finding(agreement, Level.PROBLEM, "command", detail, field)
        else:
            detail = f"needs {field!r}; nobody has said whether it is carried: give examples"
            yield _finding(agreement, Level.WARNING, "command", detail, field)
    for field, accepted in _accepted(handler).items():
        if (why := _misfit(carries.known.get(field, {}), accepted)) is not None:
            yield _finding(agreement, Level.PROBLEM, "command", f"{field!r} {why}", field)
    if handler.needs <= carries.sure:  # else it is said already
        yield from _of_examples(agreement, handler)


def _of_examples(agreement: Agreement, handler: Handled) -> Iterator[Finding]:
    for number, data in enumerate(agreement.examples, 1):
        use = agreement.uses[0]
        about: dict[str, Any] = {"saga_id": "example", "step_name": use.step_name}
        if agreement.direction is Direction.COMPENSATION:
            about["original_result"] = None
        if (refusal := handler.refusal_of({**data, **about})) is not None:
            detail = f"refuses example {number}: {refusal}"
            field = refusal.partition(":")[0].partition(".")[0]
            yield _finding(agreement, Level.PROBLEM, "command", detail, field)


def _of_result(agreement: Agreement, handler: Handled) -> Iterator[Finding]:
    """What the contract's answer always has, the handler's result must have."""
    if agreement.direction is Direction.COMPENSATION:
        return
    answers = handler.answers
    for field in sorted(agreement.answers.sure - answers.sure):
        if not answers.is_complete and field not in answers.known:
            detail = f"shall answer {field!r}; the handler's annotation does not say what it does"
            yield _finding(agreement, Level.WARNING, "result", detail, field)
        else:
            how = "not always" if field in answers.known else "never"
            detail = f"shall answer {field!r}, and {how} does"
            yield _finding(agreement, Level.PROBLEM, "result", detail, field)
    for field, answered in answers.known.items():
        if (why := _misfit(answered, agreement.answers.known.get(field, {}))) is not None:
            yield _finding(agreement, Level.PROBLEM, "result", f"result {field!r} {why}", field)


def _accepted(handler: Handled) -> Mapping[str, Schema]:
    fields = (handler.accepts or {}).get("properties", {})
    return {name: schema for name, schema in fields.items() if name not in RESERVED_KEYS}


def _misfit(given: Schema, wanted: Schema) -> str | None:
    """Why the one cannot be taken for the other, where both say of what kind they are.

    Texts and numbers are not told apart: models turn the one into the other.
    """
    has, takes = _kinds(given), _kinds(wanted)
    if not has or not takes or has & takes:
        return None
    return f"is {_either(given)}, and {_either(wanted)} is expected"


def _kinds(schema: Schema) -> frozenset[str]:
    """`object`, `array`, `scalar`; empty if nothing is said, or that it may be null."""
    types = _types(schema) - {"null"}
    return frozenset("scalar" if each in _SCALARS else each for each in types)


def _types(schema: Schema) -> frozenset[str]:
    parts = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    if parts:
        within = [_types(part) for part in parts]
        return frozenset().union(*within) if all(within) else frozenset()
    kind = schema.get("type")
    return frozenset(kind if isinstance(kind, list) else [kind] if kind else ())


def _either(schema: Schema) -> str:
    return " or ".join(sorted(_types(schema)))


def _finding(
    agreement: Agreement, level: Level, check: str, detail: str, field: str | None = None
) -> Finding:
    return Finding(
        level=level, destination=agreement.destination, check=check, detail=detail, field=field
    )
