"""The messages the worker sends about a letter. Destinations never come from the letter."""

from collections.abc import Mapping
from typing import Final

from dlq_worker.letter import FIRST_ID, ORIGINAL_ID, DeadLetter, Place
from dlq_worker.rows import StoredLetter
from dlq_worker.triage import step_of
from messaging.contract import (
    EPOCH_HEADER,
    Direction,
    ReplyType,
    StartType,
    command_id_for,
    participant_of,
)
from messaging.events import EVENT_NAME, HEADERS
from messaging.port import Outgoing
from messaging.reading import MAX_ATTEMPT
from messaging.topology import Names
from orchestrator.saga.state import Saga

# What a program may need of the original; nothing of what the broker or others have added.
_KEPT_HEADERS: Final = (
    "saga-direction",
    "saga-command-id",
    "saga-attempt",
    EPOCH_HEADER,
    *HEADERS,
)


def replay_of(names: Names, stored: StoredLetter, saga: Saga) -> Outgoing | None:
    """The stored compensation command once more: the same command id, the next attempt.

    None if it cannot be: the saga has no such step, or the body was too large to keep.
    """
    letter = stored.letter
    step = step_of(letter, saga)
    destination = step.plan.compensation if step else None
    if step is None or destination is None or not letter.is_whole:
        return None
    attempt = (letter.attempt or step.compensation_attempts) + stored.replays + 1
    headers: dict[str, str | int] = {
        **_kept(letter),
        "saga-type": saga.saga_type,
        "saga-direction": Direction.COMPENSATION.value,
        "saga-command-id": command_id_for(saga.saga_id, step.name, Direction.COMPENSATION),
        "saga-attempt": min(attempt, MAX_ATTEMPT),
    }
    if saga.epoch:
        headers[EPOCH_HEADER] = saga.epoch  # it is this life of the saga that asks
    return Outgoing(
        exchange=names.commands,
        routing_key=destination,
        type=destination,
        body=letter.body,
        correlation_id=saga.saga_id,
        headers=headers,
    )


def repetition_of(names: Names, letter: DeadLetter) -> Outgoing | None:
    """The message once more, to the exchange it came by; None if there is no way for it."""
    exchange = exchange_for(names, letter)
    if exchange is None or letter.type is None:
        return None
    to_one_service = letter.queue if letter.place is Place.EVENTS else None
    return Outgoing(
        exchange=exchange,
        routing_key=to_one_service or letter.type,
        type=letter.type,
        body=letter.body,
        correlation_id=letter.saga_id,
        headers={**_kept(letter), FIRST_ID: _first_id(letter)},
    )


def exchange_for(names: Names, letter: DeadLetter) -> str | None:
    """Where the message goes if it is sent again; None if it cannot be."""
    if not letter.is_whole or letter.type is None:
        return None
    match letter.place:
        case Place.STARTS if letter.type in set(StartType):
            return names.starts
        case Place.REPLIES if letter.type in set(ReplyType):
            return names.replies
        case Place.COMMANDS if letter.destination and _is_own(letter):
            return names.commands
        case Place.EVENTS if EVENT_NAME.fullmatch(letter.type):
            return names.events
        case _:
            return None


def _is_own(letter: DeadLetter) -> bool:
    """It was in the queue of the participant that it names."""
    return letter.type is not None and participant_of(letter.type) == letter.participant


def _kept(letter: DeadLetter) -> Mapping[str, str | int]:
    headers = {name: letter.headers.get(name) for name in _KEPT_HEADERS}
    return {name: value for name, value in headers.items() if isinstance(value, str | int)}


def _first_id(letter: DeadLetter) -> str:
    known = (letter.headers.get(FIRST_ID), letter.headers.get(ORIGINAL_ID), letter.message_id)
    return next((each for each in known if isinstance(each, str) and each), "")
