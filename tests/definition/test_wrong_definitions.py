"""What is wrong with a definition is refused by a message with the thing, value and remedy."""

import math
import re
from datetime import timedelta
from typing import Any

import pytest
from definitions import define

from messaging.errors import DefinitionError
from orchestrator.definition import RetryPolicy, SagaOrchestrator, SagaStep
from orchestrator.planning import plan_for
from orchestrator.registry import Registry

SECOND = timedelta(seconds=1)
OK = SagaStep("book", "Flights.Book", "Flights.Cancel")


def book(**more: Any) -> SagaStep:
    values = {"name": "book", "action": "Flights.Book", "compensation": "Flights.Cancel", **more}
    return SagaStep(**values)


def policy(**values: Any) -> SagaStep:
    return book(retry=RetryPolicy(**values))


def refusal_of(definition: SagaOrchestrator) -> str:
    with pytest.raises(DefinitionError) as refused:
        Registry([definition])
    return str(refused.value)


STEPS = {
    "two steps of one name": ([OK, OK], "Trip has two steps named 'book'; rename one"),
    "two in one stage": ([[OK, OK]], "Trip has two steps named 'book'; rename one"),
    "no step": ([], "Trip.define_steps returned no step; return at least one"),
    "only empty stages": ([[], []], "Trip.define_steps returned no step; return at least one"),
    "None": (None, "Trip.define_steps returned None; return a list of SagaSteps"),
    "a step alone": (OK, "Trip.define_steps returned SagaStep(.*); return a list of SagaSteps"),
    "an iterator": (iter([OK]), "Trip.define_steps returned <.*>; return a list of SagaSteps"),
    "a name instead": (
        ["book"],
        "Trip.define_steps returned 'book'; every step is a SagaStep, or a list of them .*",
    ),
    "a list too deep": ([[[OK]]], r"Trip.define_steps returned \[SagaStep.*every step is a .*"),
    "too many": (
        [book(name=f"step {number}") for number in range(201)],
        "Trip has 201 steps; at most 200 are possible",
    ),
    "two pivots": (
        [book(name="a", pivot=True), book(name="b", pivot=True)],
        "Trip has more than one pivot: a, b; keep one",
    ),
    "a pivot in company": (
        [[book(name="a", pivot=True), book(name="b")]],
        "Trip.a is a pivot beside b; a pivot stands alone in its stage",
    ),
    "a compensation after the pivot": (
        [book(name="a", pivot=True), OK],
        "Trip.book has a compensation after the pivot a; nothing is compensated there: remove it",
    ),
}
NAMES = {
    "no name": ("", "Trip has a step named ''; use 1 to 100 characters"),
    "a number": (7, "Trip has a step named 7; use 1 to 100 characters"),
    "too long": ("x" * 101, "Trip has a step named 'x+'; use 1 to 100 characters"),
    "a line break": ("a\nb", r"Trip has a step named 'a\\nb'; use printable characters, .*"),
    "a NUL": ("a\0", r"Trip has a step named 'a\\x00'; use printable characters, .*"),
    "half a surrogate pair": ("\ud800", r"Trip has a step named .*; use printable characters, .*"),
    "spaces around": (" a", "Trip has a step named ' a'; .* no space at either end"),
}
WRITE_IT_AS = "; write it as Participant.Command, for example InventoryService.ReserveItems"
TIMEOUT = "; use a timedelta above zero, at most 3650 days"
FIELDS = {
    "an action without participant": (
        book(action="ReserveItems"),
        f"Trip.book: action is 'ReserveItems'{WRITE_IT_AS}",
    ),
    "an action with two dots": (book(action="A.B.C"), f"Trip.book: action is 'A.B.C'{WRITE_IT_AS}"),
    "an action with a space": (book(action="A.B c"), f"Trip.book: action is 'A.B c'{WRITE_IT_AS}"),
    "an action for everybody": (book(action="A.*"), rf"Trip.book: action is 'A.\*'{WRITE_IT_AS}"),
    "an action of 102 characters": (
        book(action=f"A.{'b' * 101}"),
        f"Trip.book: action is 'A.b+'{WRITE_IT_AS}",
    ),
    "no action": (book(action=None), f"Trip.book: action is None{WRITE_IT_AS}"),
    "an empty compensation": (
        book(compensation=""),
        f"Trip.book: compensation is ''{WRITE_IT_AS}",
    ),
    "a compensation that is a function": (
        book(compensation=print),
        f"Trip.book: compensation is <built-in function print>{WRITE_IT_AS}",
    ),
    "a timeout of zero": (
        book(timeout=timedelta(0)),
        rf"Trip.book: timeout is datetime.timedelta\(0\){TIMEOUT}",
    ),
    "a negative timeout": (book(timeout=-SECOND), f"Trip.book: timeout is .*{TIMEOUT}"),
    "a timeout in seconds": (book(timeout=30), f"Trip.book: timeout is 30{TIMEOUT}"),
    "a timeout of an age": (
        book(timeout=timedelta(days=4000)),
        rf"Trip.book: timeout is datetime.timedelta\(days=4000\){TIMEOUT}",
    ),
    "a retry of 3": (book(retry=3), r"Trip.book: retry is 3; use RetryPolicy\(…\)"),
    "a compensation_retry of True": (
        book(compensation_retry=True),
        r"Trip.book: compensation_retry is True; use RetryPolicy\(…\)",
    ),
    "no attempts": (policy(max_attempts=0), "Trip.book: retry.max_attempts is 0; use 1 to 1000"),
    "endless attempts": (
        policy(max_attempts=1001),
        "Trip.book: retry.max_attempts is 1001; use 1 to 1000",
    ),
    "attempts as a word": (
        policy(max_attempts="3"),
        "Trip.book: retry.max_attempts is '3'; use 1 to 1000",
    ),
    "attempts as a flag": (
        policy(max_attempts=True),
        "Trip.book: retry.max_attempts is True; use 1 to 1000",
    ),
    "half an attempt": (
        policy(max_attempts=1.5),
        "Trip.book: retry.max_attempts is 1.5; use 1 to 1000",
    ),
    "no pause": (
        policy(initial=timedelta(0)),
        rf"Trip.book: retry.initial is datetime.timedelta\(0\){TIMEOUT}",
    ),
    "a pause in seconds": (policy(initial=2), f"Trip.book: retry.initial is 2{TIMEOUT}"),
    "a maximum in seconds": (policy(maximum=2.5), rf"Trip.book: retry.maximum is 2\.5{TIMEOUT}"),
    "a maximum below the first pause": (
        policy(initial=2 * SECOND, maximum=SECOND),
        "Trip.book: retry.initial is 0:00:02, more than its maximum of 0:00:01; make it shorter",
    ),
    "shrinking pauses": (
        policy(multiplier=0.5),
        r"Trip.book: retry.multiplier is 0\.5; use 1 to 100",
    ),
    "a multiplier that is no number": (
        policy(multiplier=math.nan),
        "Trip.book: retry.multiplier is nan; use 1 to 100",
    ),
    "a multiplier as a word": (
        policy(multiplier="2"),
        "Trip.book: retry.multiplier is '2'; use 1 to 100",
    ),
    "a jitter of a tenth": (
        policy(jitter=0.1),
        r"Trip.book: retry.jitter is 0\.1; use True or False",
    ),
    "an unknown on_timeout": (
        book(on_timeout="retry"),
        'Trip.book: on_timeout is \'retry\'; use "compensate" or "resend"',
    ),
    "an on_timeout that is a list": (
        book(on_timeout=["resend"]),
        r"Trip.book: on_timeout is \['resend'\]; use .*",
    ),
    "a payload of one word": (
        book(payload="amount"),
        "Trip.book: payload is 'amount'; list the keys as strings",
    ),
    "a payload of numbers": (
        book(payload=[1]),
        r"Trip.book: payload is \[1\]; list the keys as strings",
    ),
    "a payload that is no list": (
        book(payload=7),
        "Trip.book: payload is 7; list the keys as strings",
    ),
    "a payload with a reserved key": (
        book(payload=["saga_id", "amount"]),
        "Trip.book: payload names saga_id; every command has that already: leave it out",
    ),
    "a pivot in words": (book(pivot="yes"), "Trip.book: pivot is 'yes'; use True or False"),
}


