"""What has been done and stands, read after every commit: the author's ledger, or our own."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncEngine

from messaging.contract import Direction
from messaging.errors import DefinitionError
from orchestrator.testing.drill.definition import Drill
from orchestrator.testing.drill.story import Kind, Story
from participants.sql_engine import reading


@dataclass(slots=True)
class Calls:
    """Handlers whose work was committed: what counts where the author gives no ledger."""

    done: Counter[str] = field(default_factory=Counter)
    undone: Counter[str] = field(default_factory=Counter)

    def count(self, step: str, direction: Direction) -> None:
        side = self.done if direction is Direction.ACTION else self.undone
        side[step] += 1

    def standing(self) -> Mapping[str, int]:
        """A compensation that had nothing to undo takes nothing away."""
        return {step: times - self.undone[step] for step, times in self.done.items()}


class Books:
    """Reads the books of one saga, and tells the story of each change in them."""

    def __init__(self, drill: Drill, saga_id: str, steps: frozenset[str], story: Story) -> None:
        self.calls = Calls()
        self.standing: Mapping[str, int] = {}
        self._drill = drill
        self._saga_id = saga_id
        self._steps = steps
        self._story = story
        self._reading = asyncio.Lock()

    def commit(self, step: str, direction: Direction) -> None:
        """What a handler has done is stored."""
        self._story.tell(Kind.COMMITTED, "its work is stored", step, direction)
        self.calls.count(step, direction)

    async def look(self, engine: AsyncEngine) -> None:
        """What stands now. Raises DefinitionError for a ledger that makes no sense."""
        async with self._reading:
            found = await self._read(engine)
            for step in sorted(found.keys() | self.standing.keys()):
                before, now = self.standing.get(step, 0), found.get(step, 0)
                if now != before:
                    told = f"the ledger: {step} stands {times(now)}, before that {times(before)}"
                    self._story.tell(Kind.LEDGER, told, step, count=now)
            self.standing = found

    async def _read(self, engine: AsyncEngine) -> Mapping[str, int]:
        if self._drill.ledger is None:
            return self.calls.standing()
        asking = self._drill.asking("ledger")
        async with asking, reading(engine).connect() as connection:
            found = dict(await self._drill.ledger(connection, self._saga_id))
        for step, count in found.items():
            if step not in self._steps or not isinstance(count, int):
                raise DefinitionError(
                    f"the ledger of {self._drill.name} says {step!r}: {count!r}; it has to give a"
                    f" whole number for each step, of {', '.join(sorted(self._steps))}"
                )
        return found


def times(count: int) -> str:
    return f"{count} time{'' if count == 1 else 's'}"
