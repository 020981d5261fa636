"""What an auditor reads off the databases and the broker once a story is over."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import aio_pika
import psycopg
from psycopg.rows import dict_row
from sqlalchemy.ext.asyncio import create_async_engine

from messaging.topology import Names
from participants.examples.books import EFFECTS, Books, balance
from tests.product.installation import Place

FINAL = ("completed", "failed")


def states(place: Place) -> dict[str, str]:
    """Every saga's state, by id."""
    with psycopg.connect(place.saga_database) as connection:
        return dict(connection.execute("SELECT saga_id, state FROM sagas").fetchall())


def transitions(place: Place) -> int:
    """How far all sagas together have come."""
    with psycopg.connect(place.saga_database) as connection:
        row = connection.execute("SELECT count(*) FROM saga_history").fetchone()
        assert row is not None
        return int(row[0])


def history_gaps(place: Place) -> list[str]:
    """Sagas whose history is not 1, 2, 3, … up to the version of the saga."""
    query = """
        SELECT s.saga_id, s.version, count(h.version), min(h.version), max(h.version)
        FROM sagas s LEFT JOIN saga_history h USING (saga_id)
        GROUP BY s.saga_id, s.version
        HAVING count(h.version) <> s.version OR min(h.version) <> 1 OR max(h.version) <> s.version
    """
    with psycopg.connect(place.saga_database) as connection:
        return [str(row) for row in connection.execute(query).fetchall()]


def broken_chains(place: Place) -> list[str]:
    """Where a step, or a saga, left a state that it had not entered."""
    query = "SELECT saga_id, step, version, before, after FROM saga_history ORDER BY 1, 2, 3"
    with psycopg.connect(place.saga_database) as connection:
        rows = connection.execute(query).fetchall()
    return [
        f"{earlier} then {later}"
        for earlier, later in pairwise(rows)
        if earlier[:2] == later[:2] and earlier[4] != later[3]
    ]


def letters(place: Place) -> Sequence[Mapping[str, Any]]:
    """Every dead letter that the DLQ worker has stored."""
    with psycopg.connect(place.saga_database, row_factory=dict_row) as connection:
        return connection.execute("SELECT * FROM dead_letters ORDER BY id").fetchall()


def unclosed(place: Place) -> list[str]:
    """Dead letters that still wait for somebody."""
    return [
        f"{row['id']} {row['reason']} {row['saga_id']} {row['step_name']} {row['error']}"
        for row in letters(place)
        if row["status"] in ("open", "replaying")
    ]


async def books(place: Place) -> Books:
    engine = create_async_engine(place.shop_database.replace("postgresql:", "postgresql+psycopg:"))
    try:
        return await balance(engine)
    finally:
        await engine.dispose()


def disagreements(books: Books, states: Mapping[str, str]) -> Iterator[str]:
    """Where the shop's books say something else than the orchestrator's."""
    for saga_id, state in states.items():
        account = books.accounts.get(saga_id)
        left = account.left if account else frozenset()
        wanted = frozenset(EFFECTS) if state == "completed" else frozenset()
        if left != wanted:
            yield f"{saga_id} is {state}, but {sorted(left) or 'nothing'} stands"


async def messages_in(place: Place, queue: str) -> int:
    """How many messages are ready in a queue."""
    async with await aio_pika.connect(place.amqp_url, timeout=10) as connection:
        channel = await connection.channel()
        declared = await channel.get_queue(queue, ensure=True)
        return declared.declaration_result.message_count or 0


def queues_of(names: Names) -> tuple[str, ...]:
    services = ("InventoryService", "PaymentService", "ShippingService", "NotificationService")
    return (names.starts, names.replies, names.dead_letters, *map(names.commands_for, services))


class Progress:
    """Waits for sagas to move, and says which do not."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def wait_until_ended(self, saga_ids: Sequence[str], *, seconds: float) -> dict[str, str]:
        """The states of these sagas; fails when none has moved for so long, and not all ended."""
        deadline, moved = time.monotonic() + seconds, -1
        while True:
            now = states(self._place)
            left = [saga_id for saga_id in saga_ids if now.get(saga_id) not in FINAL]
            if not left:
                return {saga_id: now[saga_id] for saga_id in saga_ids}
            if (count := transitions(self._place)) != moved:
                deadline, moved = time.monotonic() + seconds, count
            assert time.monotonic() < deadline, self._told(left, now)
            time.sleep(0.1)

    def _told(self, left: Sequence[str], now: Mapping[str, str]) -> str:
        counts = Counter(now.get(saga_id, "not there") for saga_id in left)
        query = """
            SELECT saga_id, state, version, wake_at - now(), resend_at - now(), steps
            FROM sagas WHERE saga_id = ANY(%s) LIMIT 5
        """
        with psycopg.connect(self._place.saga_database) as connection:
            rows = connection.execute(query, [list(left)]).fetchall()
        return "\n".join([f"sagas that do not end: {dict(counts)}", *map(str, rows)])
