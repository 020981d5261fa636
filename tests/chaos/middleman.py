"""Somebody between an exchange and a queue, who copies, holds back or loses what passes."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from messaging.contract import ReplyType
from messaging.topology import Names
from tests.chaos.wires import WireRoom
from tests.chaos.world import World
from tests.product.installation import Place

AS_IT_CAME = (0.0,)
LOST: tuple[float, ...] = ()

Fate = Callable[[AbstractIncomingMessage], Sequence[float]]
"""After how many seconds each copy of a message is passed on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """From an exchange, by these keys, to a queue."""

    exchange: str
    keys: Sequence[str]
    queue: str


def way_of_replies(names: Names) -> Way:
    return Way(exchange=names.replies, keys=(*ReplyType, names.replies), queue=names.replies)


def way_of_commands(names: Names, participant: str) -> Way:
    queue = names.commands_for(participant)
    return Way(exchange=names.commands, keys=(f"{participant}.*",), queue=queue)


def is_action(message: AbstractIncomingMessage) -> bool:
    return message.headers.get("saga-direction") == "action"


@contextmanager
def between(world: World, what: str, ways: Iterable[Way], fate: Fate) -> Iterator[None]:
    """Meanwhile a middleman stands in these ways. Each message that fares ill is a fault."""
    room = WireRoom()
    middlemen = [_Middleman(world.place, way, fate) for way in ways]
    try:
        world.mend(f"from now on: {what}")
        for each in middlemen:
            room.run(each.step_in())
        yield
        for each in middlemen:
            room.run(each.step_out())
    finally:
        meddled = sum(each.meddled for each in middlemen)
        world.faults.count += meddled
        world.mend(f"{what}: {meddled} messages")
        room.close()


class _Middleman:
    def __init__(self, place: Place, way: Way, fate: Fate) -> None:
        self.meddled = 0
        self._place = place
        self._way = way
        self._fate = fate
        self._held: set[asyncio.Task[None]] = set()

    async def step_in(self) -> None:
        """First a second way, then the end of the first: nothing is ever without a way."""
        way = self._way
        self._connection = await aio_pika.connect(self._place.amqp_url, timeout=10)
        self._channel = channel = await self._connection.channel()
        self._onward = await channel.declare_exchange(f"{way.queue}.onward", "topic")
        self._target = await channel.get_queue(way.queue, ensure=False)
        await self._target.bind(self._onward, "#")
        self._between = await channel.declare_queue(
            f"{way.queue}.between", durable=True, arguments={"x-queue-type": "quorum"}
        )
        for key in way.keys:
            await self._between.bind(way.exchange, key)
            await self._target.unbind(way.exchange, key)
        await self._between.consume(self._take)

    async def step_out(self) -> None:
        """Put the way back, and pass on all that is still held."""
        for key in self._way.keys:
            await self._target.bind(self._way.exchange, key)
            await self._between.unbind(self._way.exchange, key)
        while self._held or await self._is_left():
            await asyncio.sleep(0.05)
        await self._channel.queue_delete(self._between.name)
        await self._channel.exchange_delete(self._onward.name)
        await self._connection.close()

    async def _is_left(self) -> bool:
        declared = await self._channel.get_queue(self._between.name, ensure=True)
        return bool(declared.declaration_result.message_count)

    async def _take(self, message: AbstractIncomingMessage) -> None:
        pauses = self._fate(message)
        self.meddled += tuple(pauses) != AS_IT_CAME
        task = asyncio.create_task(self._settle(message, pauses))
        self._held.add(task)
        task.add_done_callback(self._held.discard)

    async def _settle(self, message: AbstractIncomingMessage, pauses: Sequence[float]) -> None:
        await asyncio.gather(*(self._pass_on(message, pause) for pause in pauses))
        await message.ack()

    async def _pass_on(self, message: AbstractIncomingMessage, pause: float) -> None:
        await asyncio.sleep(pause)
        await self._onward.publish(_copy(message), message.routing_key or "")


def _copy(message: AbstractIncomingMessage) -> aio_pika.Message:
    """The same in every property."""
    properties: dict[str, Any] = {
        name: getattr(message, name)
        for name in (
            *("headers", "content_type", "delivery_mode", "correlation_id", "message_id"),
            *("timestamp", "type", "user_id", "app_id"),
        )
    }
    return aio_pika.Message(message.body, **properties)
