"""What the null programs say is what Countermand's would say."""

import pytest

from bench.answers import NullOrchestrator, NullParticipants
from bench.codec import Delivery, Post, entry
from bench.null_plan import plan_of
from bench.sagas import SAGAS, Messages
from messaging.codec import decode_reply
from messaging.port import Delivery as Arrived
from messaging.topology import Names

NAMES = Names("bench")


def _delivered(post: Post) -> Delivery:
    return Delivery(1, post.routing_key.encode(), post.correlation_id, post.headers, post.body)


def _whole(saga_type: str) -> list[Post]:
    """Everything that is said from the start of a saga to its outcome."""
    orchestrator = NullOrchestrator(NAMES, plan_of(SAGAS), b'"order_id":"1"')
    participants = NullParticipants(NAMES)
    body = b'{"saga_type":"%b","saga_id":"s-1","data":{}}' % saga_type.encode()
    said = [Post(NAMES.starts, "StartSaga", b"s-1", body)]
    for post in said:
        if post.exchange != NAMES.events:
            answer = participants if post.exchange == NAMES.commands else orchestrator
            said += answer(_delivered(post))
    return said


@pytest.mark.parametrize("saga_type", Messages.BY_TYPE)
def test_a_null_saga_takes_the_messages_that_are_counted(saga_type: str) -> None:
    said = _whole(saga_type)
    outcome = "Failed" if saga_type == "BenchBack" else "Completed"
    assert [post.routing_key for post in said if post.exchange == NAMES.events] == [
        f"{saga_type}{outcome}"
    ]
    assert len(said) == Messages.BY_TYPE[saga_type]


def test_what_goes_back_goes_in_reverse_order() -> None:
    said = [post.routing_key for post in _whole("BenchBack") if post.exchange == NAMES.commands]
    forth, back = said[:4], said[4:]
    assert forth == ["BenchA.Do", "BenchB.Do", "BenchC.Do", "BenchD.Refuse"]
    assert back == ["BenchC.Undo", "BenchB.Undo", "BenchA.Undo"]


@pytest.mark.parametrize("command", ["Do", "Refuse", "Undo"])
def test_replies_are_such_as_the_orchestrator_takes(command: str) -> None:
    headers = entry("saga-type", "BenchLine") + entry("saga-command-id", "c-1")
    body = b'{"saga_id": "s-1", "step_name": "line_a", "order_id": "1"}'
    delivery = Delivery(1, f"BenchA.{command}".encode(), b"s-1", headers, body)
    [post] = NullParticipants(NAMES)(delivery)
    assert post.headers == entry("saga-command-id", "c-1")
    reply = decode_reply(
        Arrived(
            queue=NAMES.replies,
            exchange=NAMES.replies,
            session=1,
            tag=1,
            routing_key=post.routing_key,
            type=post.routing_key,
            body=post.body,
            content_type="application/json",
        )
    )
    assert (reply.saga_id, reply.step_name) == ("s-1", "line_a")
