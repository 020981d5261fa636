"""Targets: what the DLQ worker makes of whatever has died."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Final

from hypothesis import strategies as st

from dlq_worker.letter import DeadLetter, bare_letter, read_letter
from dlq_worker.planning import Answer, Plan, Repeat, Replay, ReplayPolicy, plan
from dlq_worker.rows import StoredLetter, values_of
from dlq_worker.sending import repetition_of, replay_of
from dlq_worker.signature import MAX_SIGNATURE, signature_of
from dlq_worker.statuses import Status
from dlq_worker.storable import storable_json, storable_text
from dlq_worker.triage import AnswerForParticipant, has_moved, triage
from messaging import codec
from messaging.contract import Reply, StartType
from messaging.errors import ProtocolError
from messaging.port import Delivery, Outgoing
from orchestrator.saga.state import Saga
from tests.dlq_worker.dlq_stories import (
    FORWARD_EXHAUSTED,
    NOW,
    PAST_PIVOT,
    PAYING,
    REFUND_FAILED,
    REFUNDING,
    saga_after,
)
from tests.fuzzing.inputs import ANY_TEXT, DELIVERIES, HEADER_VALUES, deliveries
from tests.fuzzing.messages import NAMES, assert_can_leave
from tests.fuzzing.target import target
from tests.messaging.test_codec_round_trips import arrival

SAGA: Final = "order-42"
SAGAS: Final = (
    None,
    saga_after(saga_id=SAGA),
    *(saga_after(*events, saga_id=SAGA) for events in (PAYING, REFUNDING, REFUND_FAILED)),
    saga_after(*FORWARD_EXHAUSTED, saga_id=SAGA, plan=PAST_PIVOT),
)
ABOUT_A_SAGA: Final = st.builds(
    lambda step, more: json.dumps({"saga_id": SAGA, "step_name": step, **more}).encode(),
    st.sampled_from(["reserve", "pay", "ship", "walk"]),
    st.dictionaries(st.sampled_from(["result", "error", "data", "x"]), st.none() | ANY_TEXT),
)
# A command that its saga waits for, as its participant or the broker has given it up.
AWAITED: Final = st.builds(
    replace,
    deliveries(ABOUT_A_SAGA),
    routing_key=st.sampled_from(
        [
            *("compensation", "forward", "rejected.saga.commands.PaymentService"),
            *("saga.commands.PaymentService", "saga.commands.InventoryService"),
            *("saga.commands.ShippingService", "rejected.saga.commands.InventoryService"),
        ]
    ),
    headers=st.fixed_dictionaries(
        {"saga-direction": st.sampled_from(["action", "compensation"])},
        optional={
            "saga-command-id": ANY_TEXT | st.just("x" * 300) | HEADER_VALUES,
            "saga-attempt": st.sampled_from([1, 2, 1_000_000]) | HEADER_VALUES,
            "saga-error": ANY_TEXT,
            "traceparent": ANY_TEXT,
        },
    ),
)
ARRIVALS: Final = DELIVERIES | deliveries(ABOUT_A_SAGA) | AWAITED
POLICY: Final = ReplayPolicy()


@target(ARRIVALS, examples=100)
def a_dead_letter_can_be_read_and_stored(delivery: Delivery) -> None:
    for letter in (read_letter(delivery, NAMES), bare_letter(delivery)):
        for value in values_of(letter).values():
            if not isinstance(value, bytes):
                _assert_storable(value)
        assert len(letter.signature) <= MAX_SIGNATURE
        assert letter.reason.isidentifier()
        assert letter.key


@target(st.tuples(ARRIVALS, st.sampled_from(SAGAS), st.booleans(), st.integers(0, 9)), examples=150)
def whatever_is_done_about_a_letter_can_be_done(
    said: tuple[Delivery, Saga | None, bool, int],
) -> None:
    delivery, saga, is_asked_for, replays = said
    letter = read_letter(delivery, NAMES)
    verdict = triage(letter, saga)
    has_moved(letter, saga)
    stored = _stored(letter, replays, is_asked_for=is_asked_for)
    _assert_can_be_done(plan(stored, verdict, saga, POLICY, NOW), stored, saga)
    if isinstance(verdict, AnswerForParticipant):
        _assert_is_understood(verdict.reply)


@target(st.tuples(HEADER_VALUES, ANY_TEXT, ANY_TEXT))
def whatever_stands_in_a_header_can_be_stored(said: tuple[object, str, str]) -> None:
    value, text, saga_id = said
    _assert_storable(storable_json({text: [value]}))
    assert "\0" not in storable_text(text)
    line = signature_of(
        reason="bad_json", participant=None, step=text, error=text * 40, saga_id=saga_id
    )
    assert len(line) <= MAX_SIGNATURE


def _assert_storable(value: object) -> None:
    """Strict JSON in UTF-8, and no NUL anywhere in it."""
    written = json.dumps(value, allow_nan=False, ensure_ascii=False)
    assert written.encode()
    assert "\0" not in "".join(_texts_in(json.loads(written)))


def _texts_in(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for each in value:
                yield from _texts_in(each)
        case dict():
            yield from _texts_in([*value.keys(), *value.values()])


def _assert_can_be_done(what: Plan, stored: StoredLetter, saga: Saga | None) -> None:
    match what:
        case Replay():
            assert saga is not None
            message = replay_of(NAMES, stored, saga)
        case Repeat():
            message = repetition_of(NAMES, stored.letter)
        case Answer(reply):
            message = codec.encode_reply(NAMES, reply)
        case _:
            return
    if message is not None and not stored.send_requested:
        assert_can_leave(message)
        if isinstance(what, Replay):
            assert message.exchange == NAMES.commands
            _assert_has_good_headers(message)
        if message.exchange == NAMES.starts:
            assert message.type in set(StartType)


def _assert_has_good_headers(message: Outgoing) -> None:
    """What a replay says is the letter's, and may be garbage; its headers are ours."""
    try:
        codec.decode_command(arrival(message))
    except ProtocolError as error:
        assert error.reason not in {"bad_header", "unknown_type"}


def _assert_is_understood(reply: Reply) -> None:
    """The orchestrator takes our own answer."""
    assert codec.decode_reply(arrival(codec.encode_reply(NAMES, reply))) == reply


def _stored(letter: DeadLetter, replays: int, *, is_asked_for: bool) -> StoredLetter:
    return StoredLetter(
        id=1,
        letter=letter,
        status=Status.OPEN,
        times_seen=1,
        first_seen=NOW - timedelta(days=1),
        last_seen=NOW - timedelta(days=1),
        replays=replays,
        last_replay_at=None,
        next_replay_at=None,
        send_requested=is_asked_for,
        alert_key=None,
        closed_at=None,
        closed_by=None,
        closed_reason=None,
    )
