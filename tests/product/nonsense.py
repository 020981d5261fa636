"""The corpus of bad input, addressed to a running installation, and the fate of each message."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from aio_pika import Message, connect

from tests.corpus import ACCEPTED, DESTINATION, QUEUES, Entry, entries
from tests.corpus.publishing import message_of
from tests.corpus.raw_amqp import RAW_CASES, RawCase, RawConnection
from tests.product.installation import Place

UNKNOWN = "unknown_saga"  # what becomes of a good reply whose saga nobody knows
SMALL = 64 * 1024  # bytes; larger bodies are sent to one service only
ACTIONS = (
    DESTINATION,
    "PaymentService.ProcessPayment",
    "ShippingService.CreateShipment",
    "NotificationService.SendOrderConfirmation",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """One message to publish. Its id is its message id and the saga that it speaks of.

    `reason` is that of its dead letter; None: it is a good start of an order that is no order,
    so there is a saga, and it fails.
    """

    id: str
    name: str
    reason: str | None
    exchange: str
    routing_key: str
    message: Message = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Malformed:
    """One message that no client library would write."""

    id: str
    reason: str
    case: RawCase

    @property
    def name(self) -> str:
        return self.case.name


def bad_messages(place: Place, prefix: str = "") -> list[Bad]:
    """All that the corpus has for each queue, and for the commands of every service."""
    found = [
        _bad(place, entry, f"{prefix}{queue}-{n}") for queue in QUEUES for n, entry in _all(queue)
    ]
    for action in ACTIONS[1:]:
        found += bad_commands(place, action, prefix)
    return found


def bad_commands(place: Place, action: str, prefix: str = "", *, largest: int = SMALL) -> list[Bad]:
    """What the corpus has for commands and is not about one service, as that action of another."""
    service = action.partition(".")[0]
    return [
        _bad(place, _to(entry, action), f"{prefix}{service}-{number}")
        for number, entry in _all("commands")
        if entry.routing_key == DESTINATION and len(entry.body) <= largest
    ]


def malformed_messages(prefix: str = "") -> list[Malformed]:
    reasons = {ACCEPTED: UNKNOWN}
    return [
        Malformed(
            id=f"{prefix}raw-{number}", case=case, reason=reasons.get(case.expected, case.expected)
        )
        for number, case in enumerate(RAW_CASES)
    ]


def malformed_commands(action: str, prefix: str = "") -> list[Malformed]:
    """Those that go to the first service, as that action of another."""
    here = DESTINATION.encode()
    return [
        replace(
            each,
            id=f"{action.partition('.')[0]}-{each.id}",
            case=replace(each.case, routing_key=action.encode()),
        )
        for each in malformed_messages(prefix)
        if each.case.queue == "commands" and each.case.routing_key == here
    ]


def bad_dead_letters(place: Place, prefix: str = "") -> list[Bad]:
    """The bodies that are nothing, straight into the dead letters, by every way into them."""
    names = place.names
    queues = (names.starts, names.replies, names.commands_for("InventoryService"))
    ways = ("compensation", "forward", "late_success", "nobody's", *queues)
    ways += tuple(f"rejected.{queue}" for queue in queues)
    found = []
    for number, entry in _all("replies"):
        bad = _bad(place, entry, f"{prefix}dead-{number}")
        way = ways[number % len(ways)]
        found.append(replace(bad, exchange=names.dead, routing_key=way, reason=None))
    return found


async def publish_bad(place: Place, messages: Sequence[Bad]) -> None:
    """In order, each confirmed and routed."""
    async with await connect(place.amqp_url, timeout=10) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        for bad in messages:
            exchange = await channel.get_exchange(bad.exchange, ensure=False)
            await exchange.publish(bad.message, bad.routing_key)


def publish_malformed(place: Place, messages: Sequence[Malformed]) -> None:
    """As the case says; and once more into the dead letters, about a saga of another name."""
    with RawConnection(place.amqp_url) as connection:
        for each in messages:
            case = each.case
            exchange = case.exchange(place.names)
            body = _about(case.body, each.id)
            connection.publish(exchange, case.routing_key, case.properties, body)
            body = _about(case.body, f"dead-{each.id}")
            connection.publish(place.names.dead, b"compensation", case.properties, body)


def _all(queue: str) -> Iterator[tuple[int, Entry]]:
    return enumerate(entries(queue))


def _bad(place: Place, entry: Entry, name: str) -> Bad:
    own = entry.addressed_to(name)
    if "message_id" not in own.properties:
        own = replace(own, properties={**own.properties, "message_id": name})
    exchange, routing_key = own.address(place.names)
    return Bad(
        id=name,
        name=f"{entry.queue}: {entry.name}",
        reason=_reason(entry),
        exchange=exchange,
        routing_key=routing_key,
        message=message_of(own),
    )


def _reason(entry: Entry) -> str | None:
    """A good command about no saga is answered, and its answer is about no saga."""
    if entry.expected != ACCEPTED:
        return entry.expected
    return entry.then or (None if entry.queue == "starts" else UNKNOWN)


def _to(entry: Entry, action: str) -> Entry:
    """The same command to another service."""
    properties = dict(entry.properties)
    if properties.get("type") == DESTINATION:
        properties["type"] = action
    return replace(entry, routing_key=action, properties=properties)


def _about(body: bytes, saga_id: str) -> bytes:
    return body.replace(b"corpus-1", saga_id.encode())
