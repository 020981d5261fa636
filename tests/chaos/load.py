"""Customers who go on asking for sagas while faults are played."""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import aio_pika
from sqlalchemy.exc import SQLAlchemyError

from messaging.errors import SagaError
from tests.product.customers import start_all
from tests.product.installation import Place
from tests.product.orders import Asked

CUSTOMER_PATIENCE = 120.0  # seconds to get one saga started
_TROUBLE = (SagaError, SQLAlchemyError, OSError, aio_pika.exceptions.AMQPException, TimeoutError)


class Load:
    """Starts each saga under an id of its own until the start is confirmed."""

    def __init__(self, place: Place, orders: Sequence[Asked]) -> None:
        self.place = place
        self.asked: list[Asked] = []  # whose start was confirmed
        self._left = list(reversed(orders))

    @contextmanager
    def running(self, *, at_once: int, per_second: float) -> Iterator[None]:
        """Start some, and then further ones as long as this lasts."""
        self.begin(at_once)
        stop = threading.Event()
        thread = threading.Thread(target=self._stream, args=(per_second, stop), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
        # Whoever has begun to ask goes on until it is confirmed, after the faults if need be.
        self._thread = thread

    def join(self) -> None:
        """Wait for a customer who is still asking."""
        thread: threading.Thread | None = getattr(self, "_thread", None)
        if thread is not None:
            thread.join(CUSTOMER_PATIENCE)
            assert not thread.is_alive(), "a saga could not be started, long after the faults"

    def begin(self, count: int) -> None:
        """Start so many at once."""
        wave = [self._left.pop() for _ in range(min(count, len(self._left)))]
        if wave:
            self._insist(wave)

    def begin_rest(self) -> int:
        rest = len(self._left)
        self.begin(rest)
        return rest

    def _stream(self, per_second: float, stop: threading.Event) -> None:
        while self._left and not stop.wait(1 / per_second):
            self.begin(1 + len(self.asked) % 2)  # alone by the client; the second by a message

    def _insist(self, wave: Sequence[Asked]) -> None:
        deadline = time.monotonic() + CUSTOMER_PATIENCE
        while True:
            try:
                asyncio.run(asyncio.wait_for(start_all(self.place, wave), 30))
            except _TROUBLE:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                self.asked += wave
                return
