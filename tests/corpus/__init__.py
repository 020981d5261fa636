"""Bad input as data: messages that no program may stumble over, and what becomes of each.

`values.json` and `bodies.json` are tried on every queue, the first with each value somewhere in
an otherwise good body, the second with the whole body as it stands; `envelopes.json` puts good
bodies into odd properties and headers. `replies.json`, `starts.json` and `commands.json` are
about one queue each. Frames that no client library would write are in `raw_amqp`; what is said
to one saga, in turn, is in `stories`. `files` says how all of these are written, and `catalogue`
which kinds of bad input there are.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final

from messaging.port import Delivery
from messaging.topology import Names
from tests.corpus.files import bytes_of, load

QUEUES: Final = ("replies", "starts", "commands")
ACCEPTED: Final = "accepted"
SAGA_ID: Final = "corpus-1"
DESTINATION: Final = "InventoryService.ReserveItems"

_TYPES: Final = {"replies": "SagaStepCompleted", "starts": "StartSaga", "commands": DESTINATION}
_HEADERS: Final = {
    "saga-type": "OrderFulfillment",
    "saga-direction": "action",
    "saga-command-id": "corpus-command",
    "saga-attempt": 1,
}
_GOOD: Final = {
    "replies": '{"saga_id":"corpus-1","step_name":"reserve_inventory","result":{"value":VALUE}}',
    "starts": '{"saga_id":"corpus-1","saga_type":"OrderFulfillment","data":{"value":VALUE}}',
    "commands": '{"saga_id":"corpus-1","step_name":"reserve_inventory","value":VALUE}',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One message, and what is expected of it.

    `expected` is the reason it is rejected for, or "accepted": it can be decoded. What then
    becomes of it depends on the saga it names; `then` is the reason of the dead letter if
    there is no such saga, where that is certain.
    """

    name: str
    numbers: tuple[int, ...]  # in the catalogue
    queue: str  # "replies", "starts" or "commands"
    body: bytes
    expected: str
    then: str | None = None
    routing_key: str | None  # None: by the queue's own name
    properties: Mapping[str, Any] = field(default_factory=dict)  # as AMQP names them
    headers: Mapping[str, Any] = field(default_factory=dict)

    def address(self, names: Names) -> tuple[str, str]:
        """The exchange and the routing key to publish it with."""
        exchange = {
            "replies": names.replies,
            "starts": names.starts,
            "commands": names.commands,
        }[self.queue]
        return exchange, exchange if self.routing_key is None else self.routing_key

    def addressed_to(self, saga_id: str) -> "Entry":
        """The same about another saga than `corpus-1`."""
        return replace(self, body=self.body.replace(SAGA_ID.encode(), saga_id.encode()))

    def delivery(self, names: Names | None = None) -> Delivery:
        """As it arrives."""
        names = names or Names()
        exchange, routing_key = self.address(names)
        known = Delivery.__dataclass_fields__.keys()
        return Delivery(
            queue=self._queue(names),
            exchange=exchange,
            routing_key=routing_key,
            body=self.body,
            tag=1,
            session=1,
            headers=self.headers,
            **{key: value for key, value in self.properties.items() if key in known},
        )

    def _queue(self, names: Names) -> str:
        if self.queue == "commands":
            return names.commands_for(DESTINATION.partition(".")[0])
        return self.address(names)[0]


@cache
def entries(queue: str) -> tuple[Entry, ...]:
    """All entries for one of the three queues."""
    return tuple(_entries(queue))


def _entries(queue: str) -> Iterator[Entry]:
    before, after = _GOOD[queue].encode().split(b"VALUE")
    for spec in _load("values", queue):
        yield _entry(queue, spec, before + bytes_of(spec["value"]) + after)
    for spec in _load("envelopes", queue):
        yield _entry(queue, spec, before + b"1" + after)
    for spec in (*_load("bodies", queue), *_load(queue, queue)):
        yield _entry(queue, spec, bytes_of(spec["body"]))


def _entry(queue: str, spec: Mapping[str, Any], body: bytes) -> Entry:
    """Properties and headers are the usual ones; the entry's own replace them, null removes."""
    headers = {**(_HEADERS if queue == "commands" else {}), **_headers(spec)}
    properties = {
        "type": _TYPES[queue],
        "content_type": "application/json",
        **spec.get("properties", {}),
    }
    return Entry(
        name=spec["name"],
        numbers=tuple(spec["numbers"]),
        queue=queue,
        body=body,
        expected=spec["expected"],
        then=spec.get("then"),
        routing_key=spec.get("routing_key", _TYPES[queue]),
        properties=_without_null(properties),
        headers=_without_null(headers),
    )


def _headers(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The entry's own headers, and as many more as it asks for."""
    many = {f"h{number:04}": "x" for number in range(spec.get("more_headers", 0))}
    return {**spec.get("headers", {}), **many}


def _without_null(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _load(name: str, queue: str) -> list[dict[str, Any]]:
    """The entries of a file that are meant for this queue: for all of them, if it does not say."""
    return [spec for spec in load(name) if queue in spec.get("queues", QUEUES)]
