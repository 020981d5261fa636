"""Customers who go on asking for sagas while faults are played."""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

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

    def __init__(self, place: Place, orders: Iterator[Asked]) -> None:
        self.place = place
        self.asked: list[Asked] = []  # whose start was confirmed
        self._orders = orders
        self._thread: threading.Thread | None = None

    @contextmanager
    def running(self, *, at_once: int, per_second: float) -> Iterator[None]:
        """Start some, and then further ones as long as this lasts.

        Who has begun to ask goes on until the start is confirmed, after the faults if need be.
        """
        self.begin(at_once)
        stop = threading.Event()
        self._thread = threading.Thread(target=self._stream, args=(per_second, stop), daemon=True)
        self._thread.start()
        try:
            yield
        finally:
            stop.set()

    def join(self) -> None:
        """Wait for a customer who is still asking."""
        if self._thread is not None:
            self._thread.join(CUSTOMER_PATIENCE)
            assert not self._thread.is_alive(), "a saga could not be started, long after the faults"

    def begin(self, count: int) -> None:
        """Start so many at once."""
        if wave := list(islice(self._orders, max(count, 0))):
            self._insist(wave)

    def _stream(self, per_second: float, stop: threading.Event) -> None:
        while not stop.wait(2 / per_second):
            self.begin(2)  # the first by the client, the second by a message

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
