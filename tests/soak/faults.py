"""The faults of a soak, as a deck of cards: how often each is played, and how.

Nothing that kills befalls a steady daemon: it must live to the end, for its memory is measured.
"""

import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import psycopg
from servers.private import PrivateServer

from tests.chaos.wires import Wire
from tests.product.installation import Daemon
from tests.soak.site import Site

Play = Callable[[Site, random.Random], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`copies` in a deck; `play` says what it has done to whom, once it is over."""

    name: str
    copies: int
    play: Play


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A fault that was drawn, with the chance that decides its details."""

    fault: Fault
    seed: int

    def play(self, site: Site) -> str:
        return self.fault.play(site, random.Random(self.seed))


def drawn(seed: int, count: int) -> Iterator[Card]:
    """The same cards for the same seed. A deck is played to its end before the next is begun."""
    chance = random.Random(seed)
    left: list[Fault] = []
    for _ in range(count):
        if not left:
            left = [fault for fault in FAULTS for _ in range(fault.copies)]
            chance.shuffle(left)
        yield Card(fault=left.pop(), seed=chance.randrange(2**32))


def _kill(program: str) -> Play:
    def play(site: Site, chance: random.Random) -> str:
        victim = site.mortal_of(program)
        victim.kill()
        time.sleep(chance.choice([0, 0, 1, 5]))
        victim.start()
        return victim.name

    return play


def _terminate(program: str) -> Play:
    def play(site: Site, chance: random.Random) -> str:
        victim = site.mortal_of(program)
        victim.wait_ready()  # before it has come so far, nothing tells it to drain
        code = victim.terminate()
        assert code == 0, f"{victim.name} did not drain: exit code {code}"
        time.sleep(chance.choice([0, 0, 3]))
        victim.start()
        return victim.name

    return play


def _pause(site: Site, chance: random.Random) -> str:
    """A zombie: it holds messages and locks, and goes on later as if nothing had happened."""
    victims = chance.sample(site.installation.daemons, chance.choice([1, 1, 2, 3]))
    seconds = round(chance.uniform(0.5, 8), 1)
    for victim in victims:
        victim.send(signal.SIGSTOP)
    time.sleep(seconds)
    for victim in victims:
        victim.send(signal.SIGCONT)
    return f"{', '.join(victim.name for victim in victims)} for {seconds:g} s"


def _cut(site: Site, chance: random.Random) -> str:
    name, wire = _wire(site, chance)
    times = chance.choice([1, 1, 5])
    for _ in range(times):
        wire.cut()
        time.sleep(chance.uniform(0.02, 1.2))
    return f"{name}, {times} times"


def _freeze(site: Site, chance: random.Random) -> str:
    name, wire = _wire(site, chance)
    seconds = round(chance.uniform(2, 15), 1)
    wire.freeze()
    time.sleep(seconds)
    if chance.random() < 0.5:
        wire.cut()
    wire.heal()
    return f"{name} for {seconds:g} s"


def _refuse(site: Site, chance: random.Random) -> str:
    name, wire = _wire(site, chance)
    seconds = round(chance.uniform(1, 6), 1)
    wire.refuse()
    time.sleep(seconds)
    wire.heal()
    return f"{name} for {seconds:g} s"


def _slow_down(site: Site, chance: random.Random) -> str:
    name, wire = _wire(site, chance)
    latency = chance.choice([0.02, 0.05, 0.2])
    wire.slow_down(latency=latency)
    time.sleep(5)
    wire.heal()
    return f"{name} by {latency * 1000:g} ms"


def _wire(site: Site, chance: random.Random) -> tuple[str, Wire]:
    return chance.choice([("broker", site.broker_wire), ("database", site.database_wire)])


def _terminate_sessions(site: Site, chance: random.Random) -> str:
    times = chance.choice([1, 1, 10])
    with psycopg.connect(site.postgres.url, autocommit=True) as connection:
        for _ in range(times):
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
            time.sleep(0.1)
    return f"{times} times"


def _lock(site: Site, chance: random.Random) -> str:
    """Somebody's maintenance keeps everybody from writing for longer than they wait."""
    seconds = round(chance.uniform(1, 4), 1)
    with suppress(psycopg.OperationalError), psycopg.connect(site.place.saga_database) as held:
        held.execute("LOCK TABLE sagas IN SHARE MODE")
        time.sleep(seconds)
    return f"table sagas for {seconds:g} s"


def _close_all(site: Site, _: random.Random) -> str:
    site.rabbit.rabbitmqctl("close_all_connections", "maintenance")
    return "RabbitMQ"


def _freeze_broker(site: Site, chance: random.Random) -> str:
    seconds = round(chance.uniform(1, 6), 1)
    site.rabbit.pause()
    time.sleep(seconds)
    site.rabbit.resume()
    return f"for {seconds:g} s"


def _restart(server: Callable[[Site], PrivateServer]) -> Play:
    def play(site: Site, _: random.Random) -> str:
        restarted = server(site)
        restarted.restart()
        return restarted.name

    return play


def _cut_power_of_broker(site: Site, _: random.Random) -> str:
    site.rabbit.sync_declarations()
    site.rabbit.kill()
    site.rabbit.start()
    return "RabbitMQ"


def _cut_power_of_database(site: Site, _: random.Random) -> str:
    site.postgres.kill()
    site.postgres.start()
    return "PostgreSQL"


def died(site: Site) -> list[Daemon]:
    """Daemons that nobody has killed, and that have ended all the same."""
    return [each for each in site.installation.daemons if not each.is_running]


FAULTS = (
    Fault(name="kill orchestrator", copies=5, play=_kill("orchestrator")),
    Fault(name="kill participants", copies=5, play=_kill("participants")),
    Fault(name="kill dlq worker", copies=2, play=_kill("dlq-worker")),
    Fault(name="terminate orchestrator", copies=3, play=_terminate("orchestrator")),
    Fault(name="terminate participants", copies=3, play=_terminate("participants")),
    Fault(name="terminate dlq worker", copies=1, play=_terminate("dlq-worker")),
    Fault(name="pause daemons", copies=6, play=_pause),
    Fault(name="cut connections", copies=8, play=_cut),
    Fault(name="half-open connections", copies=4, play=_freeze),
    Fault(name="refuse connections", copies=2, play=_refuse),
    Fault(name="slow connections", copies=2, play=_slow_down),
    Fault(name="terminate database sessions", copies=3, play=_terminate_sessions),
    Fault(name="lock table", copies=1, play=_lock),
    Fault(name="close broker connections", copies=1, play=_close_all),
    Fault(name="freeze broker", copies=1, play=_freeze_broker),
    Fault(name="restart broker", copies=1, play=_restart(lambda site: site.rabbit)),
    Fault(name="cut power of broker", copies=1, play=_cut_power_of_broker),
    Fault(name="restart database", copies=1, play=_restart(lambda site: site.postgres)),
    Fault(name="cut power of database", copies=1, play=_cut_power_of_database),
)