@pytest.mark.parametrize(("steps", "message"), STEPS.values(), ids=STEPS)
def test_wrong_steps_are_refused(steps: Any, message: str) -> None:
    assert re.fullmatch(message, refusal_of(define(steps)), re.DOTALL)


@pytest.mark.parametrize(("name", "message"), NAMES.values(), ids=NAMES)
def test_a_wrong_step_name_is_refused(name: Any, message: str) -> None:
    assert re.fullmatch(message, refusal_of(define([book(name=name)])), re.DOTALL)


@pytest.mark.parametrize(("step", "message"), FIELDS.values(), ids=FIELDS)
def test_a_wrong_value_of_a_step_is_refused(step: SagaStep, message: str) -> None:
    assert re.fullmatch(message, refusal_of(define([step])), re.DOTALL)


@pytest.mark.parametrize("name", ["réserver", "step 1", "a/b|c", "x" * 100, "予約"])
def test_a_step_name_is_free_otherwise(name: str) -> None:
    assert plan_for(define([book(name=name)]), {})[0].name == name


# --- the definition itself --------------------------------------------------------------

ATTRIBUTES = {
    "no saga_type": ({"saga_type": ""}, "Trip.saga_type is ''; give it a name of 1 to 100 .*"),
    "a saga_type that is no text": (
        {"saga_type": None},
        "Trip.saga_type is None; give it a name of 1 to 100 characters",
    ),
    "a long saga_type": ({"saga_type": "T" * 101}, "Trip.saga_type is 'T+'; give it a name .*"),
    "a saga_type with a dot": (
        {"saga_type": "my.Trip"},
        r"Trip.saga_type is 'my\.Trip'; use letters, digits and underscores, .*",
    ),
    "a saga_type whose events no routing key holds": (
        {"saga_type": "ü" * 100},
        "Trip.saga_type is 'ü+'; use letters, digits and underscores, .*",
    ),
    "an unknown on_compensation_exhausted": (
        {"on_compensation_exhausted": "stop"},
        'Trip.on_compensation_exhausted is \'stop\'; use "halt" or "continue"',
    ),
    "an on_compensation_exhausted that is a list": (
        {"on_compensation_exhausted": []},
        r"Trip.on_compensation_exhausted is \[\]; .*",
    ),
    "timeouts that are no dict": (
        {"STEP_TIMEOUTS": [SECOND]},
        r"Trip.STEP_TIMEOUTS is \[.*\]; use a dict of timedeltas by step name",
    ),
    "a timeout by name that is no timedelta": (
        {"STEP_TIMEOUTS": {"book": 30}},
        rf"Trip.STEP_TIMEOUTS\['book'\]: timeout is 30{TIMEOUT}",
    ),
    "a timeout by name of zero": (
        {"STEP_TIMEOUTS": {"book": timedelta(0)}},
        rf"Trip.STEP_TIMEOUTS\['book'\]: timeout is .*{TIMEOUT}",
    ),
    "a timeout for no step": (
        {"STEP_TIMEOUTS": {"bok": SECOND}},
        "Trip.STEP_TIMEOUTS has 'bok', and there is no such step; use one of book, or give .*",
    ),
}


