"""What a handler returned or raised, classified once."""

from decimal import Decimal

import pytest
from pydantic import BaseModel

from messaging.contract import MAX_ERROR_BYTES, Direction, Effect
from participants import NotFound, StepFailed
from participants.outcome import (
    LATER,
    AlreadyUndone,
    Broken,
    CommandRefused,
    Completed,
    Failed,
    Later,
    Unsendable,
    outcome_of,
)

ACTION, COMPENSATION = Direction.ACTION, Direction.COMPENSATION


class Money(BaseModel):
    amount: Decimal


def test_nothing_returned_is_completion() -> None:
    assert outcome_of(None, ACTION) == Completed()


def test_a_dict_is_the_result() -> None:
    assert outcome_of({"a": 1}, ACTION) == Completed(result={"a": 1})


def test_a_model_is_sent_as_its_json() -> None:
    assert outcome_of(Money(amount=Decimal("1.50")), ACTION) == Completed(result={"amount": "1.50"})


def test_later_is_an_answer_put_off() -> None:
    assert outcome_of(LATER, ACTION) == Later()


def test_step_failed_is_the_business_saying_no() -> None:
    assert outcome_of(StepFailed("out of stock"), ACTION) == Failed(error="out of stock")


def test_step_failed_says_whether_to_try_again_and_what_it_left() -> None:
    error = StepFailed("gateway busy", retryable=True, effect="unknown")
    assert outcome_of(error, ACTION) == Failed(
        error="gateway busy", retryable=True, effect=Effect.UNKNOWN
    )


def test_an_effect_that_does_not_exist_is_refused_where_it_is_written() -> None:
    with pytest.raises(ValueError, match="maybe"):
        StepFailed("x", effect="maybe")


def test_not_found_in_a_compensation_is_success() -> None:
    assert outcome_of(NotFound("no reservation"), COMPENSATION) == AlreadyUndone()


def test_not_found_in_an_action_is_a_definite_failure() -> None:
    assert outcome_of(NotFound("no customer"), ACTION) == Failed(
        error="no customer", retryable=False
    )


@pytest.mark.parametrize("direction", list(Direction))
def test_data_that_do_not_fit_are_never_tried_again(direction: Direction) -> None:
    outcome = outcome_of(CommandRefused("quantity: must be 1 or more"), direction)
    assert outcome == Failed(error="quantity: must be 1 or more", retryable=False)


def test_any_other_exception_is_unforeseen() -> None:
    cause = ZeroDivisionError("division by zero")
    assert outcome_of(cause, ACTION) == Broken(
        error="ZeroDivisionError: division by zero", cause=cause
    )


def test_an_exception_without_a_text_is_named() -> None:
    outcome = outcome_of(TimeoutError(), ACTION)
    assert isinstance(outcome, Broken)
    assert outcome.error == "TimeoutError"


@pytest.mark.parametrize(
    "result",
    [
        {"n": float("nan")},
        {"n": float("inf")},
        {"n": 2**63 + 1},
        {"s": "a\x00b"},
        {"s": "\ud800"},
        {"a\x00": 1},
        {"d": Decimal(1)},
        {"s": {1, 2}},
        {"b": b"x"},
        {"big": "x" * 70_000},
    ],
    ids=lambda result: repr(result)[:30],
)
def test_a_result_that_cannot_be_sent_is_no_completion(result: dict[str, object]) -> None:
    assert isinstance(outcome_of(result, ACTION), Unsendable)


def test_a_result_nested_too_deeply_is_no_completion() -> None:
    result: dict[str, object] = {}
    for _ in range(100_000):
        result = {"a": result}
    assert isinstance(outcome_of(result, ACTION), Unsendable)


@pytest.mark.parametrize(
    "answer", ["text", 7, ["list"], object()], ids=lambda it: type(it).__name__
)
def test_something_that_is_no_object_is_no_completion(answer: object) -> None:
    assert isinstance(outcome_of(answer, ACTION), Unsendable)


def test_a_long_error_is_cut_between_two_characters() -> None:
    outcome = outcome_of(StepFailed("é" * MAX_ERROR_BYTES), ACTION)
    assert isinstance(outcome, Failed)
    assert outcome.error == "é" * (MAX_ERROR_BYTES // 2)


def test_an_error_with_a_lone_surrogate_can_still_be_sent() -> None:
    outcome = outcome_of(StepFailed("bad \udc80 byte"), ACTION)
    assert isinstance(outcome, Failed)
    assert outcome.error == "bad \\udc80 byte"
