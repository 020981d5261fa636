"""The pause before the next attempt: exponential, jittered, capped, with a floor."""

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.backoff import retry_delay
from orchestrator.saga.plan import RetryPolicy

SECOND = timedelta(seconds=1)
KEYS = [f"saga-{number}|pay|compensating|1" for number in range(500)]


def exact(attempt: int, **values: object) -> float:
    policy = RetryPolicy(**{"jitter": False, **values})  # type: ignore[arg-type]
    return retry_delay(policy, attempt, "key").total_seconds()


def test_the_pause_doubles_from_the_first_up_to_the_maximum() -> None:
    pauses = [exact(attempt, max_attempts=12) for attempt in range(1, 11)]
    assert pauses == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_the_multiplier_may_be_another_one() -> None:
    assert [exact(attempt, multiplier=1.5) for attempt in (1, 2, 3)] == [2, 3, 4.5]
    assert [exact(attempt, multiplier=1) for attempt in (1, 2, 3)] == [2, 2, 2]


def test_the_thousandth_pause_is_the_maximum_however_large_it_would_be() -> None:
    assert exact(1000) == 300
    assert exact(1000, multiplier=100.0) == 300


def test_a_pause_is_never_zero() -> None:
    assert exact(1, initial=timedelta(microseconds=1), maximum=SECOND) == 0.001


def test_jitter_spreads_pauses_by_a_tenth_either_way() -> None:
    pauses = [retry_delay(RetryPolicy(), 1, key).total_seconds() for key in KEYS]
    assert min(pauses) < 1.85
    assert max(pauses) > 2.15
    assert all(1.8 <= pause <= 2.2 for pause in pauses)
    assert len(set(pauses)) > 400


def test_jitter_never_makes_a_pause_longer_than_the_maximum() -> None:
    assert max(retry_delay(RetryPolicy(), 9, key) for key in KEYS) <= RetryPolicy().maximum


def test_growing_pauses_stay_growing_whatever_the_jitter() -> None:
    for key in KEYS:
        pauses = [retry_delay(RetryPolicy(), attempt, key) for attempt in range(1, 9)]
        assert all(before < after for before, after in pairwise(pauses))


def test_the_same_decision_taken_twice_computes_the_same_pause() -> None:
    assert retry_delay(RetryPolicy(), 3, "key") == retry_delay(RetryPolicy(), 3, "key")


@given(
    attempt=st.integers(1, 1000),
    initial=st.timedeltas(timedelta(microseconds=1), timedelta(days=3650)),
    longer=st.timedeltas(timedelta(0), timedelta(days=100)),
    multiplier=st.floats(1, 100),
    key=st.text(st.characters(codec="utf-8")),
)
def test_every_pause_lies_between_the_floor_and_the_maximum(
    attempt: int, initial: timedelta, longer: timedelta, multiplier: float, key: str
) -> None:
    policy = RetryPolicy(
        max_attempts=1000, initial=initial, maximum=initial + longer, multiplier=multiplier
    )
    floor = timedelta(milliseconds=1)
    assert floor <= retry_delay(policy, attempt, key) <= max(policy.maximum, floor)


@pytest.mark.parametrize("attempt", [1, 5])
def test_without_jitter_the_key_does_not_matter(attempt: int) -> None:
    assert (
        exact(attempt) == retry_delay(RetryPolicy(jitter=False), attempt, "another").total_seconds()
    )
