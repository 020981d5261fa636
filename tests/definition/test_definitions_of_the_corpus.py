"""Bad definitions as data: each is refused by a message that names what is wrong."""

import re
from datetime import timedelta
from typing import Any

import pytest

from messaging.errors import DefinitionError
from orchestrator import RetryPolicy, SagaOrchestrator, SagaStep
from orchestrator.registry import Registry
from tests.corpus import ACCEPTED
from tests.corpus.files import load, text_of

CORPUS = load("definitions")


def value_of(spec: Any) -> Any:
    """What JSON has no word for: durations, infinities and integers of many digits."""
    match spec:
        case {"seconds": seconds}:
            return timedelta(seconds=seconds)
        case {"float": text}:
            return float(text)
        case {"digits": digits}:
            return 10**digits
        case {"many": count}:
            return [SagaStep(f"step {number}", "P.A") for number in range(count)]
        case {"repeat": _}:
            return text_of(spec)
        case {"name": _}:
            return SagaStep(**{key: field_of(key, value) for key, value in spec.items()})
        case list():
            return [value_of(each) for each in spec]
        case _:
            return spec


def field_of(name: str, spec: Any) -> Any:
    if name in {"retry", "compensation_retry"}:
        return RetryPolicy(**{key: value_of(value) for key, value in spec.items()})
    return value_of(spec)


def problem_with(steps: Any) -> str:
    class Trip(SagaOrchestrator):
        saga_type = "Trip"

        def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
            return steps  # type: ignore[no-any-return]  # that is what is tried

    try:
        Registry([Trip()]).plan("Trip", {})
    except DefinitionError as error:
        return str(error)
    return ACCEPTED


@pytest.mark.parametrize("spec", CORPUS, ids=lambda spec: spec["name"])
def test_a_bad_definition_is_refused_by_what_is_wrong_with_it(spec: dict[str, Any]) -> None:
    problem = problem_with(value_of(spec["steps"]))
    assert re.search(spec["expected"], problem), problem
    assert len(problem) < 1000
    assert problem.encode()
