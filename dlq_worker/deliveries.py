"""Sending alerts: every sink on its own, so that none waits for another."""

import asyncio
from datetime import timedelta
from typing import Final

from tenacity import (
    AsyncRetrying,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from chassis.facts import Noticed, Observe
from chassis.failpoints import Failpoint, reach
from chassis.pacing import Pace
from dlq_worker.alerts import DueDelivery, settle_delivery, take_due_deliveries
from dlq_worker.notices import Notice
from dlq_worker.sinks.port import Sink, SinkFailed
from orchestrator.store.database import DatabaseStore

_TAKEN_AT_A_TIME: Final = 5
_LEASE_SLACK: Final = timedelta(seconds=15)
_FIRST_RETRY: Final = timedelta(seconds=5)
_MOST_DOUBLINGS: Final = 6  # five minutes
_GRACE: Final = 3.0  # seconds for a delivery under way when we are to stop


class Courier:
    """Delivers what is due for one sink. What fails comes again, until its round is over."""

    def __init__(
        self,
        sink: Sink,
        store: DatabaseStore,
        *,
        observe: Observe,
        timeout: timedelta,
        console_url: str | None,
    ) -> None:
        self._sink = sink
        self._store = store
        self._observe = observe
        self._timeout = timeout
        self._console_url = console_url

    async def run(self, pace: Pace, interval: timedelta, wake: asyncio.Event) -> None:
        await pace.repeat(lambda: self._deliver_due(pace), interval=interval, wake=wake)

    async def _deliver_due(self, pace: Pace) -> bool:
        due = await take_due_deliveries(
            self._store,
            self._sink.name,
            limit=_TAKEN_AT_A_TIME,
            lease=_TAKEN_AT_A_TIME * self._timeout + _LEASE_SLACK,
            console_url=self._console_url,
        )
        for delivery in due:
            if pace.stopping.is_set():
                return False
            await self._deliver(delivery, pace.stopping)
        return len(due) == _TAKEN_AT_A_TIME

    async def _deliver(self, delivery: DueDelivery, stopping: asyncio.Event) -> None:
        await reach(Failpoint.DLQ_BEFORE_ALERT)
        problem = await self._problem_with(delivery.notice, stopping)
        await reach(Failpoint.DLQ_AFTER_ALERT)
        retry = _FIRST_RETRY * (1 << min(delivery.attempts, _MOST_DOUBLINGS))
        await settle_delivery(self._store, delivery, error=problem, retry=retry)
        await reach(Failpoint.DLQ_AFTER_ALERT_MARK)
        if problem is not None:
            details = {
                "sink": self._sink.name,
                "alert": delivery.notice.alert_id,
                "problem": problem,
            }
            notice = Noticed(level="warning", message="alert not delivered", details=details)
            self._observe(notice)

    async def _problem_with(self, notice: Notice, stopping: asyncio.Event) -> str | None:
        """Send it; why that was not possible, or None."""
        sending = asyncio.ensure_future(self._send(notice))
        stop = asyncio.ensure_future(stopping.wait())
        try:
            await asyncio.wait({sending, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                await asyncio.wait({sending}, timeout=_GRACE)
            if not sending.done():
                return "the worker was stopped meanwhile"
            return _problem_of(sending)
        finally:
            stop.cancel()
            sending.cancel()

    async def _send(self, notice: Notice) -> None:
        """A few attempts, within the timeout."""
        attempts = AsyncRetrying(
            retry=retry_if_exception(_is_worth_a_retry),
            stop=stop_after_attempt(3),
            wait=wait_random_exponential(multiplier=0.3, max=3),
            reraise=True,
        )
        async with asyncio.timeout(self._timeout.total_seconds()):
            await attempts(self._sink.send, notice)


def _problem_of(sending: "asyncio.Future[None]") -> str | None:
    error = sending.exception()
    match error:
        case None:
            return None
        case SinkFailed():
            return str(error)
        case TimeoutError():
            return "there was no answer in time"
        case _:  # a library of a sink: its text may show a secret
            return f"unexpected {type(error).__name__}"


def _is_worth_a_retry(error: BaseException) -> bool:
    return isinstance(error, SinkFailed) and not error.is_final