@pytest.mark.parametrize(("attributes", "message"), ATTRIBUTES.values(), ids=ATTRIBUTES)
def test_a_wrong_attribute_is_refused(attributes: dict[str, Any], message: str) -> None:
    assert re.fullmatch(message, refusal_of(define([OK], **attributes)), re.DOTALL)


def test_a_timeout_for_a_step_that_depends_on_data_is_accepted() -> None:
    class Gift(SagaOrchestrator):
        saga_type = "Gift"
        STEP_TIMEOUTS = {"wrap": SECOND}  # noqa: RUF012

        def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
            wrapping: list[SagaStep | list[SagaStep]] = [SagaStep("wrap", "Packing.Wrap")]
            return [OK, *(wrapping if data.get("is_gift") else [])]

    assert Registry([Gift()]).plan("Gift", {"is_gift": True})[1].timeout == SECOND


def test_a_definition_without_steps_is_refused() -> None:
    class Empty(SagaOrchestrator):
        saga_type = "Empty"

    assert refusal_of(Empty()) == "Empty.define_steps: Empty defines no steps"


def test_a_name_that_does_not_exist_is_found_when_the_definition_is_registered() -> None:
    class Mistyped(SagaOrchestrator):
        saga_type = "Mistyped"

        def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
            return [SagaSteps("book", "Flights.Book")]  # type: ignore[name-defined]  # noqa: F821

    assert refusal_of(Mistyped()) == "Mistyped.define_steps: name 'SagaSteps' is not defined"


def test_a_definition_that_needs_data_is_checked_when_a_saga_starts() -> None:
    class Needy(SagaOrchestrator):
        saga_type = "Needy"

        def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
            return [SagaStep(data["name"], "Flights")]

    registry = Registry([Needy()])
    with pytest.raises(DefinitionError, match=r"Needy\.book: action is 'Flights'"):
        registry.plan("Needy", {"name": "book"})


def test_what_only_some_data_bring_about_is_checked_for_each_saga() -> None:
    class Sometimes(SagaOrchestrator):
        saga_type = "Sometimes"

        def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
            return [OK] * (2 if data.get("twice") else 1)

    registry = Registry([Sometimes()])
    assert len(registry.plan("Sometimes", {})) == 1
    with pytest.raises(DefinitionError, match="two steps named 'book'"):
        registry.plan("Sometimes", {"twice": True})


def test_a_misspelt_keyword_is_found_without_data() -> None:
    class Trip(SagaOrchestrator):
        saga_type = "Trip"

        def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
            return [SagaStep("book", acton="Flights.Book")]  # type: ignore[call-arg]

    assert "unexpected keyword argument 'acton'" in refusal_of(Trip())


def test_steps_are_not_awaited() -> None:
    class Trip(SagaOrchestrator):
        saga_type = "Trip"

        async def define_steps(self, data: dict[str, Any]) -> Any:  # type: ignore[override]
            return [OK]

    assert refusal_of(Trip()) == "Trip.define_steps is `async def`; write `def define_steps`"
