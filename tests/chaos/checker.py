"""The audit at the end: services' ledgers, the history, the queues, the letters, the alerts."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import aio_pika
import psycopg

from participants.examples.books import Books
from tests.chaos.quiet import Quiet
from tests.chaos.world import NONSENSE, World
from tests.product import audit
from tests.product.installation import wait_for
from tests.product.listeners import heard_by_listeners, outcomes_told
from tests.product.orders import HASTY
from tests.product.story import is_closed

LOG_LIMIT = 5_000_000  # bytes of one daemon's log
_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a scenario has come to. All but the first four must be empty."""

    sagas: int
    faults: int
    recovery_seconds: float
    parked: int  # sagas that an operator was called to, and that ended then
    lost: Sequence[str] = ()
    doubled: Sequence[str] = ()
    stuck: Sequence[str] = ()
    problems: Sequence[str] = ()

    @property
    def findings(self) -> Sequence[str]:
        kinds = ("lost", "doubled", "stuck", "problems")
        return [f"{kind}: {line}" for kind in kinds for line in getattr(self, kind)]

    @property
    def is_clean(self) -> bool:
        return not self.findings


def judge(world: World, quiet: Quiet, recovery_seconds: float) -> Verdict:
    """Everything must add up, once it is quiet."""
    place, asked = world.place, world.load.asked
    problems = [*_waits_in_vain(world)]
    states = audit.states(place)
    books = asyncio.run(audit.books(place))
    return Verdict(
        sagas=len(asked),
        faults=world.faults.count,
        recovery_seconds=recovery_seconds,
        parked=len(quiet.parked.keys() - quiet.stuck.keys()),
        lost=[
            *(f"{each.saga_id} is unknown" for each in asked if each.saga_id not in states),
            *audit.disagreements(books, {k: v for k, v in states.items() if k not in quiet.stuck}),
            *audit.history_gaps(place),
            *audit.broken_chains(place),
        ],
        doubled=[*_doubled(books), *_ghosts(world, books), *books.stock_errors],
        stuck=[
            *(f"{saga_id} is {state}" for saga_id, state in quiet.stuck.items()),
            *(f"{name} has {n} open alerts" for name, n in quiet.parked.items() if n != 1),
        ],
        problems=[*problems, *_wrong_ends(world, states), *_daemon_problems(world)],
    )


def _doubled(books: Books) -> Iterator[str]:
    """I1 and I2: an effect twice, or undone more often than done."""
    for saga_id, account in sorted(books.accounts.items()):
        for problem in account.problems():
            if "was done" in problem:
                yield f"{saga_id}: {problem}"


def _ghosts(world: World, books: Books) -> Iterator[str]:
    """Effects of commands that no history knows of."""
    if world.needs.may_lose_history:
        return
    query = "SELECT DISTINCT saga_id, step, after FROM saga_history WHERE step IS NOT NULL"
    with psycopg.connect(world.place.saga_database) as connection:
        known = set(connection.execute(query).fetchall())
    for saga_id, account in books.accounts.items():
        for state, steps in (("executing", account.done), ("compensating", account.undone)):
            for step in steps:
                if (saga_id, step, state) not in known:
                    yield f"{saga_id}: {step} took effect, but was never {state}"


def _waits_in_vain(world: World) -> Iterator[str]:
    """I4, I8: what comes to rest within a minute, and here did not."""
    facts = (
        (lambda: _has_stored_nonsense(world), "every message without sense is a dead letter"),
        (lambda: not _unexplained(world), "every dead letter is explained or closed"),
        (lambda: not asyncio.run(_left_in_queues(world)), "no message is left in any queue"),
        (lambda: not asyncio.run(_consumers_off(world)), "each queue has its consumers"),
        (lambda: not _owed(world), "no saga that has ended owes a message"),
    )
    for is_so, fact in facts:
        try:
            wait_for(is_so, fact, seconds=_SECONDS)
        except AssertionError as error:
            yield f"{error}{_details(world)}"


def _details(world: World) -> str:
    found = [
        *_unexplained(world),
        *asyncio.run(_left_in_queues(world)),
        *asyncio.run(_consumers_off(world)),
        *_owed(world),
    ]
    return f" ({'; '.join(found[:8])})"


