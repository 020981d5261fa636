"""What can befall a program at each of its calls, as a seed has drawn it."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from messaging.errors import Unavailable
from tests.simulation.loop import Program, VirtualLoop

if TYPE_CHECKING:
    from tests.simulation.broker import SimulatedBroker
    from tests.simulation.database import Database
    from tests.simulation.story import Story


@dataclass(frozen=True, slots=True, kw_only=True)
class Climate:
    """The probability of each fault at one call, one message, or in one second."""

    # at each call of a port, before its effect and after it
    crash: float = 0.0  # the program is gone; another is started soon
    zombie: float = 0.0  # the broker takes it for dead, and it goes on for a while
    cut: float = 0.0  # the database ends its sessions
    unavailable: float = 0.0  # the database refuses; after a commit, nobody knows
    # for each message
    refused: float = 0.0  # it has not arrived, and nobody knows
    unconfirmed: float = 0.0  # it has arrived, and nobody knows
    duplicated: float = 0.0
    delayed: float = 0.0  # others overtake it
    lost: float = 0.0  # a command or a reply that the broker has confirmed
    # in each second
    broker_outage: float = 0.0
    unbound: float = 0.0  # no queue takes the commands of a participant
    database_outage: float = 0.0
    drain: float = 0.0  # a program is asked to stop, as in a deploy, and another one starts
    clock_jump: float = 0.0
    lost_commits: float = 0.0  # a failover to an older state; only when asked for


_MOST: Final = {
    "crash": 0.02,
    "zombie": 0.01,
    "cut": 0.01,
    "unavailable": 0.02,
    "refused": 0.1,
    "unconfirmed": 0.1,
    "duplicated": 0.2,
    "delayed": 0.3,
    "lost": 0.08,
    "broker_outage": 0.05,
    "unbound": 0.05,
    "database_outage": 0.05,
    "drain": 0.1,
    "clock_jump": 0.05,
    "lost_commits": 0.0,
}
_DOWNTIME: Final = 4.0
_DRAIN_TIME: Final = 25.0  # seconds that a program may take to stop


def drawn(chance: random.Random, *, lost_commits: bool = False) -> Climate:
    """Some faults often, some seldom, some never: each seed has weather of its own."""
    most = {**_MOST, "lost_commits": 0.15} if lost_commits else _MOST
    shares = {field.name: chance.choice((0.0, 0.2, 1.0)) for field in fields(Climate)}
    return Climate(**{name: most[name] * share for name, share in shares.items()})


CALM: Final = Climate()


class Machine:
    """Where one program runs: it is started again whenever it has gone."""

    def __init__(
        self,
        name: str,
        *,
        loop: VirtualLoop,
        chance: random.Random,
        story: "Story",
        databases: "tuple[Database, ...]",
        main: Callable[["Machine"], Any],
    ) -> None:
        self.name = name
        self.climate = CALM
        self.program = Program(name)
        self.stopping = asyncio.Event()
        self.world: Any = None
        self.broker: SimulatedBroker | None = None
        self.loop = loop
        self._chance = chance
        self._story = story
        self._databases = databases
        self._main = main
        self._crash_at = self._zombie_at = self._cut_at = self._refuse_at = 0.0

    def weather(self, climate: Climate) -> None:
        self.climate = climate
        self._crash_at = climate.crash / 2
        self._zombie_at = self._crash_at + climate.zombie
        self._cut_at = self._zombie_at + climate.cut
        self._refuse_at = self._cut_at + climate.unavailable

    def start(self) -> None:
        self.program = Program(self.name)
        self.program.machine = self
        self.stopping = asyncio.Event()
        task = self.loop.launch(self.program, self._main(self))
        task.add_done_callback(self._ended)

    def crash(self, why: str) -> None:
        """The program is gone with all that it had in hand."""
        if self.program.is_dead:
            return
        self._story.tell(f"{self.name} crashes {why}")
        self.stop()
        self.loop.later(self._chance.random() * _DOWNTIME, self.start)

    def drain(self) -> None:
        """Ask the program to stop; when it has, another one is started."""
        if not self.program.is_dead and not self.stopping.is_set():
            self._story.tell(f"{self.name} is asked to stop")
            self.stopping.set()
            self.loop.later(_DRAIN_TIME, self._check_drained, self.program)

    def _check_drained(self, program: Program) -> None:
        if not program.is_dead:
            self.loop.problems.append(f"{self.name} did not stop within {_DRAIN_TIME:g} s")

    def stop(self) -> None:
        """The servers notice at once that it is gone."""
        self.loop.doom(self.program)
        if self.broker is not None:
            self.broker.vanish()
            self.broker = None
        for database in self._databases:
            database.cut(self)

    async def reach(self, call: str) -> None:
        await self._befall(f"before {call}", can_fail=True)
        if self._chance.random() < 0.2:
            await asyncio.sleep(self._chance.random() ** 4 * 0.5)

    async def leave(self, call: str) -> None:
        await self._befall(f"after {call}", can_fail=True)

    async def pass_by(self, call: str) -> None:
        """A call that never raises because of a server."""
        await self._befall(call, can_fail=False)
        if self._chance.random() < 0.2:
            await asyncio.sleep(self._chance.random() ** 4 * 0.5)

    async def _befall(self, when: str, *, can_fail: bool) -> None:
        if self.program.is_dead:
            raise asyncio.CancelledError
        if not self._refuse_at:
            return
        drawn = self._chance.random()
        if drawn >= self._refuse_at:
            return
        if drawn < self._crash_at:
            self.crash(when)
            await self.loop.create_future()  # nothing comes after this
        elif drawn < self._zombie_at:
            if self.broker is not None:
                self._story.tell(f"{self.name} is taken for dead by the broker {when}")
                self.broker.half_die(self._chance.random() * 8)
        elif drawn < self._cut_at:
            self._story.tell(f"the database ends the sessions of {self.name} {when}")
            for database in self._databases:
                database.cut(self)
        elif can_fail:
            self._story.tell(f"{self.name} does not reach the database {when}")
            raise Unavailable(f"a fault {when}")

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """No program may end by itself, or by an error."""
        if self.program.is_dead or task.cancelled():
            return
        error = task.exception()
        if error is None and self.stopping.is_set():
            self._story.tell(f"{self.name} has stopped")
            self.stop()
            self.loop.later(self._chance.random() * _DOWNTIME, self.start)
            return
        self.loop.problems.append(f"{self.name} has ended by itself: {_root(error)!r}")


def _root(error: BaseException | None) -> BaseException | None:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
