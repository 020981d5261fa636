"""Declaring, verifying and probing on RabbitMQ."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from aio_pika.exceptions import CONNECTION_EXCEPTIONS, ChannelClosed
from aiormq.channel import Channel
from aiormq.exceptions import (
    ChannelAccessRefused,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
)

from messaging.errors import ConfigurationError, SagaError, Unavailable
from messaging.rabbit_fitness import plain_connect
from messaging.rabbit_session import (
    RPC_SECONDS,
    Session,
    open_session,
    within,
)
from messaging.rabbit_url import parse_address
from messaging.topology import Exchange, Queue, Topology, TopologyMode, declared_arguments

CHECK_AGAIN_SECONDS: Final = 30.0
REST_SECONDS: Final = 5.0  # between two looks, however much seems to be missing

_Call = Callable[[Channel], Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerFacts:
    """What a broker says of itself."""

    product: str
    version: str
    cluster: str
    host: str
    port: int
    vhost: str
    user: str
    is_tls: bool


async def declare(url: str, topology: Topology) -> None:
    """Create what is missing of `topology`.

    Raises ConfigurationError if something is there but different, or may not be declared;
    Unavailable if the broker is out of reach.
    """
    async with connected(url, "saga topology declare") as session:
        await declare_on(session, topology)


async def verify(url: str, topology: Topology) -> list[str]:
    """How the broker differs from `topology`; empty if it does not. Changes nothing.

    AMQP shows no bindings, and compares arguments only for a user with configure permission;
    without it, only what is missing is found.
    """
    async with connected(url, "saga topology verify") as session:
        return await differences_on(session, topology)


async def probe(url: str) -> BrokerFacts:
    """Connect, look, disconnect. Raises ConfigurationError or Unavailable."""
    address = parse_address(url)
    async with connected(url, "saga doctor") as session:
        properties = session.server_properties
    return BrokerFacts(
        product=str(properties.get("product", "")),
        version=str(properties.get("version", "")),
        cluster=str(properties.get("cluster_name", "")),
        host=address.host,
        port=address.port,
        vhost=address.vhost,
        user=address.login,
        is_tls=address.is_tls,
    )


async def declare_on(session: Session, topology: Topology) -> None:
    """Declare over a live session, on a channel of its own."""
    channel = await session.channel()
    for what, call in _declarations(topology, session.broker_major):
        try:
            await within(RPC_SECONDS, call(channel))
        except ChannelClosed as error:
            raise _undeclarable(what, error) from error
    await session.close_channel(channel)


async def differences_on(session: Session, topology: Topology) -> list[str]:
    """Each object is looked at passively, then declared again as it should be."""
    found = []
    for what, look, compare in _comparisons(topology, session.broker_major):
        if difference := await _difference(session, what, look, compare):
            found.append(difference)
    return found


class TopologyGuard:
    """Declares or verifies at each connection. A difference is kept and reported, never raised.

    Publishing and consuming go on meanwhile: a queue that somebody changed still works, and
    whoever starts a program learns of it from `wait_ready`.
    """

    def __init__(
        self, topology: Topology, mode: TopologyMode, report: Callable[[bool, str], None]
    ) -> None:
        self.problem: SagaError | None = None
        self._topology = topology
        self._mode = mode
        self._report = report
        self._lock = asyncio.Lock()  # two connections must not declare one queue at once
        self._suspicion = asyncio.Event()

    def suspect(self) -> None:
        """Something seems to be missing: whoever tends the topology looks again soon."""
        self._suspicion.set()

    async def ensure(self, session: Session) -> None:
        self._suspicion.clear()
        async with self._lock:
            before, self.problem = self.problem, await self._attempt(session)
        if self.problem:
            self._report(False, str(self.problem))
        elif before:
            self._report(True, "the topology on the broker is as it should be again")

    async def tend(self, session: Session) -> None:
        """While the session lives, look again when something is wrong, or seems to be."""
        while not session.has_ended:
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK_AGAIN_SECONDS):
                    await self._suspicion.wait()
            if self.problem or self._suspicion.is_set():
                await self.ensure(session)
            await session.ended(REST_SECONDS)

    async def _attempt(self, session: Session) -> SagaError | None:
        try:
            match self._mode:
                case TopologyMode.DECLARE:
                    await declare_on(session, self._topology)
                case TopologyMode.VERIFY:
                    _refuse(await differences_on(session, self._topology))
                case TopologyMode.IGNORE:
                    pass
        except SagaError as error:
            return error
        except CONNECTION_EXCEPTIONS as error:
            return Unavailable(f"the topology could not be settled: {error}")
        return None


def _declarations(topology: Topology, major: int) -> Iterator[tuple[str, _Call]]:
    """Every object with its name for people, in the order in which they can be declared."""
    for exchange in topology.exchanges:
        yield f"exchange {exchange.name!r}", _declare_exchange(exchange)
    for queue in topology.queues:
        yield f"queue {queue.name!r}", _declare_queue(queue, major)
    for binding in topology.bindings:
        what = f"binding of {binding.queue!r} to {binding.exchange!r}"
        yield what, _bind(binding.queue, binding.exchange, binding.routing_key)


def _comparisons(topology: Topology, major: int) -> Iterator[tuple[str, _Call, _Call]]:
    for exchange in topology.exchanges:
        what = f"exchange {exchange.name!r}"
        yield what, _look_at_exchange(exchange.name), _declare_exchange(exchange)
    for queue in topology.queues:
        what = f"queue {queue.name!r}"
        yield what, _look_at_queue(queue.name), _declare_queue(queue, major)


async def _difference(session: Session, what: str, look: _Call, compare: _Call) -> str | None:
    channel = await session.channel()  # one each: an error closes it
    try:
        await within(RPC_SECONDS, look(channel))
        await within(RPC_SECONDS, compare(channel))
    except ChannelNotFoundEntity:
        return f"{what} is missing"
    except ChannelPreconditionFailed as error:
        return f"{what} differs: {error}"
    except ChannelAccessRefused:
        return None  # we may not look closer
    finally:
        await session.close_channel(channel)
    return None


def _undeclarable(what: str, error: ChannelClosed) -> ConfigurationError:
    match error:
        case ChannelPreconditionFailed():
            remedy = (
                "drain and delete it, then run `saga topology declare`, or set SAGA_TOPOLOGY=ignore"
            )
            return ConfigurationError(f"{what} differs on the broker: {error}; {remedy}")
        case ChannelAccessRefused():
            remedy = (
                "run `saga topology declare` as a user who may, "
                "and set SAGA_TOPOLOGY=verify or ignore here"
            )
            return ConfigurationError(f"{what} may not be declared: {error}; {remedy}")
        case _:
            return ConfigurationError(
                f"{what} cannot be declared: {error}; see `saga topology verify`"
            )


def _refuse(differences: list[str]) -> None:
    if differences:
        raise ConfigurationError(
            f"{'; '.join(differences)}; create what is missing with `saga topology declare`, "
            "drain and delete what differs first"
        )


def _declare_exchange(exchange: Exchange) -> _Call:
    return lambda channel: channel.exchange_declare(
        exchange.name, exchange_type=exchange.type, durable=True, timeout=RPC_SECONDS
    )


def _declare_queue(queue: Queue, major: int) -> _Call:
    arguments: dict[str, Any] = dict(declared_arguments(queue, major))
    return lambda channel: channel.queue_declare(
        queue.name, durable=True, arguments=arguments, timeout=RPC_SECONDS
    )


def _bind(queue: str, exchange: str, routing_key: str) -> _Call:
    return lambda channel: channel.queue_bind(queue, exchange, routing_key, timeout=RPC_SECONDS)


def _look_at_exchange(name: str) -> _Call:
    return lambda channel: channel.exchange_declare(name, passive=True, timeout=RPC_SECONDS)


def _look_at_queue(name: str) -> _Call:
    return lambda channel: channel.queue_declare(name, passive=True, timeout=RPC_SECONDS)


@asynccontextmanager
async def connected(url: str, name: str) -> AsyncIterator[Session]:
    """A session by that name while it is needed; a lost one is Unavailable."""
    session = await open_session(parse_address(url), name, plain_connect)
    try:
        yield session
    except CONNECTION_EXCEPTIONS as error:
        raise Unavailable(f"the connection to the broker was lost: {error}") from error
    finally:
        await session.close()
