"""What became of a command line, and the database behind it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from orchestrator.store.database import DatabaseStore
from orchestrator.store.stores import store_for

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What became of one command line."""

    code: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        return json.loads(self.out)


Saga = Callable[..., Ran]


def put(url: str, work: Callable[[DatabaseStore], Awaitable[T]]) -> T:
    """Do something to the database from a test that is not asynchronous itself."""

    async def perform() -> T:
        store = store_for(url)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(perform())


def only_line(text: str) -> str:
    """The one line that it must be."""
    (line,) = text.splitlines()
    return line
