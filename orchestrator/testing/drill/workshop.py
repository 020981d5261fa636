"""What serves one cell after the other: two databases, a clock, and nothing remembered."""

from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from orchestrator.testing.drill.ports import DrilledInbox, DrilledStore
from orchestrator.testing.programs import empty_database
from orchestrator.testing.virtual_time import VirtualTime


class Workshop:
    """Databases whose statements are compiled once: to build them anew takes longer than a run.

    For one event loop, and one run at a time.
    """

    def __init__(self) -> None:
        self.time = VirtualTime()
        self.store: DrilledStore
        self.inbox: DrilledInbox
        self._resources = AsyncExitStack()

    async def __aenter__(self) -> Self:
        folder = Path(self._resources.enter_context(TemporaryDirectory(prefix="saga-drill-")))
        (folder / "sagas.db").write_bytes(await empty_database())
        url = f"sqlite:///{folder / 'sagas.db'}"
        self.store = DrilledStore(url, clock=self.time.now, is_durable=False)
        self._resources.push_async_callback(self.store.close)
        self.inbox = DrilledInbox(folder / "inbox.db")
        self._resources.push_async_callback(self.inbox.close)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._resources.aclose()

    async def clear(self) -> None:
        """As if nothing had ever been run."""
        await self.store.clear()
        await self.inbox.clear()
