"""What a saga author may write, value by value. Raises DefinitionError: thing, value, remedy.

An author's mistakes are not bound by annotations, so every value comes as `object`.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from messaging.contract import DESTINATION, RESERVED_KEYS
from messaging.errors import DefinitionError
from orchestrator.saga.plan import OnExhausted, OnTimeout, PlannedStep, RetryPolicy

MAX_TIMEOUT: Final = timedelta(days=3650)
MAX_NAME: Final = 100
MAX_ATTEMPTS: Final = 1000
_MAX_SHOWN: Final = 120


def shown(value: object) -> str:
    """What an author wrote, on one line and not without end. Never raises."""
    try:
        text = repr(value)
    except Exception:  # an integer of thousands of digits, or the author's own __repr__
        return f"a {type(value).__name__}"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def check_saga_type(where: str, value: object) -> None:
    """It becomes part of routing keys, which have 255 bytes."""
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_NAME:
        raise DefinitionError(
            f"{where}.saga_type is {shown(value)}; give it a name of 1 to {MAX_NAME} characters"
        )
    if not (value.isascii() and value.isidentifier()):
        raise DefinitionError(
            f"{where}.saga_type is {shown(value)}; use letters, digits and underscores, "
            "not beginning with a digit"
        )


def check_on_exhausted(where: str, value: object) -> None:
    if not isinstance(value, str) or value not in set(OnExhausted):
        raise DefinitionError(
            f'{where}.on_compensation_exhausted is {shown(value)}; use "halt" or "continue"'
        )


def checked_timeouts(where: str, value: object) -> Mapping[str, timedelta]:
    if not isinstance(value, Mapping):
        raise DefinitionError(
            f"{where}.STEP_TIMEOUTS is {shown(value)}; use a dict of timedeltas by step name"
        )
    for step, timeout in value.items():
        checked_timeout(f"{where}.STEP_TIMEOUTS[{shown(step)}]", timeout)
    return value


def check_step_name(where: str, value: object) -> None:
    """It stands in messages, headers, the database and on screens."""
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_NAME:
        raise DefinitionError(
            f"{where} has a step named {shown(value)}; use 1 to {MAX_NAME} characters"
        )
    if not value.isprintable() or value != value.strip():
        raise DefinitionError(
            f"{where} has a step named {shown(value)}; use printable characters, "
            "and no space at either end"
        )


def checked_destination(where: str, field: str, value: object) -> str:
    if not isinstance(value, str) or not DESTINATION.fullmatch(value):
        raise DefinitionError(
            f"{where}: {field} is {shown(value)}; write it as Participant.Command, "
            "for example InventoryService.ReserveItems"
        )
    return value


def checked_compensation(where: str, value: object) -> str | None:
    return None if value is None else checked_destination(where, "compensation", value)


def checked_timeout(where: str, value: object) -> timedelta:
    if not isinstance(value, timedelta) or not timedelta(0) < value <= MAX_TIMEOUT:
        raise DefinitionError(
            f"{where}: timeout is {shown(value)}; use a timedelta above zero, "
            f"at most {MAX_TIMEOUT.days} days"
        )
    return value


def checked_on_timeout(where: str, value: object) -> OnTimeout:
    if not isinstance(value, str) or value not in set(OnTimeout):
        raise DefinitionError(
            f'{where}: on_timeout is {shown(value)}; use "compensate" or "resend"'
        )
    return OnTimeout(value)


def checked_payload(where: str, value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise DefinitionError(f"{where}: payload is {shown(value)}; list the keys as strings")
    keys: tuple[Any, ...] = tuple(value)
    if not all(isinstance(key, str) for key in keys):
        raise DefinitionError(f"{where}: payload is {shown(value)}; list the keys as strings")
    reserved = ", ".join(sorted(RESERVED_KEYS & set(keys)))
    if reserved:
        raise DefinitionError(
            f"{where}: payload names {reserved}; every command has that already: leave it out"
        )
    return keys


def check_pivot_flag(where: str, value: object) -> None:
    if not isinstance(value, bool):
        raise DefinitionError(f"{where}: pivot is {shown(value)}; use True or False")


def check_models(where: str, **models: object) -> None:
    """Pydantic models, known by what is asked of them: workers need not load the library."""
    for field, value in models.items():
        if value is None or (isinstance(value, type) and hasattr(value, "model_json_schema")):
            continue
        raise DefinitionError(f"{where}: {field} is {shown(value)}; use a pydantic model's class")


def check_examples(where: str, value: object) -> Iterable[Mapping[str, Any]]:
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    if not is_list or not all(isinstance(each, Mapping) for each in value):  # type: ignore[attr-defined]
        raise DefinitionError(
            f"{where}.examples is {shown(value)}; list the data of sagas, each a dict"
        )
    return value  # type: ignore[return-value]


def checked_policy(where: str, field: str, value: object) -> RetryPolicy | None:
    if value is None:
        return None
    if not isinstance(value, RetryPolicy):
        raise DefinitionError(f"{where}: {field} is {shown(value)}; use RetryPolicy(…)")
    _check_number(f"{where}: {field}.max_attempts", value.max_attempts, int, MAX_ATTEMPTS)
    _check_number(f"{where}: {field}.multiplier", value.multiplier, int | float, 100)
    _check_pauses(f"{where}: {field}", value.initial, value.maximum)
    if not isinstance(value.jitter, bool):
        raise DefinitionError(
            f"{where}: {field}.jitter is {shown(value.jitter)}; use True or False"
        )
    return value


def check_order(saga_type: str, plan: tuple[PlannedStep, ...]) -> None:
    """Names are unique; at most one pivot, alone in its stage, and nothing to undo after it."""
    seen: set[str] = set()
    for step in plan:
        if step.name in seen:
            raise DefinitionError(f"{saga_type} has two steps named {step.name!r}; rename one")
        seen.add(step.name)
    pivots = [step for step in plan if step.pivot]
    if len(pivots) > 1:
        names = ", ".join(step.name for step in pivots)
        raise DefinitionError(f"{saga_type} has more than one pivot: {names}; keep one")
    for pivot in pivots:
        _check_around_pivot(saga_type, pivot, plan)


def _check_around_pivot(saga_type: str, pivot: PlannedStep, plan: tuple[PlannedStep, ...]) -> None:
    for step in plan:
        if step.stage == pivot.stage and step is not pivot:
            raise DefinitionError(
                f"{saga_type}.{pivot.name} is a pivot beside {step.name}; a pivot stands alone "
                "in its stage"
            )
        if step.stage > pivot.stage and step.compensation is not None:
            raise DefinitionError(
                f"{saga_type}.{step.name} has a compensation after the pivot {pivot.name}; "
                "nothing is compensated there: remove it"
            )


def _check_number(what: str, value: object, kind: Any, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, kind) or not 1 <= value <= most:
        raise DefinitionError(f"{what} is {shown(value)}; use 1 to {most}")


def _check_pauses(where: str, initial: object, maximum: object) -> None:
    for name, value in (("initial", initial), ("maximum", maximum)):
        if not isinstance(value, timedelta) or not timedelta(0) < value <= MAX_TIMEOUT:
            raise DefinitionError(
                f"{where}.{name} is {shown(value)}; use a timedelta above zero, "
                f"at most {MAX_TIMEOUT.days} days"
            )
    if isinstance(initial, timedelta) and isinstance(maximum, timedelta) and initial > maximum:
        raise DefinitionError(
            f"{where}.initial is {initial}, more than its maximum of {maximum}; make it shorter"
        )
