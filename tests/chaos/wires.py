"""The wires between daemons and servers: fault proxies, driven from code that blocks."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from urllib.parse import urlsplit

from tests.chaos.faults import FaultLog
from tests.faults.proxy import FaultProxy

T = TypeVar("T")


class WireRoom:
    """An event loop in a thread of its own, where the proxies run."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def call(self, act: Callable[[], T]) -> T:
        async def acted() -> T:
            return act()

        return self.run(acted())

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


class Wire:
    """All connections to one server. Every method that hurts is a fault in the log."""

    def __init__(self, room: WireRoom, name: str, url: str, faults: FaultLog) -> None:
        self._room, self._name, self._faults = room, name, faults
        parts = urlsplit(url)
        self._proxy = room.call(lambda: FaultProxy(str(parts.hostname), int(parts.port or 0)))
        room.run(self._proxy.accept())

    def url(self, direct: str) -> str:
        """`direct`, by way of this wire."""
        return self._proxy.url(direct)

    @property
    def accepted(self) -> int:
        """Connections so far."""
        return self._proxy.accepted

    @property
    def cuts_left(self) -> int:
        """Of those that `cut_after` has ordered."""
        return self._proxy.cuts_left

    def lead_to(self, *urls: str) -> None:
        """New connections go to the first of these that accepts them. No fault in itself."""
        places = [urlsplit(url) for url in urls]
        self._proxy.targets = [(str(each.hostname), int(each.port or 0)) for each in places]
        self._faults.told(f"{self._name}: leads to {', '.join(str(each.port) for each in places)}")

    def cut(self) -> None:
        """Reset every connection; new ones pass."""
        self._faults.played(f"{self._name}: cut")
        self._room.call(self._proxy.cut)

    def refuse(self) -> None:
        """Reset every connection, and refuse new ones."""
        self._faults.played(f"{self._name}: refuses")
        self._room.run(self._proxy.refuse())

    def freeze(self, *, to_server: bool = True, to_client: bool = True) -> None:
        """Nothing moves, in the given directions, and nothing is closed."""
        ways = [way for way, is_on in (("up", to_server), ("down", to_client)) if is_on]
        self._faults.played(f"{self._name}: frozen {' and '.join(ways)}")
        self._room.call(lambda: self._proxy.freeze(to_server=to_server, to_client=to_client))

    def slow_down(self, *, latency: float, bytes_per_second: float | None = None) -> None:
        self._faults.played(f"{self._name}: {latency * 1000:g} ms later, {bytes_per_second} B/s")
        self._proxy.latency, self._proxy.bytes_per_second = latency, bytes_per_second

    def cut_after(self, marker: bytes, *, times: int = 1) -> None:
        """Whoever sends `marker` gets it through, and never hears the answer."""
        for _ in range(times):
            self._faults.played(f"{self._name}: will be cut after {marker!r}")
        self._room.call(lambda: self._proxy.cut_after(marker, times=times))

    def heal(self) -> None:
        """As a wire should be."""
        self._proxy.latency, self._proxy.bytes_per_second = 0.0, None
        self._room.call(self._proxy.thaw)
        self._room.call(lambda: self._proxy.cut_after(b"", times=0))
        self._room.run(self._proxy.accept())
        self._faults.told(f"{self._name}: healed")

    def close(self) -> None:
        self._room.run(self._proxy.__aexit__(None, None, None))
