"""How a program runs and ends: signals, drain, exit codes, and what its tasks are doing."""

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, NoReturn

from chassis import systemd
from chassis.exit_codes import ExitCode, exit_code_of
from chassis.stacks import log_stacks
from chassis.stalls import watch_loop
from messaging.errors import SagaError

Main = Callable[[asyncio.Event], Awaitable[None]]

_CANCELLATION: Final = 2.0  # seconds for a cancelled program to clean up
_log = logging.getLogger(__name__)


def run(main: Main, *, name: str, drain_timeout: float) -> int:
    """Run `main(stopping)` on an event loop and return the exit code.

    The first SIGTERM or SIGINT sets `stopping`, and `main` has `drain_timeout` seconds to
    return; then it is cancelled, and the exit code is 1. A second signal ends the process at
    once, and so does a `main` that neither drains nor can be cancelled, even if it blocks the
    event loop. SIGUSR1 writes all tasks and stacks to the log. Call it from the main thread.
    """
    program = _Program(main, name, drain_timeout)
    with program.signals():
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                return runner.run(program.run())
        except (Exception, BaseExceptionGroup) as error:
            return report(error)


async def supervise(stopping: asyncio.Event, **services: Coroutine[Any, Any, None]) -> None:
    """Run services together until all have returned; the first that fails ends all.

    A service that returns before `stopping` is set has failed too: a program of which a part
    has quietly gone looks well and does nothing.
    """
    try:
        async with asyncio.TaskGroup() as group:
            for name, service in services.items():
                group.create_task(_watched(name, service, stopping), name=name)
    finally:
        for service in services.values():
            service.close()  # those that had not begun when the first one failed


def report(error: BaseException) -> ExitCode:
    """Log why the program ends, with a traceback only for what nobody expected."""
    leaves = list(_leaves(error))
    for leaf in leaves:
        if isinstance(leaf, SagaError):
            for line in str(leaf).splitlines():
                _log.error("%s: %s", type(leaf).__name__, line)
        else:
            _log.error("unexpected %s", type(leaf).__name__, exc_info=leaf)
    return exit_code_of(leaves[0])


class _Program:
    """One run of a main function."""

    def __init__(self, main: Main, name: str, drain_timeout: float) -> None:
        self._main = main
        self._name = name
        self._drain_timeout = drain_timeout
        self._stopping = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_asked_to_stop = False
        self._last_resort: threading.Timer | None = None

    async def run(self) -> ExitCode:
        self._loop = asyncio.get_running_loop()
        if self._is_asked_to_stop:
            self._stopping.set()  # the signal was faster than the loop
        main = asyncio.ensure_future(self._main(self._stopping))
        beside = [
            asyncio.create_task(systemd.feed_watchdog(), name="watchdog"),
            asyncio.create_task(watch_loop(), name="stalls"),
            asked_to_stop := asyncio.create_task(self._stopping.wait(), name="stop signal"),
        ]
        try:
            await asyncio.wait({main, asked_to_stop}, return_when=asyncio.FIRST_COMPLETED)
            return await self._drained(main)
        finally:
            for task in beside:
                task.cancel()
            self._end_within(_CANCELLATION + 1)  # threads and other tasks may still hang
            await _end_the_rest()

    async def _drained(self, main: "asyncio.Future[None]") -> ExitCode:
        """Wait for `main` to end by itself; cancel it when it takes too long."""
        if self._stopping.is_set():
            _log.info("%s is stopping, at most %g s", self._name, self._drain_timeout)
            systemd.stopping("draining")
            await asyncio.wait({main}, timeout=self._drain_timeout)
        if main.done():
            return _result(main)
        _log.error("%s has not drained in %g s: cancelled", self._name, self._drain_timeout)
        main.cancel()
        await asyncio.wait({main}, timeout=_CANCELLATION)
        if main.done():
            _result(main)
        return ExitCode.FAILED

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Handle signals in Python, not in the loop: they must work when the loop is blocked."""
        handlers = {
            signal.SIGTERM: self._on_stop,
            signal.SIGINT: self._on_stop,
            signal.SIGUSR1: self._on_dump,
        }
        earlier = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)
            if self._last_resort is not None:
                self._last_resort.cancel()

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        if self._is_asked_to_stop:
            _die(f"{self._name} got a second {signal.Signals(number).name}: stopped at once")
        self._is_asked_to_stop = True
        self._end_within(self._drain_timeout + _CANCELLATION + 1)
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stopping.set)

    def _end_within(self, seconds: float) -> None:
        """From now on the process ends in time, come what may."""
        if self._last_resort is None:
            hung = f"{self._name} has not ended in {seconds:g} s: stopped at once"
            self._last_resort = threading.Timer(seconds, _die, (hung,))
            self._last_resort.daemon = True
            self._last_resort.start()

    def _on_dump(self, number: int, frame: FrameType | None) -> None:
        # In a thread: whoever was interrupted may hold the lock of the log.
        threading.Thread(target=log_stacks, args=(self._loop,), daemon=True).start()


async def _watched(name: str, service: Coroutine[Any, Any, None], stopping: asyncio.Event) -> None:
    await service
    if not stopping.is_set():
        raise SagaError(f"{name} ended although nobody had asked it to")


async def _end_the_rest() -> None:
    """Tasks that are left, and those that they begin when they end: client libraries do so."""
    deadline = asyncio.get_running_loop().time() + _CANCELLATION
    while rest := asyncio.all_tasks() - {asyncio.current_task()}:
        seconds = deadline - asyncio.get_running_loop().time()
        if seconds <= 0:
            return
        for task in rest:
            task.cancel()
        await asyncio.wait(rest, timeout=seconds)


def _result(main: "asyncio.Future[None]") -> ExitCode:
    """Raises what `main` raised."""
    if main.cancelled():
        return ExitCode.FAILED
    main.result()
    return ExitCode.DONE


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _die(message: str) -> NoReturn:
    # In a thread, with a limit: the log may be what hangs.
    writer = threading.Thread(target=_log.error, args=("%s", message), daemon=True)
    writer.start()
    writer.join(0.5)
    sys.stderr.flush()
    os._exit(ExitCode.FAILED)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed, else asyncio's own loop."""
    try:
        import uvloop  # noqa: PLC0415  # an extra
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
