"""Stages one after the other, parallel ones together, results merged, each sees what it needs."""

from datetime import timedelta

import pytest
from saga_stories import MINUTE, NOON, ONCE, TIMEOUT, Story, plan, step

from messaging import codec, contract
from messaging.port import Delivery
from messaging.topology import Names
from orchestrator.saga import moves
from orchestrator.saga.outbound import encode
from orchestrator.saga.plan import RetryPolicy
from orchestrator.saga.state import Direction, SagaState, StepStatus, Verdict
from orchestrator.worker.outgoing import message_for


def test_the_first_commands_leave_when_the_saga_begins() -> None:
    story = Story("a", "b")
    assert story.sent == ["do a"]
    assert story.state is SagaState.STARTED
    assert story.notes == ["saga: started (started)", "a: pending -> executing"]


def test_a_command_carries_the_data_flat_beside_the_names() -> None:
    story = Story("a", data={"order_id": "42", "items": [1, 2]})
    assert story.body() == {
        "saga_id": "saga-1",
        "step_name": "a",
        "order_id": "42",
        "items": [1, 2],
    }
    command = story.last.send[0]
    assert (command.destination, command.direction) == ("Service.Do-a", Direction.ACTION)
    assert (command.attempt, command.deadline) == (1, NOON + TIMEOUT)


def test_a_saga_is_started_until_its_first_reply() -> None:
    story = Story("a", "b")
    story.completed("a")
    assert story.state is SagaState.PENDING


def test_a_saga_of_one_step_passes_through_pending() -> None:
    story = Story("a")
    story.completed("a")
    assert "saga: started -> pending" in story.notes
    assert "saga: pending -> completed" in story.notes
    assert story.saga.ended_at == NOON


def test_the_steps_of_a_parallel_stage_are_sent_together() -> None:
    story = Story("a", ["b", "c"], "d")
    story.completed("a")
    assert story.sent == ["do b", "do c"]


@pytest.mark.parametrize("order", ["bc", "cb"])
def test_a_stage_after_a_parallel_one_waits_for_all_of_it(order: str) -> None:
    story = Story(["b", "c"], "d")
    story.completed(order[0])
    assert story.sent == []
    story.completed(order[1])
    assert story.sent == ["do d"]


def test_results_are_merged_so_that_later_steps_see_them() -> None:
    story = Story(["a", "b"], "c")
    story.completed("a", {"hold": "h-1", "order_id": "43"})
    story.completed("b", {"room": 7})
    assert story.body() == {
        "saga_id": "saga-1",
        "step_name": "c",
        "order_id": "43",
        "hold": "h-1",
        "room": 7,
    }


def test_a_payload_names_what_the_commands_of_its_step_carry_in_both_directions() -> None:
    story = Story(step("a", payload=("order_id", "unheard-of")), "z", data={"order_id": 1, "b": 2})
    assert story.body() == {"saga_id": "saga-1", "step_name": "a", "order_id": 1}
    story.completed("a", {"hold": "h-1"})
    assert story.body()["hold"] == "h-1"
    story.failed("z")
    assert story.body() == {
        "saga_id": "saga-1",
        "step_name": "a",
        "order_id": 1,
        "original_result": {"hold": "h-1"},
    }


def test_an_empty_payload_sends_the_names_only() -> None:
    story = Story(step("a", payload=()))
    assert story.body() == {"saga_id": "saga-1", "step_name": "a"}


def test_reserved_keys_in_a_result_are_dropped_and_reported() -> None:
    story = Story("a", "b")
    story.completed("a", {"saga_id": "other", "step_name": "x", "original_result": 1, "hold": 2})
    assert story.last.dropped_keys == {"saga_id", "step_name", "original_result"}
    assert story.saga.data == {"order_id": "42", "hold": 2}
    assert story.step("a").result == {"hold": 2}
    assert story.body()["saga_id"] == "saga-1"


def test_reserved_keys_in_a_late_result_are_dropped_as_well() -> None:
    story = Story("a", "b")
    story.completed("a")
    story.time_passes()
    story.completed("b", {"saga_id": "other", "hold": 2})
    assert story.last.dropped_keys == {"saga_id"}
    assert story.step("b").result == {"hold": 2}


def test_the_core_holds_to_the_limits_and_names_of_the_contract() -> None:
    assert moves.RESERVED_KEYS == contract.RESERVED_KEYS
    assert moves.MAX_DATA_BYTES == contract.MAX_DATA_BYTES


def test_a_command_carries_all_that_a_saga_may_hold_and_participants_take_it() -> None:
    filling = moves.MAX_DATA_BYTES - len('{"order_id":"42","x":""}')
    data = {"order_id": "42", "x": "x" * filling}
    story = Story("a", "b", data=data)
    command = codec.decode_command(delivered(story))
    assert len(story.last.send[0].body) > moves.MAX_DATA_BYTES
    assert command.data == data


