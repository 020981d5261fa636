"""The last act for every command: publish what must be said, then acknowledge. In bulk."""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from chassis.facts import BatchPublished, Fact, Noticed, Observe
from chassis.failpoints import Failpoint, reach
from messaging.port import Broker, Consumer, Delivery, Outgoing, Receipt

_BATCH: Final = 500
_SHORTEST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 30.0


@dataclass(slots=True, kw_only=True, eq=False)
class Settlement:
    """A delivery that has been dealt with, and what is owed before it may be acknowledged."""

    delivery: Delivery
    message: Outgoing | None  # None: nothing is said
    fact: Fact | None = None  # reported once it is settled
    tries: int = 0


class Settler:
    """Publishes and acknowledges for one consumer, whatever is ready at a time as one batch.

    A delivery is acknowledged only after the broker has confirmed its message. What was not
    confirmed is published again, with growing pauses, without holding up the others.
    """

    def __init__(self, broker: Broker, consumer: Consumer, observe: Observe) -> None:
        self._broker = broker
        self._consumer = consumer
        self._observe = observe
        self._ready: asyncio.Queue[Settlement] = asyncio.Queue()
        self._waiting: dict[Settlement, asyncio.TimerHandle] = {}  # for their next try
        self._unsettled = 0
        self._all_settled = asyncio.Event()
        self._all_settled.set()
        self._is_closing = False

    def put(self, settlement: Settlement) -> None:
        self._unsettled += 1
        self._all_settled.clear()
        self._ready.put_nowait(settlement)

    async def run(self) -> None:
        """Settle for ever."""
        while True:
            batch = [await self._ready.get()]
            while len(batch) < _BATCH and not self._ready.empty():
                batch.append(self._ready.get_nowait())
            await self._settle(batch)

    async def drain(self) -> None:
        """Wait until all is settled. What cannot be published now is left: it comes again."""
        self._is_closing = True
        for settlement, timer in list(self._waiting.items()):
            timer.cancel()
            self._put_back(settlement)
        await self._all_settled.wait()

    async def _settle(self, batch: Sequence[Settlement]) -> None:
        await reach(Failpoint.PARTICIPANT_BEFORE_PUBLISH)
        receipts = await self._publish(batch)
        await reach(Failpoint.PARTICIPANT_BEFORE_ACK)
        done = [each for each, receipt in zip(batch, receipts, strict=True) if _is_safe(receipt)]
        if done:
            await self._consumer.ack([each.delivery for each in done])
        for each, receipt in zip(batch, receipts, strict=True):
            if not _is_safe(receipt):
                self._try_again(each, receipt)
        for each in done:
            if each.fact is not None:
                self._observe(each.fact)
        self._count_settled(len(done))

    async def _publish(self, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        """One receipt each; those with nothing to say are confirmed."""
        messages = [each.message for each in batch if each.message is not None]
        began = asyncio.get_running_loop().time()
        given = list(await self._broker.publish(messages)) if messages else []
        took = timedelta(seconds=asyncio.get_running_loop().time() - began)
        if given:
            self._observe(
                BatchPublished(
                    size=len(given),
                    took=took,
                    unroutable=given.count(Receipt.UNROUTABLE),
                    unknown=given.count(Receipt.UNKNOWN),
                )
            )
        receipts = iter(given)
        return [Receipt.CONFIRMED if each.message is None else next(receipts) for each in batch]

    def _try_again(self, settlement: Settlement, receipt: Receipt) -> None:
        if self._is_closing:
            self._count_settled(1)
            return
        settlement.tries += 1
        pause = pause_before(settlement.tries)
        self._observe(_notice(settlement, receipt, pause))
        timer = asyncio.get_running_loop().call_later(pause, self._put_back, settlement)
        self._waiting[settlement] = timer

    def _put_back(self, settlement: Settlement) -> None:
        del self._waiting[settlement]
        self._ready.put_nowait(settlement)

    def _count_settled(self, count: int) -> None:
        self._unsettled -= count
        if self._unsettled == 0:
            self._all_settled.set()


def pause_before(attempt: int, draw: Callable[[float, float], float] = random.uniform) -> float:
    """Seconds before the next try: 0.2, 0.4 … 30, of which half is drawn by chance."""
    ceiling = min(_LONGEST_PAUSE, _SHORTEST_PAUSE * 2 ** min(attempt - 1, 16))
    return draw(ceiling / 2, ceiling)


def pauses() -> Iterator[float]:
    """`pause_before` the first try again, the second, and so on without end."""
    attempt = 0
    while True:
        attempt += 1
        yield pause_before(attempt)


def _is_safe(receipt: Receipt) -> bool:
    return receipt is Receipt.CONFIRMED


def _notice(settlement: Settlement, receipt: Receipt, pause: float) -> Noticed:
    message = settlement.message
    assert message is not None  # noqa: S101  # what says nothing is always confirmed
    unroutable = receipt is Receipt.UNROUTABLE
    return Noticed(
        level="warning",
        message="no queue takes this message; it is published again"
        if unroutable
        else "the broker has not confirmed this message; it is published again",
        details={
            "exchange": message.exchange,
            "routing_key": message.routing_key,
            "saga_id": message.correlation_id,
            "again_in_seconds": round(pause, 1),
        },
    )
