"""An event loop in virtual time: no threads, no sockets, and chance comes from a seed.

Every program has its own queue of callbacks, first in, first out, as on an event loop of its
own; which program goes next is drawn. When nothing is ready, time jumps to the next timer.
"""

import asyncio
import contextvars
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

PROGRAM: ContextVar["Program | None"] = ContextVar("program", default=None)


class Program:
    """What runs on the loop as if it were a process: its callbacks, its tasks, its clock."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.is_buried = False
        self.clock_error = 0.0  # seconds by which its own clock is wrong
        self.ready: deque[asyncio.Handle] = deque()
        self.tasks: list[asyncio.Task[Any]] = []
        self.machine: Any = None  # where it runs

    def __repr__(self) -> str:
        return self.name


class VirtualLoop(asyncio.AbstractEventLoop):
    """Runs programs until a given task is done."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._now = 0.0
        self._nobody = Program("simulation")
        self._waiting: list[Program] = []  # those with something ready
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count()
        self._doomed: list[Program] = []
        self._outside = contextvars.Context()
        self.problems: list[str] = []

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """What `main` returns, as soon as it does."""
        asyncio._set_running_loop(self)
        try:
            task = self.create_task(main)
            while not task.done():
                self._turn()
            return task.result()
        finally:
            asyncio._set_running_loop(None)

    def launch(self, program: Program, main: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run `main` and all that it begins as `program`."""
        context = contextvars.copy_context()
        context.run(PROGRAM.set, program)
        return self.create_task(main, context=context)

    def later(self, delay: float, callback: Callable[..., object], *args: Any) -> None:
        """The world's own doing: it happens whatever becomes of the program that it is about."""
        self.call_at(self._now + delay, callback, *args, context=self._outside)

    def doom(self, program: Program) -> None:
        """End a program before anything else happens."""
        program.is_dead = True
        self._doomed.append(program)

    def _turn(self) -> None:
        if not self._waiting:
            self._jump()
            return
        count = len(self._waiting)
        index = int(self._chance.random() * count) if count > 1 else 0
        program = self._waiting[index]
        handle = program.ready.popleft()
        if not program.ready:
            self._waiting[index] = self._waiting[-1]
            self._waiting.pop()
        if not handle._cancelled:  # type: ignore[attr-defined]
            handle._run()
        while self._doomed:
            self._bury(self._doomed.pop())

    def _jump(self) -> None:
        """On to the next timer, and to all that are due at the same moment."""
        when, _, handle = heapq.heappop(self._timers)
        while handle._cancelled:  # type: ignore[attr-defined]
            when, _, handle = heapq.heappop(self._timers)
        self._now = max(self._now, when)
        self._ready(handle)
        while self._timers and self._timers[0][0] <= self._now:
            self._ready(heapq.heappop(self._timers)[2])

    def _ready(self, handle: asyncio.Handle) -> None:
        context: contextvars.Context = handle._context  # type: ignore[attr-defined]
        program = context.get(PROGRAM) or self._nobody
        if program.is_buried:
            return
        if not program.ready:
            self._waiting.append(program)
        program.ready.append(handle)

    def _bury(self, program: Program) -> None:
        """Drop its tasks. They unwind at once, and nothing they do has an effect any more."""
        for task in program.tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                task.cancel()
        while program.ready:
            handle = program.ready.popleft()
            if not handle._cancelled:  # type: ignore[attr-defined]
                handle._run()
        self._waiting = [each for each in self._waiting if each is not program]
        for task in program.tasks:
            if not task.done():
                self.problems.append(f"{program.name}: {task.get_name()} outlived its program")
            elif not task.cancelled():
                task.exception()  # nobody else will ask
        program.tasks.clear()
        program.is_buried = True

    # --- what asyncio asks of a loop -----------------------------------------------------

    def time(self) -> float:
        return self._now

    def call_soon(  # type: ignore[override]
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready(handle)
        return handle

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is passed over when its time has come."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[T]:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        program = context.get(PROGRAM) if context is not None else PROGRAM.get()
        if program is not None:
            program.tasks.append(task)
            if len(program.tasks) > 200:
                program.tasks = [each for each in program.tasks if not each.done()]
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.problems.append(f"{context.get('message')}: {error!r}")

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False
