"""Who has gone quiet is told of; what people want to be sent again is sent."""

from collections.abc import Sequence
from typing import Final, TypeVar

from chassis.facts import DeadLettered, GaugeMeasured, Observe
from messaging.events import event_message
from messaging.port import Broker, Outgoing, Receipt
from messaging.strict_json import dump
from messaging.texts import moment_text
from messaging.topology import Names
from orchestrator.store import event_log
from orchestrator.store.database import DatabaseStore
from orchestrator.store.event_log import Standing

Thing = TypeVar("Thing")

REASON: Final = "choreography_quiet"
QUIET: Final = "quiet"  # the routing key of the dead letter


class Watch:
    """Looks at the record again and again. Each look is True if there may be more to do."""

    def __init__(
        self, broker: Broker, store: DatabaseStore, names: Names, observe: Observe
    ) -> None:
        self._broker = broker
        self._store = store
        self._names = names
        self._observe = observe

    async def tell_of_quiet_ones(self) -> bool:
        """A dead letter for each: published first, for twice is one letter, and never is none."""
        quiet = await event_log.quiet_ones(self._store)
        told = await self._published(quiet, [letter_about(self._names, each) for each in quiet])
        if told:
            await event_log.note_told(self._store, told)
        for each in told:
            self._observe(
                DeadLettered(
                    reason=REASON,
                    saga_id=each.saga_id,
                    saga_type=each.saga_type,
                    error=silence_of(each),
                )
            )
        return bool(told)

    async def send_replays(self) -> bool:
        """Under the same event ids: whoever has taken them before answers from the log."""
        due = await event_log.due_replays(self._store)
        messages = [
            event_message(self._names, each.type, each.saga_id, each.body, each.headers)
            for each in due
        ]
        sent = await self._published(due, messages)
        if sent:
            await event_log.note_sent(self._store, [each.id for each in sent])
        return bool(sent)

    async def measure(self) -> bool:
        gauges = await event_log.count_open(self._store)
        names = ("saga_choreographies_open", "saga_choreographies_quiet")
        for name, counts in zip(names, gauges, strict=True):
            values: dict[tuple[str, ...], float] = {
                (saga_type,): float(count) for saga_type, count in counts.items()
            }
            self._observe(GaugeMeasured(name=name, values=values))
        return False

    async def _published(
        self, things: Sequence[Thing], messages: Sequence[Outgoing]
    ) -> list[Thing]:
        receipts = await self._broker.publish(messages) if messages else []
        pairs = zip(things, receipts, strict=True)
        return [thing for thing, receipt in pairs if receipt is Receipt.CONFIRMED]


def letter_about(names: Names, standing: Standing) -> Outgoing:
    """The dead letter that says that a saga has gone quiet."""
    body = {
        "saga_id": standing.saga_id,
        "saga_type": standing.saga_type,
        "last_event": standing.last_event,
        "last_service": standing.last_service,
        "last_event_at": moment_text(standing.last_event_at),
    }
    return Outgoing(
        exchange=names.dead,
        routing_key=QUIET,
        type="ChoreographyQuiet",
        body=dump(body),
        correlation_id=standing.saga_id,
        headers={
            "saga-type": standing.saga_type,
            "saga-reason": REASON,
            "saga-error": silence_of(standing),
            "saga-events": standing.events,
            "saga-quiet-at": moment_text(standing.quiet_at or standing.last_event_at),
        },
    )


def silence_of(standing: Standing) -> str:
    seconds = int(standing.quiet_after.total_seconds())
    by = f" of {standing.last_service}" if standing.last_service else ""
    return f"no event for {seconds} s since {standing.last_event}{by}"
