"""The servers of a run, started when they are first asked for."""

from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from servers.postgres import PrivatePostgres
from servers.rabbit import PrivateRabbit

from tests.chaos.scenario import Needs
from tests.chaos.wires import WireRoom


class ServerPool:
    """Private servers, shared by the scenarios that leave them whole."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._rabbit: PrivateRabbit | None = None
        self._postgres: PrivatePostgres | None = None
        self._shared = ExitStack()
        self._shared_by: Callable[[], Any] | None = None
        self._shared_rabbit: Any = None

    def __enter__(self) -> Self:
        self.room = WireRoom()
        self._stack.callback(self.room.close)
        self._stack.callback(self._shared.close)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def rabbit_for(self, needs: Needs, scenario: ExitStack) -> Any:
        """The run's, the scenario's own, or one for all scenarios that share theirs."""
        if needs.rabbit is not self._shared_by:
            self._shared.close()
            self._shared_by = None
        if needs.rabbit is None:
            return self.rabbit()
        if not needs.shares_rabbit:
            return scenario.enter_context(needs.rabbit())
        if self._shared_by is None:
            self._shared_rabbit = self._shared.enter_context(needs.rabbit())
            self._shared_by = needs.rabbit
        return self._shared_rabbit

    def rabbit(self) -> PrivateRabbit:
        if self._rabbit is None:
            self._rabbit = self._stack.enter_context(PrivateRabbit())
        return self._rabbit

    def postgres(self) -> PrivatePostgres:
        if self._postgres is None:
            self._postgres = self._stack.enter_context(PrivatePostgres())
        return self._postgres
