"""A closed loop for the peers' programs; runs in their environments: standard library only.

Orders come as JSON lines on standard input, answers go out as such: `load` for some seconds with
so many at a time, telling both edges of the window; `lone` for some, one by one; `end`.
"""

import asyncio
import json
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

Ended = tuple[float, float]  # when, and after how many seconds


def with_threads(one: Callable[[], None]) -> None:
    """Serve orders with a function that blocks until one saga has ended."""
    say({"ready": True})
    for order in orders():
        if order["do"] == "load":
            tell(_load(one, order), order)
        else:
            say({"lone": [_timed(one)[1] for _ in range(order["count"])]})


def with_coroutines(one: Callable[[int], Awaitable[None]]) -> None:
    """Serve orders with a coroutine; its argument numbers those who work side by side."""
    with asyncio.Runner() as runner:
        say({"ready": True})
        for order in orders():
            if order["do"] == "load":
                tell(runner.run(_load_async(one, order)), order)
            else:
                ended = runner.run(_repeat(one, order["count"]))
                say({"lone": [seconds for _, seconds in ended]})


def orders() -> Iterator[dict[str, Any]]:
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "end":
            return
        yield order


def say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def tell(ended: list[Ended], order: dict[str, Any]) -> None:
    """What lies in the window."""
    begin = order["begun"] + order["warm_up"]
    end = begin + order["seconds"]
    within = [seconds for at, seconds in ended if begin <= at < end]
    say({"latencies": within, "window": order["seconds"], "started": len(ended)})


def _load(one: Callable[[], None], order: dict[str, Any]) -> list[Ended]:
    ended: list[Ended] = []
    stopping = threading.Event()

    def work() -> None:
        while not stopping.is_set():
            ended.append(_timed(one))

    order["begun"] = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(order["concurrency"])]
    for each in threads:
        each.start()
    time.sleep(order["warm_up"])
    say({"edge": "begin"})
    time.sleep(order["seconds"])
    say({"edge": "end"})
    stopping.set()
    for each in threads:
        each.join()
    return ended


async def _load_async(one: Callable[[int], Awaitable[None]], order: dict[str, Any]) -> list[Ended]:
    ended: list[Ended] = []
    is_open = True

    async def work(number: int) -> None:
        while is_open:
            begin = time.perf_counter()
            await one(number)
            end = time.perf_counter()
            ended.append((end, end - begin))

    order["begun"] = time.perf_counter()
    working = [asyncio.create_task(work(number)) for number in range(order["concurrency"])]
    await asyncio.sleep(order["warm_up"])
    say({"edge": "begin"})
    await asyncio.sleep(order["seconds"])
    say({"edge": "end"})
    is_open = False
    await asyncio.gather(*working)
    return ended


async def _repeat(one: Callable[[int], Awaitable[None]], count: int) -> list[Ended]:
    ended = []
    for _ in range(count):
        begin = time.perf_counter()
        await one(0)
        end = time.perf_counter()
        ended.append((end, end - begin))
    return ended


def _timed(one: Callable[[], None]) -> Ended:
    begin = time.perf_counter()
    one()
    end = time.perf_counter()
    return end, end - begin
