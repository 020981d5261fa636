"""A closed loop: whenever a saga ends, the next one is started, by message.

One connection, on the bench's own codec, that starts sagas and hears their outcome events; it
takes some hundredths of what it measures.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pamqp import commands

from bench.codec import Delivery, Post
from bench.data import data_of
from bench.sagas import Messages
from bench.wire import Wire
from bench.workloads import Workload
from messaging.topology import Names

_SLICES: Final = 20
ENOUGH: Final = 4  # times as many as are in flight must end in the window
PATIENCE: Final = 60.0  # seconds without a single outcome before the run counts as broken


class BrokenRun(Exception):
    """It did not do what was to be measured; its numbers mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured in one run. `sagas` goes before `seconds`.

    Sagas end in bunches, so that a window is wide enough only if many times as many end in it
    as are in flight: with `seconds`, it is made so.
    """

    seconds: float = 10.0  # at least
    sagas: int | None = None
    warm_up: float = 2.0  # seconds at least
    lone: int = 50  # sagas one by one after the load


@dataclass(frozen=True, slots=True, kw_only=True)
class Driven:
    """Seconds everywhere."""

    finished: int  # within the window
    window: float
    latencies: Sequence[float]
    lone: Sequence[float]
    started: int  # in the whole run
    failed: int


@dataclass(slots=True)
class _Loop:
    """The sagas in flight, and what became of the others."""

    wire: Wire
    names: Names
    workload: Workload
    run: str
    started: int = 0
    failed: int = 0
    latencies: list[float] = field(default_factory=list)
    begun: dict[bytes, float] = field(default_factory=dict)
    is_open: bool = True
    wanted: int | None = None  # finished ones, until `reached` is set
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    drained: asyncio.Event = field(default_factory=asyncio.Event)

    def start(self, count: int) -> None:
        self.wire.publish([self._next() for _ in range(count)])

    def hear(self, deliveries: Sequence[Delivery]) -> None:
        now = time.perf_counter()
        ended = 0
        for each in deliveries:
            begun = self.begun.pop(each.correlation_id, None)
            if begun is None:
                continue  # told twice: events are sent at least once
            self.latencies.append(now - begun)
            self.failed += each.routing_key.endswith(b"Failed")
            ended += 1
        if self.is_open:
            self.start(ended)
        if self.wanted is not None and len(self.latencies) >= self.wanted:
            self.reached.set()
        if not self.begun:
            self.drained.set()

    def _next(self) -> Post:
        number, workload = self.started, self.workload
        self.started += 1
        saga_id = f"{self.run}-{number}"
        start = {
            "saga_type": workload.type_of(number),
            "saga_id": saga_id,
            "data": data_of(number, workload.payload),
        }
        body = json.dumps(start, separators=(",", ":")).encode()
        self.begun[saga_id.encode()] = time.perf_counter()
        return Post(self.names.starts, "StartSaga", saga_id.encode(), body)


def prefix_of(names: Names, workload: Workload) -> str:
    """With which the ids of this workload's sagas begin."""
    return f"{names.namespace}-{workload.name}"


async def drive(
    url: str, names: Names, workload: Workload, effort: Effort, *, at_edge: Callable[[], None]
) -> Driven:
    """Load, then one saga after another. `at_edge` is called at both ends of the window."""
    wire = await Wire.open(url)
    try:
        loop = _Loop(wire, names, workload, run=prefix_of(names, workload))
        wire.on_deliveries = loop.hear
        await _listen(wire, names)
        await _warm_up(loop, effort)
        at_edge()
        begin, first = time.perf_counter(), len(loop.latencies)
        await _load(loop, effort)
        window, last = time.perf_counter() - begin, len(loop.latencies)
        at_edge()
        await _drain(loop)
        loaded = loop.latencies[first:last]
        lone = await _one_by_one(loop, effort.lone)
        return Driven(
            finished=last - first,
            window=window,
            latencies=loaded,
            lone=lone,
            started=loop.started,
            failed=loop.failed,
        )
    finally:
        wire.close()


async def _listen(wire: Wire, names: Names) -> None:
    """To a queue that goes with us; its messages need no acknowledgement."""
    declare = commands.Queue.Declare(queue="", exclusive=True, auto_delete=True)
    queue = (await wire.call(declare, commands.Queue.DeclareOk)).queue or ""
    for saga_type in Messages.BY_TYPE:
        for outcome in ("Completed", "Failed"):
            key = f"{saga_type}{outcome}"
            bind = commands.Queue.Bind(queue=queue, exchange=names.events, routing_key=key)
            await wire.call(bind, commands.Queue.BindOk)
    await wire.consume(queue, prefetch=0, no_ack=True)


async def _warm_up(loop: _Loop, effort: Effort) -> None:
    """Until it runs evenly: started little by little, for they would march in step, and until
    as many have ended as are in flight, twice."""
    concurrency = loop.workload.concurrency
    begin = time.perf_counter()
    for slice_number in range(_SLICES):
        share = range(slice_number, concurrency, _SLICES)
        loop.start(len(share))
        await _pass(loop, effort.warm_up / 2 / _SLICES)
    await _finish(loop, min(2 * concurrency, effort.sagas or 2 * concurrency))
    await _pass(loop, max(0.0, begin + effort.warm_up - time.perf_counter()))


async def _load(loop: _Loop, effort: Effort) -> None:
    if effort.sagas is None:
        begin = time.perf_counter()
        await _finish(loop, ENOUGH * loop.workload.concurrency)
        await _pass(loop, max(0.0, begin + effort.seconds - time.perf_counter()))
    else:
        await _finish(loop, effort.sagas)


async def _finish(loop: _Loop, count: int) -> None:
    """Until so many have ended from now on."""
    loop.reached.clear()
    loop.wanted = len(loop.latencies) + count
    await _wait(loop, loop.reached)


async def _pass(loop: _Loop, seconds: float) -> None:
    """For that long."""
    await asyncio.wait({loop.wire.ended}, timeout=seconds)
    if loop.wire.ended.done():
        loop.wire.ended.result()


async def _drain(loop: _Loop) -> None:
    loop.is_open = False
    loop.drained.clear()
    if loop.begun:
        await _wait(loop, loop.drained)


async def _one_by_one(loop: _Loop, count: int) -> Sequence[float]:
    first = len(loop.latencies)
    for _ in range(count):
        loop.drained.clear()
        loop.start(1)
        await _wait(loop, loop.drained)
    return loop.latencies[first:]


async def _wait(loop: _Loop, event: asyncio.Event) -> None:
    """As long as outcomes come."""
    waiting = asyncio.ensure_future(event.wait())
    try:
        while not waiting.done():
            before = len(loop.latencies)
            both: set[asyncio.Future[Any]] = {waiting, loop.wire.ended}
            done, _ = await asyncio.wait(
                both, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED
            )
            if loop.wire.ended.done():
                loop.wire.ended.result()
            if not done and len(loop.latencies) == before:
                raise BrokenRun(
                    f"{len(loop.begun)} sagas have no outcome, and none came for {PATIENCE:g} s"
                )
    finally:
        waiting.cancel()
