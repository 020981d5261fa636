"""What null programs talk to the broker with."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from bench.own_relay import relay_on_our_client
from bench.relays import Answer, relay_on_aio_pika, relay_on_codec

Relay = Callable[[str, Sequence[str], Answer, asyncio.Event], Awaitable[None]]

CLIENTS: Final[Mapping[str, Relay]] = {
    "codec": relay_on_codec,
    "aio-pika": relay_on_aio_pika,
    "own": relay_on_our_client,
}


async def relay(client: str, url: str, queues: Sequence[str], answer: Answer) -> None:
    """Answer until a signal."""
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await CLIENTS[client](url, queues, answer, stopping)
