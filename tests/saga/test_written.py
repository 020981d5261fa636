"""Data that know their JSON, and values changed slot by slot."""

import json
from typing import Any

import pytest
from saga_stories import NOON, plan

from orchestrator.saga.changed import changed
from orchestrator.saga.outbound import Outbound, command_of, completed_event
from orchestrator.saga.state import Direction, Saga, Step
from orchestrator.saga.written import Written, json_of, merged, together


def saga_with(data: Written) -> Saga:
    steps = tuple(Step(plan=planned) for planned in plan("a"))
    values = {"saga_id": "s", "saga_type": "Order", "input_digest": "d", "steps": steps}
    return Saga(**values, data=data, created_at=NOON, updated_at=NOON)


def messages_of(saga: Saga, direction: Direction) -> list[Outbound]:
    command = command_of(saga, saga.steps[0], direction, deadline=NOON, cause=None)
    return [command, completed_event(saga, None)]


def test_json_that_was_read_is_sent_as_it_is() -> None:
    saga = saga_with(Written({"amount": 1.5, "name": "é"}, '{"amount": 1.50, "name": "\\u00e9"}'))
    command, event = messages_of(saga, Direction.ACTION)
    assert '"amount": 1.50, "name": "\\u00e9"' in command.body
    assert json.loads(command.body) == {"saga_id": "s", "step_name": "a", **saga.data}
    assert json.loads(event.body) == {"saga_id": "s", **saga.data}


@pytest.mark.parametrize("text", ["{}", " { } ", "{\n}"])
@pytest.mark.parametrize("direction", Direction)
def test_data_without_keys_leave_a_whole_message(text: str, direction: Direction) -> None:
    for message in messages_of(saga_with(Written({}, text)), direction):
        assert json.loads(message.body)["saga_id"] == "s"


def test_objects_are_put_together_in_their_order() -> None:
    assert together('{"a":{"b":1}}', "{}", ' {"c": [2]} ') == '{"a":{"b":1},"c": [2]}'


@pytest.mark.parametrize("more", [{}, {"b": [2], "c": "é"}, {"a": 2}, {"a": 2, "b": 3}])
def test_merged_objects_say_what_they_hold(more: dict[str, Any]) -> None:
    whole = merged(Written({"a": {"b": 1}}), more)
    assert whole == {"a": {"b": 1}, **more} == json.loads(whole.json)


def test_a_result_is_laid_beside_data_that_stay_as_they_are_written() -> None:
    data = Written({"amount": 1.5}, '{"amount": 1.50}')
    assert merged(data, {"id": 7}).json == '{"amount": 1.50,"id":7}'


def test_data_that_were_never_written_are_written() -> None:
    assert json_of({"name": "é"}) == Written({"name": "é"}).json == '{"name":"é"}'


def test_a_changed_value_is_another_one() -> None:
    first = Step(plan=plan("a")[0])
    second = changed(first, attempts=2)
    assert (first.attempts, second.attempts, second.plan) == (0, 2, first.plan)
    assert changed(second, attempts=0) == first
    assert hash(changed(second, attempts=0)) == hash(first)


def test_a_field_that_is_not_there_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        changed(Step(plan=plan("a")[0]), attempt=2)
