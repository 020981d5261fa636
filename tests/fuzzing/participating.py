"""Targets: what a participant makes of answers, its handlers' own and those in its inbox."""

from typing import Any, Final

from hypothesis import strategies as st

from messaging import codec
from messaging.contract import Command, Direction, Reply
from messaging.errors import NotFound, ProtocolError
from participants.guard import Entry, State, definite, final_reply_to
from participants.inbox import Key
from participants.outcome import (
    LATER,
    AlreadyUndone,
    Broken,
    CommandRefused,
    Completed,
    Failed,
    Later,
    StepFailed,
    Unsendable,
    outcome_of,
)
from participants.sql_table import entry_from, stored_replies
from tests.fuzzing.inputs import ANY_TEXT, HUGE
from tests.fuzzing.messages import NAMES, assert_can_leave
from tests.fuzzing.target import target
from tests.messaging.test_codec_round_trips import REPLIES

ANYTHING: Final = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | ANY_TEXT
    | st.binary(max_size=9)
    | st.datetimes()
    | HUGE,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(ANY_TEXT | st.integers() | st.none(), inner, max_size=3)
    ),
    max_leaves=6,
)
ERRORS: Final = st.builds(
    lambda kind, text: kind(text),
    st.sampled_from([ValueError, StepFailed, NotFound, CommandRefused, KeyError, RecursionError]),
    ANY_TEXT,
)
COMMAND: Final = Command(
    saga_id="s-1",
    saga_type="Fuzzed",
    step_name="first",
    direction=Direction.ACTION,
    destination="A.First",
    command_id="c-1",
    attempt=1,
    data={},
)


@target(st.tuples(ANYTHING | ERRORS | st.just(LATER), st.sampled_from(Direction)), examples=100)
def whatever_a_handler_returns_can_be_answered(said: tuple[object, Direction]) -> None:
    returned, direction = said
    outcome = outcome_of(returned, direction)
    match outcome:
        case Later():
            return
        case Completed() | AlreadyUndone() | Failed():
            reply = final_reply_to(COMMAND, outcome)
        case Unsendable() | Broken():
            reply = final_reply_to(COMMAND, definite(outcome, direction, is_contained=False))
    assert_can_leave(codec.encode_reply(NAMES, reply))


@target(REPLIES)
def a_reply_comes_out_of_the_inbox_as_it_went_in(reply: Reply) -> None:
    stored = stored_replies(Entry(state=State.DONE, action_reply=reply))
    key = Key(reply.saga_id, reply.step_name)
    back = entry_from(key, State.DONE, *stored).action_reply
    assert back is not None
    assert (back.type, back.error, back.retryable, back.effect) == (
        reply.type,
        reply.error,
        reply.retryable,
        reply.effect,
    )
    assert back.result == reply.result


STORED: Final[st.SearchStrategy[Any]] = st.fixed_dictionaries(
    {"type": st.sampled_from(["SagaStepCompleted", "SagaStepFailed", "SagaCompensationCompleted"])},
    optional={
        "result": st.dictionaries(st.text(), st.integers() | st.text(), max_size=3),
        "error": st.text(),
        "retryable": st.booleans(),
        "effect": st.sampled_from(["none", "unknown"]),
        "more": st.text(),
    },
)


@target(STORED)
def what_another_language_has_stored_can_be_answered(stored: Any) -> None:
    reply = entry_from(Key("s-1", "first"), State.DONE, stored, None).action_reply
    assert reply is not None
    try:
        assert_can_leave(codec.encode_reply(NAMES, reply))
    except ProtocolError as error:
        assert error.reason in {"nul_char", "lone_surrogate", "number_range"}
