"""Whatever comes as an event is taken, or is a dead letter with its reason; the service goes on."""

import json
from typing import Any

import pytest
from pydantic import BaseModel

from messaging.errors import ProtocolError
from messaging.events import MAX_HOPS, decode_event, encode_event
from messaging.port import Delivery
from messaging.topology import Names
from participants import Choreography, Emit, EventContext
from tests.choreography.conftest import Stage
from tests.choreography.ear import event
from tests.participants.desk import running

GOOD = b'{"saga_id": "order-1", "cents": 5}'
CIRCLE = " ".join(f"e-{number}" for number in range(MAX_HOPS + 1))
BAD: list[tuple[str, bytes, dict[str, Any]]] = [
    ("bad_json", b'{"saga_id": ', {}),
    ("bad_encoding", b'{"saga_id": "\xff"}', {}),
    ("not_an_object", b"[1]", {}),
    ("duplicate_key", b'{"saga_id": "a", "saga_id": "b"}', {}),
    ("bad_field", b"{}", {}),
    ("bad_field", b'{"saga_id": "a b"}', {}),
    ("bad_field", b'{"saga_id": 7}', {}),
    ("too_large", b'{"saga_id": "a", "x": "' + b"x" * 262_144 + b'"}', {}),
    ("too_deep", b'{"saga_id": "a", "x": ' + b"[" * 40 + b"]" * 40 + b"}", {}),
    ("bad_header", GOOD, {"saga-event-id": "with space"}),
    ("bad_header", GOOD, {"saga-event-id": 7}),
    ("bad_header", GOOD, {"saga-causes": "e-1 ü"}),
    ("bad_header", GOOD, {"saga-ends": "perhaps"}),
    ("bad_header", GOOD, {"saga-type": "x" * 101}),
    ("too_many_hops", GOOD, {"saga-causes": CIRCLE}),
    ("too_many_hops", GOOD, {"saga-hops": 65}),
    ("bad_event", b'{"saga_id": "order-1", "cents": "many"}', {}),
]
IGNORED: list[dict[str, Any]] = [
    {"saga-started-at": "yesterday"},
    {"saga-quiet-after": -1},
    {"saga-quiet-after": "soon"},
    {"traceparent": "nonsense"},
    {"saga-hops": "many"},
]


class Paid(BaseModel):
    cents: int


def paying() -> Choreography:
    service = Choreography("First")

    @service.on("Asked")
    async def pay(event: Paid, context: EventContext) -> Emit:
        return Emit("Done", {"cents": event.cents})

    return service


async def test_bad_events_are_dead_letters_with_their_reasons_and_good_ones_go_on(
    stage: Stage,
) -> None:
    async with running(await stage.runner(paying())):
        for reason, body, headers in BAD:
            await stage.ear.tell_body("Asked", body, **headers)
            letter = await stage.ear.dead_letter()
            assert letter.headers["saga-reason"] == reason, letter.headers
            assert letter.routing_key == f"rejected.{stage.names.choreography_of('First')}"
        await stage.ear.tell(event("Asked", cents=5))
        await hear_past_nonsense(stage)


async def hear_past_nonsense(stage: Stage) -> None:
    while (await stage.ear.next_event()).type != "Done":
        pass


@pytest.mark.parametrize("headers", IGNORED, ids=str)
def test_advisory_headers_that_make_no_sense_are_ignored(headers: dict[str, Any]) -> None:
    assert decode_event(delivered(GOOD, headers)).data == {"cents": 5}


def test_an_event_survives_its_way_over_the_wire() -> None:
    told = event("Asked", causes=("e-1", "e-2"), cents=5)
    message = encode_event(Names(), told)
    again = decode_event(delivered(message.body, dict(message.headers)))
    assert again.saga.causes == told.saga.causes
    assert (again.event_id, again.data, again.service) == (told.event_id, told.data, "Tests")


@pytest.mark.parametrize("data", [{"x": float("nan")}, {"x": 2**64}, {"x": "\0"}, {1: "x"}])
def test_data_that_no_listener_would_take_cannot_be_emitted(data: dict[Any, Any]) -> None:
    told = event("Asked")
    with pytest.raises(ProtocolError):
        encode_event(Names(), type(told)(**{**asdict(told), "data": data}))


def asdict(told: Any) -> dict[str, Any]:
    return {name: getattr(told, name) for name in told.__slots__}


def delivered(body: bytes, headers: dict[str, Any]) -> Delivery:
    assert json.loads(body)
    return Delivery(
        queue="q",
        exchange="saga.events",
        routing_key="Asked",
        body=body,
        tag=1,
        session=1,
        headers=headers,
    )
