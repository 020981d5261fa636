"""Listeners of facts do not harm each other."""

import logging

import pytest

from chassis.facts import BatchCommitted, Fact
from chassis.observers import fan_out


def test_every_listener_hears_every_fact() -> None:
    one: list[Fact] = []
    other: list[Fact] = []
    observe = fan_out(one.append, other.append)
    observe(BatchCommitted(size=1))
    assert one == other == [BatchCommitted(size=1)]


def test_a_listener_that_raises_is_logged_and_the_others_hear_the_fact(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def breaks(fact: Fact) -> None:
        raise ZeroDivisionError("oh")

    heard: list[Fact] = []
    observe = fan_out(breaks, heard.append)
    with caplog.at_level(logging.ERROR):
        for _ in range(100):
            observe(BatchCommitted(size=1))
    assert len(heard) == 100
    assert 1 <= len(caplog.records) < 10
    assert caplog.records[0].getMessage() == "a listener could not take a BatchCommitted"
    assert "ZeroDivisionError: oh" in caplog.text
