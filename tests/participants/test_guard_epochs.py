"""A reply says in which life of the orchestrator's database its step was first heard of."""

from dataclasses import replace
from typing import Any

import pytest

from messaging import codec
from messaging.contract import Command, Direction, Effect, Reply, ReplyType, command_id_for
from messaging.port import Delivery
from messaging.topology import Names
from participants.guard import Entry, State, addressed, dated, final_reply_to, since
from participants.outcome import AlreadyUndone, Completed

COMMAND = Command(
    saga_id="s",
    saga_type="T",
    step_name="reserve",
    direction=Direction.ACTION,
    destination="Stock.Reserve",
    command_id=command_id_for("s", "reserve", Direction.ACTION),
    attempt=1,
    data={},
    epoch="2",
)
NAMES = Names("saga")


def reply(epoch: str | None) -> Reply:
    return Reply(type=ReplyType.STEP_COMPLETED, saga_id="s", step_name="reserve", epoch=epoch)


def arrived(outgoing: Any) -> Delivery:
    return Delivery(
        queue="q",
        exchange=outgoing.exchange,
        routing_key=outgoing.routing_key,
        body=outgoing.body,
        tag=1,
        session=1,
        type=outgoing.type,
        content_type="application/json",
        headers=outgoing.headers,
    )


def test_commands_and_replies_carry_the_epoch_in_a_header() -> None:
    sent = codec.encode_command(NAMES, COMMAND)
    assert sent.headers["saga-database-epoch"] == "2"
    assert codec.decode_command(arrived(sent)).epoch == "2"
    answered = codec.encode_reply(NAMES, replace(reply("1"), effect=Effect.NONE))
    assert codec.decode_reply(arrived(answered)).epoch == "1"


def test_without_an_epoch_there_is_no_such_header() -> None:
    assert (
        "saga-database-epoch"
        not in codec.encode_command(NAMES, replace(COMMAND, epoch=None)).headers
    )
    assert "saga-database-epoch" not in codec.encode_reply(NAMES, reply(None)).headers


@pytest.mark.parametrize(
    ("entry", "epoch"),
    [
        (None, "2"),
        (Entry(state=State.UNKNOWN), "2"),
        (Entry(state=State.DONE, action_reply=reply("1")), "1"),
        (Entry(state=State.DONE, action_reply=reply(None)), "2"),
        (Entry(state=State.TOMBSTONE, compensation_reply=reply("1")), "1"),
        (Entry(state=State.UNKNOWN, epoch="1"), "1"),
        (Entry(state=State.LATER, epoch="1"), "1"),
    ],
)
def test_the_first_epoch_of_a_step_stays_with_it(entry: Entry | None, epoch: str) -> None:
    known = since(entry, COMMAND)
    assert final_reply_to(known, Completed(result={})).epoch == epoch
    assert final_reply_to(known, AlreadyUndone()).epoch == epoch


@pytest.mark.parametrize(
    ("first", "now", "told"),
    [("1", "2", "1 2"), ("2", "2", "2"), (None, "2", "2"), ("1", None, "1")],
)
def test_a_reply_tells_the_epoch_of_its_step_and_that_of_its_command(
    first: str | None, now: str | None, told: str
) -> None:
    answer = addressed(reply(first), replace(COMMAND, epoch=now), None)
    assert answer.epoch == told
    assert addressed(answer, replace(COMMAND, epoch=now), None) == answer
    assert addressed(answer, replace(COMMAND, epoch=now), None).epoch == told


def test_an_entry_is_dated_with_the_epoch_of_its_step_whatever_its_reply_says() -> None:
    again = Entry(state=State.UNKNOWN, action_reply=reply("2"))
    dated_entry = dated(again, since(Entry(state=State.UNKNOWN, epoch="1"), COMMAND))
    assert since(dated_entry, COMMAND).epoch == "1"
    assert dated(dated_entry, replace(COMMAND, epoch="1")) is dated_entry


def test_the_same_answer_given_in_another_epoch_is_the_same_answer() -> None:
    assert reply("1") == reply("2")
