"""The servers of a run, started when they are first asked for."""

from contextlib import ExitStack
from types import TracebackType
from typing import Self

from servers.postgres import PrivatePostgres
from servers.rabbit import PrivateRabbit

from tests.chaos.wires import WireRoom


class ServerPool:
    """Private servers, shared by the scenarios that leave them whole."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._rabbit: PrivateRabbit | None = None
        self._postgres: PrivatePostgres | None = None

    def __enter__(self) -> Self:
        self.room = WireRoom()
        self._stack.callback(self.room.close)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def rabbit(self) -> PrivateRabbit:
        if self._rabbit is None:
            self._rabbit = self._stack.enter_context(PrivateRabbit())
        return self._rabbit

    def postgres(self) -> PrivatePostgres:
        if self._postgres is None:
            self._postgres = self._stack.enter_context(PrivatePostgres())
        return self._postgres
