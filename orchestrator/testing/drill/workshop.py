"""What serves one cell after the other: two databases, a clock, and nothing remembered."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from orchestrator.testing.drill.definition import Drill
from orchestrator.testing.drill.ports import DrilledInbox, DrilledStore
from orchestrator.testing.programs import empty_database
from orchestrator.testing.virtual_time import VirtualTime
from participants.participant import Participant


class Workshop:
    """Databases whose statements are compiled once: to build them anew takes longer than a run.

    For one event loop, and one run at a time.
    """

    def __init__(self) -> None:
        self.time = VirtualTime()
        self.store: DrilledStore
        self.inbox: DrilledInbox
        self._resources = AsyncExitStack()
        self._filled: dict[tuple[int, frozenset[str]], bytes] = {}

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
        await self.inbox.put_back(None)

    async def fill(self, drill: Drill, services: Sequence[Participant]) -> None:
        """The services' tables, and what the author wants to be in them; made once."""
        key = id(drill), frozenset(each.name for each in services)
        if key in self._filled:
            await self.inbox.put_back(self._filled[key])
            return
        await self.inbox.prepare([each for one in services for each in one.preparations])
        if drill.fill is not None:
            async with drill.asking("fill"), self.inbox.engine.begin() as connection:
                await drill.fill(connection)
        self._filled[key] = self.inbox.content()
