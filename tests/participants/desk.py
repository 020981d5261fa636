"""The orchestrator's side of the wire, for tests: send commands, read replies."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

from messaging.codec import decode_reply, encode_command
from messaging.contract import Command, Direction, Reply, command_id_for
from messaging.port import Broker, Consumer, Delivery, Outgoing, Receipt
from messaging.topology import Names
from participants.runner import Runner

SECONDS = 20.0  # how long a test waits for a fact
ACTION, COMPENSATION = Direction.ACTION, Direction.COMPENSATION


def command(
    destination: str,
    saga_id: str = "order-1",
    *,
    step: str = "act",
    direction: Direction = ACTION,
    attempt: int = 1,
    original_result: Mapping[str, Any] | None = None,
    **data: Any,
) -> Command:
    return Command(
        saga_id=saga_id,
        saga_type="TestSaga",
        step_name=step,
        direction=direction,
        destination=destination,
        command_id=command_id_for(saga_id, step, direction),
        attempt=attempt,
        data=data,
        original_result=original_result,
    )


@dataclass(frozen=True, slots=True)
class Desk:
    """Sends to participants, and consumes what they answer."""

    names: Names
    broker: Broker
    replies: Consumer
    dead_letters: Consumer

    @classmethod
    async def open(cls, names: Names, broker: Broker) -> Self:
        """Over an open broker whose topology is the installation's."""
        await broker.wait_ready(SECONDS)
        replies = await broker.consume(names.replies, prefetch=100)
        dead_letters = await broker.consume(names.dead_letters, prefetch=100)
        return cls(names, broker, replies, dead_letters)

    async def send(self, *commands: Command) -> None:
        await self.send_raw(*(encode_command(self.names, each) for each in commands))

    async def send_raw(self, *messages: Outgoing) -> None:
        assert set(await self.broker.publish(messages)) == {Receipt.CONFIRMED}

    async def send_body(self, destination: str, body: bytes, **headers: str | int) -> None:
        """A command whose body may be anything."""
        await self.send_raw(
            Outgoing(
                exchange=self.names.commands,
                routing_key=destination,
                type=destination,
                body=body,
                headers={"saga-direction": "action", **headers},
            )
        )

    async def ask(self, asked: Command) -> Reply:
        """The reply to a command."""
        await self.send(asked)
        return await self.reply()

    async def reply(self) -> Reply:
        return decode_reply(await _next(self.replies))

    async def dead_letter(self) -> Delivery:
        return await _next(self.dead_letters)

    async def is_silent(self, *, until: Command) -> bool:
        """No reply is on its way: the next one answers `until`, sent afterwards."""
        reply = await self.ask(until)
        return (reply.saga_id, reply.step_name) == (until.saga_id, until.step_name)


async def _next(consumer: Consumer) -> Delivery:
    async with asyncio.timeout(SECONDS):
        [delivery] = await consumer.receive(1)
    await consumer.ack([delivery])
    return delivery


@asynccontextmanager
async def running(runner: Runner) -> AsyncIterator[asyncio.Event]:
    """The runner at work; stopped and drained afterwards. Yields its `stopping`."""
    await runner.prepare()
    stopping = asyncio.Event()
    work = asyncio.create_task(runner.run(stopping))
    try:
        yield stopping
    finally:
        stopping.set()
        async with asyncio.timeout(SECONDS):
            await work


def body_of(delivery: Delivery) -> Any:
    return json.loads(delivery.body)
