"""Beginning a saga: its first event, stored with the service's own rows, then published."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Self

from chassis.tracing import current_traceparent
from messaging.contract import SAGA_ID
from messaging.errors import Refused
from messaging.events import Event, SagaContext, encode_event, event_id_for
from messaging.port import Broker, Outgoing, Receipt
from messaging.topology import Names
from participants.choreography.definition import Choreography
from participants.choreography.log import EventLog, Line, Place
from participants.choreography.reactions import Emit
from participants.choreography.rules import Entry, Kind, State
from participants.lone_broker import lone_broker

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

Work = Callable[["AsyncSession"], Awaitable[object]]

_CONFIRM_TIMEOUT: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A saga to begin: its id, its first event, and whatever it was begun for."""

    saga_id: str
    emit: Emit
    correlation_id: str | None = None


class Starts:
    """Emits the first events of sagas, from a web service or wherever orders come in.

    Uses the log of the service that begins the saga: whatever becomes of this process, the
    runner of that service publishes what was stored.
    """

    def __init__(self, broker: Broker, log: EventLog, names: Names) -> None:
        self._broker = broker
        self._log = log
        self._names = names

    @classmethod
    @asynccontextmanager
    async def open(
        cls, amqp_url: str, *, inbox_url: str, namespace: str = "saga"
    ) -> AsyncIterator[Self]:
        """Starts from a process that runs no services."""
        from participants.choreography.sql_log import SqlEventLog  # noqa: PLC0415  # loads SQL
        from participants.sql_inbox import SqlInbox  # noqa: PLC0415

        names = Names(namespace)
        inbox = SqlInbox(inbox_url)
        try:
            await inbox.prepare([SqlEventLog.prepare])
            async with lone_broker(amqp_url, names) as broker:
                yield cls(broker, SqlEventLog(inbox, names), names)
        finally:
            await inbox.close()

    async def start(self, service: Choreography, start: Start, work: Work | None = None) -> bool:
        """Begin a saga, with `work(session)` in the same transaction; False: it had begun.

        Returns when the event is stored: it will be published even if the broker is away now.
        The same start again publishes the same event again and does no work. Raises Refused if
        the saga has begun with other data, or if the service begins no saga with that event,
        and Unavailable if the database is away.
        """
        event = self._event(service, start)
        message = encode_event(self._names, event)
        async with self._log.claim(service.name, start.saga_id) as claim:
            known = next((each for each in claim.entries if each.event_id == event.event_id), None)
            if known is None:
                if work is not None:
                    await work(claim.session())
                await claim.save(_line(event, message))
            else:
                message = _same(known, message)
        await self._publish(message, Place(service.name, start.saga_id, event.event_id))
        return known is None

    def _event(self, service: Choreography, start: Start) -> Event:
        beginning = service.beginnings.get(start.emit.type)
        if beginning is None:
            known = ", ".join(service.beginnings) or "nothing"
            raise Refused(
                f"{service.name} begins sagas with {known}, not with {start.emit.type!r};"
                " declare it with starts()"
            )
        if not SAGA_ID.fullmatch(start.saga_id):
            raise Refused(f"{start.saga_id!r} is no saga id; use 1 to 200 of A-Za-z0-9._:@-")
        return Event(
            type=start.emit.type,
            event_id=event_id_for(start.saga_id, service.name, start.emit.type),
            saga=SagaContext(
                saga_id=start.saga_id,
                saga_type=beginning.saga_type,
                correlation_id=start.correlation_id or start.saga_id,
                started_at=datetime.now(UTC),
                quiet_after=beginning.quiet_after,
                traceparent=current_traceparent(),
            ),
            service=service.name,
            data=start.emit.content,
            ends=service.endings.get(start.emit.type),
        )

    async def _publish(self, message: Outgoing, place: Place) -> None:
        """One try: what it does not bring about, the service's sweep does."""
        async with asyncio.timeout(_CONFIRM_TIMEOUT):
            [receipt] = await self._broker.publish([message])
        if receipt is Receipt.CONFIRMED:
            await self._log.mark_published([place])


def _line(event: Event, message: Outgoing) -> Line:
    entry = Entry(
        event_id=event.event_id,
        event=event.type,
        kind=Kind.START,
        state=State.HANDLED,
        emitted=(message,),
    )
    return Line(entry=entry, event=event, payload=message.body)


def _same(known: Entry, message: Outgoing) -> Outgoing:
    """The event as it was stored, if it is the same."""
    [stored] = known.emitted
    if stored.body != message.body:
        raise Refused(f"saga {message.correlation_id} has begun with other data; choose another id")
    return stored
