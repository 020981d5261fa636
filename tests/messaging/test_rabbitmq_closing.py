"""A broker that is closed while it connects."""

import asyncio
import gc
from typing import Any

import pytest

from messaging.rabbit_session import within
from messaging.rabbitmq import RabbitBroker
from messaging.topology import Names, TopologyMode, installation


class Refusal:
    """A connect that is refused just when it is cancelled, as `asyncio.wait_for` may be."""

    def __init__(self) -> None:
        self.attempts = 0
        self.begun = asyncio.Event()

    async def __call__(self, **arguments: Any) -> Any:
        self.attempts += 1
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ConnectionRefusedError("nobody listens") from None


@pytest.mark.parametrize("consumes", [False, True], ids=["publishing", "consuming"])
async def test_a_cancellation_that_the_library_swallows_ends_the_supervisor(
    consumes: bool,
) -> None:
    names, connect = Names("t"), Refusal()
    broker = RabbitBroker(
        "amqp://guest:guest@127.0.0.1:1/",
        names=names,
        topology=installation(names, ()),
        mode=TopologyMode.IGNORE,
        app_id="t",
        connect=connect,
    )
    async with broker:
        if consumes:
            await broker.consume(names.replies, prefetch=1)
        await connect.begun.wait()
        async with asyncio.timeout(2):
            await broker.close()
    assert connect.attempts <= 2


async def test_work_that_fails_when_nobody_waits_for_it_any_more_logs_no_traceback() -> None:
    loop, complaints = asyncio.get_running_loop(), list[dict[str, Any]]()
    loop.set_exception_handler(lambda _, complaint: complaints.append(complaint))
    lost = loop.create_future()

    async def work() -> None:
        await lost

    waiting = asyncio.create_task(within(5, work()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    lost.set_exception(ConnectionResetError("cut"))
    await asyncio.sleep(0)  # the work fails now, and `within` has not yet heard of it
    waiting.cancel()
    await asyncio.wait([waiting])
    del waiting
    gc.collect()
    assert complaints == []
