"""One connection to RabbitMQ, and the supervisor that builds it anew for ever.

Plain `aio_pika.connect`, never its robust variant: there one drifted queue takes all channels
down, return callbacks are lost on reconnect and waits hide outside of timeouts.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, Protocol, TypeVar, cast

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import (
    CONNECTION_EXCEPTIONS,
    AuthenticationError,
    ChannelClosed,
    ConnectionClosed,
    InvalidFrameError,
    ProbableAuthenticationError,
)
from aiormq.channel import Channel
from aiormq.connection import Connection as AmqpConnection

from messaging.errors import ConfigurationError, SagaError, Unavailable
from messaging.rabbit_backoff import Backoff
from messaging.rabbit_tap import Tap
from messaging.rabbit_url import RabbitAddress

CONNECT_SECONDS: Final = 10.0
RPC_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 4.0
HEALTHY_SECONDS: Final = 30.0
UNLIMITED_FRAME: Final = 131_072  # what we keep to if the broker names no limit
_FRAMES: Final = 1024  # read ahead of a channel's work; the library's 10 are three deliveries

_numbers = itertools.count(1)
_T = TypeVar("_T")


class Connect(Protocol):
    """`aio_pika.connect`, or something that stands in for it."""

    def __call__(self, **arguments: Any) -> Awaitable[AbstractConnection]: ...


async def within(seconds: float, awaitable: Awaitable[_T]) -> _T:
    """The result; Unavailable if there is none in time, or if the connection ended meanwhile.

    aiormq ends its futures with a CancelledError when a connection is lost: nobody asked us
    to stop then, and we must not believe it. And until Python 3.12 `asyncio.wait_for`, in the
    library, may swallow the one cancellation with which `asyncio.timeout` would end it: so the
    work is a task of its own, and whoever waits for it goes on whatever it does.
    """
    work = asyncio.ensure_future(awaitable)
    work.add_done_callback(_forget)  # it may fail in the moment in which we are asked to stop
    try:
        await asyncio.wait([work], timeout=seconds)
    finally:
        if not work.done():
            work.cancel()
    if not work.done():
        raise Unavailable(f"the broker gave no answer within {seconds:g} s")
    if work.cancelled():
        raise Unavailable("the connection was lost")
    return work.result()


def _forget(work: "asyncio.Future[Any]") -> None:
    """What nobody waits for any more is of no interest, not even if it failed."""
    if not work.cancelled():
        work.exception()


def is_cancelled() -> bool:
    """True if somebody really asked the current task to stop."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _stop_if_asked() -> None:
    """Until Python 3.12 `asyncio.wait_for`, in the library, may swallow a cancellation."""
    if is_cancelled():
        raise asyncio.CancelledError


class Session:
    """One connection. When any part of it ends, all of it has ended."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[None]] = set()
        self._expected: set[Channel] = set()
        if connection.transport is None:
            raise Unavailable("the connection was lost while it was opened")
        self._underlay = connection.transport.connection
        self._underlay.closing.add_done_callback(lambda closing: self.end(_cause(closing)))
        self.tap: Tap | None = getattr(connection, "tap", None)  # None: all goes by the library

    @property
    def has_ended(self) -> bool:
        return self._ended.done()

    @property
    def server_properties(self) -> dict[str, Any]:
        return dict(self._underlay.server_properties)

    @property
    def frame_max(self) -> int:
        """The most bytes that a frame may have."""
        tuned = cast("AmqpConnection", self._underlay).connection_tune
        return tuned.frame_max or UNLIMITED_FRAME

    @property
    def broker_major(self) -> int:
        """The broker's major version; 3 if it does not say."""
        major = str(self.server_properties.get("version", "")).partition(".")[0]
        return int(major) if major.isdecimal() else 3

    def end(self, cause: str) -> None:
        """Declare the whole session ended. The first cause counts."""
        if not self._ended.done():
            self._ended.set_result(cause)

    async def ended(self, timeout: float | None = None) -> str | None:
        """The cause of the end; None if the session still lives after `timeout` seconds."""
        await asyncio.wait([self._ended], timeout=timeout)
        return self._ended.result() if self._ended.done() else None

    async def channel(self, *, confirms: bool = False) -> Channel:
        """A new channel. Its end is no end of the session unless it is watched."""
        opening = self._underlay.channel(
            publisher_confirms=confirms, frame_buffer_size=_FRAMES, timeout=RPC_SECONDS
        )
        return cast("Channel", await within(RPC_SECONDS, opening))

    def watch(self, channel: Channel) -> None:
        """From now on the end of `channel` is the end of the session, unless we close it."""

        def on_closing(closing: "asyncio.Future[Any]") -> None:
            if channel not in self._expected:
                self.end(_cause(closing))

        channel.closing.add_done_callback(on_closing)

    async def close_channel(self, channel: Channel) -> None:
        """Close one channel of ours on purpose; failing to is no failure."""
        self._expected.add(channel)
        with suppress(SagaError, *CONNECTION_EXCEPTIONS):
            await within(CLOSE_SECONDS, channel.close())

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run `work` while the session lives."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        self.end("it was closed")
        for task in list(self._tasks):
            task.cancel()
        with suppress(SagaError, *CONNECTION_EXCEPTIONS):
            await within(CLOSE_SECONDS, self._connection.close())


