"""A client of the embedded broker's server, with all that can happen on the way to it."""

import asyncio
import itertools
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from messaging.arrivals import Arrivals
from messaging.memory_queue import Link
from messaging.memory_server import MemoryServer
from messaging.port import Consumer, Delivery, Outgoing, Receipt
from messaging.topology import Binding, Names
from tests.simulation.faults import CALM, Climate, Machine
from tests.simulation.loop import VirtualLoop
from tests.simulation.story import Story

_DEADLINE: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What becomes of one message."""

    copies: int
    tells: bool  # its sender gets the confirm
    late: float = 0.0

    def told(self) -> list[str]:
        if not self.copies:
            return ["is lost by the broker"] if self.tells else ["does not arrive"]
        words = ["arrives twice"] if self.copies > 1 else []
        words += [f"is {self.late:.1f} s late"] if self.late else []
        return words if self.tells else [*words, "is not confirmed"]


class Network:
    """The server, the faults of messages, and an ear at the wire."""

    def __init__(
        self, loop: VirtualLoop, chance: random.Random, story: Story, now: Callable[[], datetime]
    ) -> None:
        self.server = MemoryServer()
        self.names = Names("sim")
        self.climate: Climate = CALM
        self.heard: list[
            Callable[[str, Outgoing, Receipt], None]
        ] = []  # who has sent what, and learnt what
        self.can_lose: Callable[[Outgoing], bool] = lambda message: True
        self.on_the_way = 0
        self._unbound: list[Binding] = []
        self.loop = loop
        self.chance = chance
        self.story = story
        self._now = now
        self._numbers = itertools.count(1)

    def carry(self, sender: str, message: Outgoing, *, arrives: bool, tells: bool) -> Receipt:
        """Bring one message to its queue, or not; say what its sender learns."""
        fate = self._fate(message, arrives=arrives, tells=tells)
        number = f"m{next(self._numbers)}"
        told = "".join(f"; it {each}" for each in fate.told())
        self.story.tell(f"{sender} sends {number} {_said(message)}{told}", message.correlation_id)
        receipt = Receipt.CONFIRMED
        for _ in range(fate.copies):
            delivery = self._delivery(number, sender, message)
            if fate.late:
                self.on_the_way += 1
                self.loop.later(fate.late, self._arrive, delivery, message.mandatory)
            else:
                receipt = self.server.publish(delivery, mandatory=message.mandatory)
        learnt = receipt if fate.tells else Receipt.UNKNOWN
        if learnt is Receipt.UNROUTABLE:
            self.story.tell(f"{number} comes back: no queue takes it", message.correlation_id)
        for listener in self.heard:
            listener(sender, message, learnt)
        return learnt

    def is_unbound(self, service: str) -> bool:
        queue = self.names.commands_for(service)
        return any(binding.queue == queue for binding in self._unbound)

    def unbind(self, service: str) -> None:
        """From now on what is sent to the service comes back."""
        bindings = self.server._bindings[self.names.commands]
        queue = self.names.commands_for(service)
        self._unbound += [each for each in bindings if each.queue == queue]
        bindings[:] = [each for each in bindings if each.queue != queue]

    def bind_all(self) -> None:
        self.server._bindings[self.names.commands] += self._unbound
        self._unbound.clear()

    def _fate(self, message: Outgoing, *, arrives: bool, tells: bool) -> "Fate":
        climate, chance = self.climate, self.chance
        if not arrives or chance.random() < climate.refused:
            return Fate(copies=0, tells=False)
        if chance.random() < climate.lost and self.can_lose(message):
            return Fate(copies=0, tells=True)
        return Fate(
            copies=2 if chance.random() < climate.duplicated else 1,
            tells=tells and chance.random() >= climate.unconfirmed,
            late=chance.random() ** 3 * 20 if chance.random() < climate.delayed else 0.0,
        )

    def _arrive(self, delivery: Delivery, mandatory: bool) -> None:
        self.on_the_way -= 1
        self.server.publish(delivery, mandatory=mandatory)

    def _delivery(self, number: str, sender: str, message: Outgoing) -> Delivery:
        return Delivery(
            queue="",
            exchange=message.exchange,
            routing_key=message.routing_key,
            body=message.body,
            tag=0,
            session=0,
            type=message.type,
            message_id=number,
            correlation_id=message.correlation_id,
            content_type="application/json",
            app_id=sender,
            timestamp=self._now().replace(microsecond=0),
            headers=dict(message.headers),
        )


class SimulatedConsumer:
    """Deliveries of one queue, for as long as its session lasts."""

    def __init__(self, broker: "SimulatedBroker", queue: str, prefetch: int, priority: int) -> None:
        self._broker = broker
        self._queue = queue
        self._prefetch = prefetch
        self._priority = priority
        self._arrivals = Arrivals(queue)
        self._link: Link | None = None
        self._is_closed = False

    @property
    def is_consuming(self) -> bool:
        return self._link is not None or self._is_closed

    async def receive(self, limit: int) -> Sequence[Delivery]:
        deliveries = await self._arrivals.take(limit)
        await self._broker.machine.pass_by(f"after receiving {_numbers_of(deliveries)}")
        return deliveries

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        numbers = _numbers_of(deliveries)
        await self._broker.machine.pass_by(f"before acknowledging {numbers}")
        for delivery in deliveries:
            if self._link is not None and delivery.session == self._link.session:
                self._broker.queue(self._queue).settle(self._link, delivery.tag)
        await self._broker.machine.pass_by(f"after acknowledging {numbers}")

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        link = self._link
        if link is not None:
            tags = [each.tag for each in deliveries if each.session == link.session]
            self._broker.queue(self._queue).give_back(link, tags)

    async def close(self) -> None:
        self._is_closed = True
        self._arrivals.close()
        self.detach()

    def attach(self) -> None:
        """Begin a session."""
        if not self._is_closed:
            self._arrivals.drop()
            self._link = Link(self._prefetch, self._arrivals.put, self._priority)
            self._broker.queue(self._queue).attach(self._link)

    def detach(self) -> None:
        """The server ends the session: what is not settled goes to others."""
        if self._link is not None:
            self._broker.queue(self._queue).detach(self._link)

    def lose(self) -> None:
        """The client notices."""
        self.detach()
        self._link = None
        self._arrivals.drop()


class SimulatedBroker:
    """The port, as one program has it."""

    def __init__(self, network: Network, machine: Machine) -> None:
        self.machine = machine
        self._network = network
        self._consumers: list[SimulatedConsumer] = []
        self._up = asyncio.Event()
        self._is_half_dead = False
        self._is_gone = False

    async def __aenter__(self) -> Self:
        self.machine.broker = self
        self._network.server.connect(self)
        self.connection_restored()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def wait_ready(self, timeout: float) -> None:
        await self._up.wait()

    async def publish(self, messages: Sequence[Outgoing]) -> Sequence[Receipt]:
        if not messages:
            return []
        await self.machine.pass_by(f"before publishing {len(messages)}")
        if not self._up.is_set() and not self._is_half_dead:
            try:
                async with asyncio.timeout(_DEADLINE):
                    await self._up.wait()
            except TimeoutError:
                return [Receipt.UNKNOWN] * len(messages)
        receipts = [self._publish_one(message) for message in messages]
        await self.machine.pass_by(f"after publishing {len(messages)}")
        return receipts

    async def consume(self, queue: str, *, prefetch: int, priority: int = 0) -> Consumer:
        consumer = SimulatedConsumer(self, queue, prefetch, priority)
        self._consumers.append(consumer)
        if self._up.is_set():
            consumer.attach()
        return consumer

    def is_ready(self) -> bool:
        return self._up.is_set() and all(each.is_consuming for each in self._consumers)

    def obstacle(self) -> str | None:
        return None if self.is_ready() else "it is down"

    async def close(self) -> None:
        self.vanish()
        for consumer in self._consumers:
            await consumer.close()

    def queue(self, name: str) -> Any:
        return self._network.server.queues[name]

    # --- what befalls it -----------------------------------------------------------------

    def connection_lost(self) -> None:
        self._up.clear()
        self._is_half_dead = False
        for consumer in self._consumers:
            consumer.lose()

    def connection_restored(self) -> None:
        if self._is_gone or not self._network.server.is_up or self._up.is_set():
            return
        self._up.set()
        for consumer in self._consumers:
            consumer.attach()

    def vanish(self) -> None:
        """The server sees it no more."""
        if not self._is_gone:
            self._is_gone = True
            self._network.server.disconnect(self)
            self.connection_lost()

    def half_die(self, seconds: float) -> None:
        """The server takes it for dead; it does not notice for so long."""
        if self._up.is_set():
            self._is_half_dead = True
            for consumer in self._consumers:
                consumer.detach()
            self._network.loop.later(seconds, self._notice)

    def _notice(self) -> None:
        if self._is_half_dead and not self._is_gone:
            self.connection_lost()
            self.connection_restored()

    def _publish_one(self, message: Outgoing) -> Receipt:
        """What is sent over a dead session may have been in its buffers and still arrive."""
        is_well = self._up.is_set() and not self._is_half_dead
        arrives = is_well or (self._is_half_dead and self._network.chance.random() < 0.5)
        if not arrives and not is_well:
            return Receipt.UNKNOWN
        return self._network.carry(self.machine.name, message, arrives=arrives, tells=is_well)


def _numbers_of(deliveries: Sequence[Delivery]) -> str:
    return " ".join(str(each.message_id) for each in deliveries)


def _said(message: Outgoing) -> str:
    """A message in a few words."""
    headers = message.headers
    content = json.loads(message.body)
    words = [message.type]
    if content.get("step_name"):
        words.append(str(content["step_name"]))
    if "saga-attempt" in headers:
        words.append(f"attempt {headers['saga-attempt']}")
    if "saga-reason" in headers:
        words.append(f"({headers['saga-reason']})")
    if "error" in content:
        words.append(f"{content['error']!r}"[:60])
    return " ".join(words)
