"""Start, cancel and wait for sagas from other services, through the saga database."""

import asyncio
import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

from chassis.tracing import current_traceparent
from messaging.errors import ConfigurationError, NotFound, Refused
from orchestrator.backoff import retry_delay
from orchestrator.ids import digest_of, new_saga_id
from orchestrator.saga.decide import decide
from orchestrator.saga.start import requested
from orchestrator.saga.state import CancelRequested, Decision, SagaState, Verdict
from orchestrator.starting import check_request, started_otherwise
from orchestrator.store.queries import show_saga, state_of
from orchestrator.store.stores import store_for
from orchestrator.store.views import SagaView

_LOOK_EVERY: Final = 0.05  # seconds, growing to a second


class SagaClient:
    """A client of the orchestrators that share this database.

    Without a URL, SAGA_DATABASE_URL is used. Use it as an asynchronous context manager:

        async with SagaClient() as client:
            saga_id = await client.start("OrderFulfillment", {"order_id": "42"})
            state = await client.wait(saga_id, timeout=60)
    """

    def __init__(self, database_url: str | None = None) -> None:
        url = database_url or os.environ.get("SAGA_DATABASE_URL")
        if not url:
            raise ConfigurationError("SagaClient needs a database URL, or SAGA_DATABASE_URL")
        self._store = store_for(url)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._store.close()

    async def start(
        self, saga_type: str, data: Mapping[str, Any], *, saga_id: str | None = None
    ) -> str:
        """Ask for a saga, and return its id. A worker that knows its type begins it at once.

        With a `saga_id` of your own it is idempotent: asking again changes nothing. Raises
        Conflict if that id was started with another type or other data, ProtocolError if
        the data cannot cross the network.
        """
        chosen = saga_id or new_saga_id()
        check_request(saga_type, chosen, data)
        async with self._store.transaction() as transaction:
            saga = requested(
                saga_id=chosen,
                saga_type=saga_type,
                data=dict(data),
                input_digest=digest_of(saga_type, data),
                now=transaction.now,
                traceparent=current_traceparent(),
            )
            known = (await transaction.lock({chosen})).get(chosen)
            if known is not None and known.input_digest != saga.input_digest:
                raise started_otherwise(chosen)
            if known is None:
                asked = Decision(saga=saga, verdict=Verdict.ADVANCED, must_save=True)
                taken = await transaction.insert([asked])
                await transaction.notify()
        if known is None and taken:  # somebody was faster: look what they have started
            return await self.start(saga_type, data, saga_id=chosen)
        return chosen

    async def wait(self, saga_id: str, *, timeout: float | None = None) -> str:
        """The state in which the saga ends, `completed` or `failed`.

        Raises NotFound for an unknown id, TimeoutError after `timeout` seconds.
        """
        pause = _LOOK_EVERY
        async with asyncio.timeout(timeout):
            while True:
                state = await state_of(self._store, saga_id)
                if state is None:
                    raise NotFound(f"there is no saga {saga_id!r}")
                if SagaState(state).is_final:
                    return state
                await asyncio.sleep(pause)
                pause = min(pause * 1.2, 1.0)

    async def cancel(self, saga_id: str, *, reason: str, by: str) -> str:
        """Turn the saga back: what is done is compensated. Returns its state now.

        Raises NotFound for an unknown id, Refused if it has ended or is past its pivot.
        """
        async with self._store.transaction() as transaction:
            saga = (await transaction.lock({saga_id})).get(saga_id)
            if saga is None:
                raise NotFound(f"there is no saga {saga_id!r}")
            event = CancelRequested(reason=reason, actor=by)
            decision = decide(saga, event, now=transaction.now, delay=retry_delay)
            if decision.verdict is Verdict.REFUSED:
                raise Refused(decision.refusal or f"saga {saga_id} cannot be cancelled now")
            await transaction.save([decision])
            await transaction.notify()
        return decision.saga.state

    async def show(self, saga_id: str) -> SagaView | None:
        """The saga with its steps and history, or None."""
        return await show_saga(self._store, saga_id)
