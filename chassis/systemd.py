"""What systemd wants to hear from a service; nothing at all happens without systemd."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from messaging.errors import Unavailable

_PATIENCE: Final = 30.0  # seconds for one attempt; they follow each other for ever


def notify(*states: str) -> None:
    """Send assignments such as `READY=1` to `NOTIFY_SOCKET`. Never raises, never blocks."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.connect("\0" + address[1:] if address.startswith("@") else address)
        sender.send("\n".join(states).encode())


def ready(status: str) -> None:
    """The program has started; `status` is shown by `systemctl status`."""
    notify("READY=1", f"STATUS={status}")


async def ready_after(wait_ready: Callable[[float], Awaitable[None]], status: str) -> None:
    """`ready`, as soon as `wait_ready(seconds)` returns; while it raises Unavailable, again."""
    while True:
        with suppress(Unavailable):
            await wait_ready(_PATIENCE)
            break
    ready(status)


def stopping(status: str) -> None:
    notify("STOPPING=1", f"STATUS={status}")


async def feed_watchdog() -> None:
    """Tell systemd's watchdog, while the event loop turns, that it does. Ends if there is none."""
    interval = _watchdog_interval()
    while interval is not None:
        notify("WATCHDOG=1")
        await asyncio.sleep(interval)


def _watchdog_interval() -> float | None:
    """Seconds between two signs of life: half of what systemd tolerates."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    for_us = os.environ.get("WATCHDOG_PID", "") in {"", str(os.getpid())}
    if not (for_us and microseconds.isdigit() and int(microseconds)):
        return None
    return int(microseconds) / 2e6
