"""What null orchestrators and null participants answer; how it travels is `relays.py`'s."""

import re
from collections.abc import Iterator
from typing import Final

from bench.codec import Delivery, Post, entries, entry
from bench.null_plan import Move, Plan, Sent
from messaging.contract import EPOCH_HEADER
from messaging.topology import Names

_STEP: Final = re.compile(rb'"step_name":\s*"([^"]+)"')
_TYPE: Final = re.compile(rb'"saga_type":\s*"([^"]+)"')
_ECHOED: Final = (b"saga-command-id", b"saga-attempt", EPOCH_HEADER.encode())
_REPLIES: Final = {
    b"Do": ("SagaStepCompleted", b'"result":{"reference":"R-1"}'),
    b"Refuse": ("SagaStepFailed", b'"error":"refused, as asked"'),
    b"Undo": ("SagaCompensationCompleted", b'"result":{}'),
}


class NullParticipants:
    """All four participants: the right reply to every command, and nothing kept."""

    def __init__(self, names: Names) -> None:
        self._replies = names.replies

    def __call__(self, delivery: Delivery) -> Iterator[Post]:
        command = delivery.routing_key.rpartition(b".")[2]
        kind, said = _REPLIES[command]
        step = _found(_STEP, delivery.body)
        saga_id = delivery.correlation_id
        body = b'{"saga_id":"%b","step_name":"%b",%b}' % (saga_id, step, said)
        came = entries(delivery.headers)
        headers = b"".join([came[name] for name in _ECHOED if name in came])
        yield Post(self._replies, kind, saga_id, body, headers)


class NullOrchestrator:
    """Knows what follows what, and of a saga only how many of a parallel stage have answered.

    Its commands have no ids, so that their headers are the same each time: it is to be fast.
    """

    def __init__(self, names: Names, plan: Plan, data: bytes) -> None:
        """`data` is what every command and outcome carries, as JSON without its braces."""
        self._names = names
        self._plan = plan
        self._data = data
        self._answered: dict[tuple[bytes, str], int] = {}
        self._headers = {sent: _headers(sent) for sent in _all_sent(plan)}

    def __call__(self, delivery: Delivery) -> Iterator[Post]:
        saga_id = delivery.correlation_id
        if delivery.routing_key == b"StartSaga":
            following = self._plan.starts[_found(_TYPE, delivery.body).decode()]
        else:
            step = _found(_STEP, delivery.body).decode()
            move = self._plan.moves[delivery.routing_key.decode(), step]
            if move.awaited > 1 and not self._is_complete(saga_id, move):
                return
            following = move.sent
        for sent in following:
            yield self._post(sent, saga_id)

    def _is_complete(self, saga_id: bytes, move: Move) -> bool:
        key = saga_id, move.stage
        count = self._answered.pop(key, 0) + 1
        if count < move.awaited:
            self._answered[key] = count
        return count == move.awaited

    def _post(self, sent: Sent, saga_id: bytes) -> Post:
        key, headers = sent.routing_key, self._headers[sent]
        if not sent.step:
            body = b'{"saga_id":"%b",%b}' % (saga_id, self._data)
            return Post(self._names.events, key, saga_id, body, headers, is_mandatory=False)
        body = b'{"saga_id":"%b","step_name":"%b",%b}' % (saga_id, sent.step.encode(), self._data)
        return Post(self._names.commands, key, saga_id, body, headers)


def _headers(sent: Sent) -> bytes:
    attempt = b"\x0csaga-attemptI" + (1).to_bytes(4, "big")
    return entry("saga-type", sent.saga_type) + entry("saga-direction", sent.direction) + attempt


def _all_sent(plan: Plan) -> Iterator[Sent]:
    for start in plan.starts.values():
        yield from start
    for move in plan.moves.values():
        yield from move.sent


def _found(pattern: re.Pattern[bytes], body: bytes) -> bytes:
    found = pattern.search(body)
    if found is None:
        raise ValueError(f"{body[:200]!r} has nothing like {pattern.pattern!r}")
    return found[1]