async def open_session(address: RabbitAddress, name: str, connect: Connect) -> Session:
    """A new connection, or the error of whoever can act: a setting's, or nobody's."""
    arguments = address.connect_arguments()
    try:
        connection = await within(
            CONNECT_SECONDS,
            connect(
                **arguments,
                timeout=CONNECT_SECONDS,
                client_properties={"connection_name": name},
            ),
        )
    except (SagaError, *CONNECTION_EXCEPTIONS) as error:
        raise translated(error, address) from error
    return Session(connection)


def translated(error: BaseException, address: RabbitAddress) -> SagaError:
    """The library's error as ours, naming the place and never the password."""
    match error:
        case ConfigurationError():
            return error
        case ProbableAuthenticationError() | AuthenticationError():
            return ConfigurationError(
                f"RabbitMQ at {address} refuses the login of {address.login!r}: "
                f"{_words(error).rstrip('.')}; check the user and the password in SAGA_AMQP_URL"
            )
        case InvalidFrameError() if _is_refused_vhost(error):
            return ConfigurationError(
                f"RabbitMQ at {address} does not let {address.login!r} in; "
                "check that the vhost exists and that the user has permissions on it"
            )
        case _:
            return Unavailable(f"RabbitMQ at {address} is out of reach: {_words(error)}")


class Supervisor:
    """Keeps one session up: opens it, prepares it, and on its end does so again, for ever.

    `prepare` makes a fresh session useful; `report(up, detail)` hears of every change.
    """

    def __init__(
        self,
        *,
        address: RabbitAddress,
        name: str,
        connect: Connect,
        prepare: Callable[[Session], Awaitable[None]],
        report: Callable[[bool, str], None],
    ) -> None:
        self._address = address
        self._name = name
        self._connect = connect
        self._prepare = prepare
        self._report = report
        self._up = asyncio.Event()
        self.session: Session | None = None
        self.problem: SagaError | None = None

    async def wait_session(self) -> Session:
        """The live session, or the next one."""
        while self.session is None or self.session.has_ended:
            await self._up.wait()
        return self.session

    async def run(self) -> None:
        """Runs until it is cancelled."""
        backoff = Backoff()
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            self.problem = await self._live()
            _stop_if_asked()
            if loop.time() - began > HEALTHY_SECONDS:
                backoff.reset()
            self._report(False, str(self.problem))
            is_refused = isinstance(self.problem, ConfigurationError)
            await asyncio.sleep(backoff.next_pause(is_refused=is_refused))

    async def _live(self) -> SagaError:
        """One session from its opening to its end, and why it ended."""
        try:
            session = await open_session(self._address, self._name, self._connect)
        except SagaError as error:
            return error
        try:
            await self._prepare(session)
            return await self._stay(session)
        except (SagaError, *CONNECTION_EXCEPTIONS) as error:
            return translated(error, self._address)
        finally:
            self.session = None
            await session.close()

    async def _stay(self, session: Session) -> SagaError:
        _stop_if_asked()
        self.session, self.problem = session, None
        self._up.set()
        self._up.clear()
        self._report(True, f"{self._name} is connected to {self._address}")
        cause = await session.ended()
        return Unavailable(f"{self._name} lost its connection to {self._address}: {cause}")


def _is_refused_vhost(error: InvalidFrameError) -> bool:
    """The library drops the broker's words when it answers Connection.Open with a Close."""
    return "Connection.OpenOk" in str(error) and "Connection.Close" in str(error)


def _cause(closing: "asyncio.Future[Any]") -> str:
    if closing.cancelled():
        return "the connection was stuck"
    error = closing.exception()
    return _words(error) if error else "it was closed"


def _words(error: BaseException) -> str:
    """What the error says, without the class names that mean nothing to an operator."""
    if isinstance(error, ChannelClosed | ConnectionClosed):
        return " ".join(str(part) for part in error.args if part) or type(error).__name__
    return str(error) or type(error).__name__