def _has_stored_nonsense(world: World) -> bool:
    stored = {row["headers"].get("saga-original-message-id") for row in audit.letters(world.place)}
    return stored >= set(NONSENSE)


def _unexplained(world: World) -> list[str]:
    asked = {each.saga_id: each.saga_type for each in world.load.asked}
    return [
        f"letter {row['id']} {row['reason']} {row['saga_id']} {row['step_name']} {row['status']}"
        for row in audit.letters(world.place)
        if not is_closed(row) and not _may_stay(world, row, asked.get(row["saga_id"]))
    ]


def _may_stay(world: World, letter: Mapping[str, object], saga_type: str | None) -> bool:
    """Nonsense waits for a person; so does the news that an effect came too late."""
    if letter["reason"] in world.needs.letters:
        return True
    is_late = letter["reason"] == "late_success" and saga_type in (HASTY, None)
    return is_late or letter["reason"] == "bad_json"


async def _left_in_queues(world: World) -> list[str]:
    counts = await _declared(world)
    return [f"{ready} messages in {queue}" for queue, (ready, _) in counts.items() if ready]


async def _consumers_off(world: World) -> list[str]:
    """I7: each queue is consumed by as many as run, no more and no less."""
    names = world.place.names
    orchestrators, services = len(world.orchestrators), len(world.participants)
    wanted = {names.starts: orchestrators, names.replies: orchestrators, names.dead_letters: 1}
    counts = await _declared(world)
    if world.needs.build is None:
        return [
            f"{count} consumers on {queue} instead of {wanted.get(queue, services)}"
            for queue, (_, count) in counts.items()
            if count != wanted.get(queue, services)
        ]
    return [f"nobody consumes {queue}" for queue, (_, count) in counts.items() if not count]


async def _declared(world: World) -> dict[str, tuple[int, int]]:
    """Ready messages and consumers of each queue."""
    found: dict[str, tuple[int, int]] = {}
    async with await aio_pika.connect(world.place.amqp_url, timeout=10) as connection:
        channel = await connection.channel()
        for queue in audit.queues_of(world.place.names):
            told = (await channel.get_queue(queue, ensure=True)).declaration_result
            found[queue] = (told.message_count or 0, told.consumer_count or 0)
    return found


def _owed(world: World) -> list[str]:
    """Ended sagas whose last messages were not confirmed yet."""
    query = "SELECT saga_id FROM sagas WHERE wake_at IS NOT NULL AND state = ANY(%s)"
    with psycopg.connect(world.place.saga_database) as connection:
        rows = connection.execute(query, [list(audit.FINAL)]).fetchall()
    return [f"{row[0]} still owes a message" for row in rows]


def _wrong_ends(world: World, states: Mapping[str, str]) -> Iterator[str]:
    """Ends that the order did not ask for, or that nobody was told of."""
    for each in world.load.asked:
        state = states.get(each.saga_id)
        if state in audit.FINAL and each.ends not in (None, state):
            yield f"{each.saga_id} is {state} and should be {each.ends}"
    if world.needs.may_lose_events:
        return
    told: dict[str, set[str]] = {}
    with suppress(aio_pika.exceptions.ChannelNotFoundEntity):
        told = dict(asyncio.run(outcomes_told(world.place)))
    for saga_id, state in states.items():
        if state in audit.FINAL and told.get(saga_id) != {state}:
            heard = sorted(told.get(saga_id, ()))
            yield f"{saga_id} is {state}, but {heard} was told in {heard_by_listeners(world.place)}"


def _daemon_problems(world: World) -> Iterator[str]:
    """I6 and I7: alive, ready, and not shouting."""
    for daemon in world.installation.daemons:
        if not daemon.is_running:
            yield f"{daemon.name} has ended with exit code {daemon.exit_code}"
        elif not daemon.is_ready():
            yield f"{daemon.name} is not ready"
        if len(daemon.log) > LOG_LIMIT:
            yield f"{daemon.name} has logged {len(daemon.log)} bytes"
        if "Traceback (most recent call last)" in daemon.log:
            yield f"{daemon.name} has logged a traceback"