def test_a_compensation_carries_the_largest_result_beside_that_and_participants_take_it() -> None:
    result = {"x": "x" * (contract.MAX_RESULT_BYTES - len('{"x":""}'))}
    filling = moves.MAX_DATA_BYTES - contract.MAX_RESULT_BYTES - len('{"y":""}') + 1
    story = Story("a", "b", data={"y": "y" * filling})
    story.completed("a", result)
    assert len(encode(story.saga.data)) == moves.MAX_DATA_BYTES
    story.failed("b")
    command = codec.decode_command(delivered(story))
    assert command.data == story.saga.data
    assert command.original_result == result


def delivered(story: Story) -> Delivery:
    """What the last event sent, as it comes to a participant."""
    message = message_for(Names(), story.saga, story.last.send[0])
    return Delivery(
        queue="saga.commands.Service",
        exchange=message.exchange,
        routing_key=message.routing_key,
        type=message.type,
        headers=message.headers,
        body=message.body,
        tag=1,
        session=1,
    )


def test_a_result_that_makes_the_data_too_large_fails_its_step_and_undoes_it_first() -> None:
    story = Story("a", "b", data={"x": "x" * (moves.MAX_DATA_BYTES - 100)})
    story.completed("a", {"y": 1})
    story.completed("b", {"z": "z" * 100})
    assert story.failure is not None
    assert "more than 1048576" in story.failure.error
    assert story.notes[0] == "b: executing -> failed (result too large)"
    assert story.sent == ["undo b"]
    assert story.body()["original_result"] == {"z": "z" * 100}
    assert "z" not in story.saga.data


def test_a_result_that_comes_late_and_makes_the_data_too_large_is_undone_all_the_same() -> None:
    story = Story("a", "b", data={"x": "x" * (moves.MAX_DATA_BYTES - 100)})
    story.completed("a")
    story.failed("b")
    story.completed("b", {"z": "z" * 100})
    assert story.sent == ["undo b"]
    assert story.body()["original_result"] == {"z": "z" * 100}


def test_the_size_of_the_data_counts_in_bytes_without_spaces() -> None:
    filling = moves.MAX_DATA_BYTES - len('{"x":"","y":[1,2,3]}')
    story = Story("a", data={"x": "x" * filling})
    story.completed("a", {"y": [1, 2, 3]})
    assert story.state is SagaState.COMPLETED
    story = Story("a", data={"x": "x" * (filling - 1) + "é"})
    story.completed("a", {"y": [1, 2, 3]})
    assert story.state is SagaState.COMPENSATING


def test_the_pauses_between_attempts_follow_the_policy_and_grow() -> None:
    policy = RetryPolicy(max_attempts=4, initial=timedelta(seconds=3))
    story = Story(step("a", retry=policy))
    pauses = []
    for _ in range(3):
        story.failed("a", retryable=True)
        retry_at = story.step("a").retry_at
        assert retry_at is not None
        pauses.append((retry_at - story.now).total_seconds())
        story.time_passes(until=retry_at)
    story.failed("a", retryable=True)
    assert pauses == [3, 6, 12]
    assert story.state is SagaState.FAILED


def test_each_step_has_its_own_timeout() -> None:
    story = Story([step("a", timeout=MINUTE), step("b", timeout=3 * MINUTE)])
    assert story.saga.wake_at == NOON + MINUTE
    story.time_passes()
    assert story.status("a") is StepStatus.FAILED
    assert story.status("b") is StepStatus.EXECUTING
    assert story.saga.wake_at == NOON + 3 * MINUTE


def test_the_outcome_is_announced_with_all_data() -> None:
    story = Story("a", data={"order_id": "42"})
    story.failed("a", "out of stock")
    assert story.sent == ["OrderFailed"]
    assert story.body() == {
        "order_id": "42",
        "saga_id": "saga-1",
        "error": "out of stock",
        "failed_step": "a",
    }


def test_the_plan_is_kept_with_the_saga() -> None:
    planned = plan("a", ["b", step("c", retry=ONCE)])
    story = Story("a", ["b", step("c", retry=ONCE)])
    story.completed("a")
    assert tuple(each.plan for each in story.saga.steps) == planned


def test_every_line_of_history_says_who_and_which_message() -> None:
    story = Story("a")
    story.completed("a", actor="InventoryService")
    assert {line.actor for line in story.last.transitions} == {"InventoryService"}
    assert {line.cause for line in story.last.transitions} == {"m1"}
    assert story.last.transitions[0].attempt == 1


def test_only_the_line_that_brings_an_error_shows_it() -> None:
    story = Story("a", "b")
    story.completed("a")
    story.time_passes()
    story.undone("b")
    errors = [(line.step, line.after, line.error) for line in story.history if line.step == "b"]
    assert errors == [
        ("b", "executing", None),
        ("b", "failed", "no reply within 300 s"),
        ("b", "compensating", None),
        ("b", "compensated", None),
    ]


def test_an_event_that_changes_nothing_is_not_worth_saving() -> None:
    story = Story("a")
    story.time_passes(until=NOON)
    assert story.last.verdict is Verdict.NOTHING
    assert story.is_unchanged
