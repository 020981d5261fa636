"""What the programs ask all the time reads few rows, however many lie in the tables."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import event, text
from store.sagas import advanced, decided, running

from dlq_worker.alerts import begin_rounds, count_interventions, take_due_deliveries
from dlq_worker.letters import due_letters, open_by_reason
from dlq_worker.listing import LetterFilter, list_letters
from dlq_worker.purging import old_letters
from orchestrator.saga.state import SagaState
from orchestrator.store import direct
from orchestrator.store.at_once import Question
from orchestrator.store.postgres import PostgresStore
from orchestrator.store.purging import Purge, count_old, old_sagas
from orchestrator.store.queries import list_sagas, show_saga

pytestmark = pytest.mark.postgres

SAGAS = 200_000
LARGE = {"sagas", "saga_history", "dead_letters", "dead_letter_actions", "alerts"}
FEW = 4000  # a thousand are live, a hundred or five hundred are asked for, with their lines
DAY = timedelta(days=1)
EXPLAINABLE = {"SELECT", "UPDATE", "DELETE", "WITH"}
Statement = tuple[str, Any]

# Of a year: most have completed, each hundredth has failed, the last thousand are under way,
# and of those each tenth waits for nobody. Every failed one has left a closed dead letter.
_SAGAS = f"""
    INSERT INTO sagas (saga_id, saga_type, state, version, input_digest, data, plan, steps,
                       on_exhausted, created_at, updated_at, ended_at, wake_at, epochs)
    SELECT md5(n::text), 'Order', CASE WHEN is_open THEN 'pending' WHEN n % 100 = 0 THEN 'failed'
                                       ELSE 'completed' END,
           9, 'digest', '{{}}', '[]', '[]', 'halt', at, at, CASE WHEN NOT is_open THEN at END,
           CASE WHEN is_open AND n % 10 > 0 THEN now() + interval '5 minutes' END, '1-1-1'
    FROM (SELECT n, n > {SAGAS - 1000} AS is_open,
                 now() - ({SAGAS} - n) * interval '365 days' / {SAGAS} AS at
          FROM generate_series(1, {SAGAS}) AS n) AS drawn
"""
_HISTORY = """
    INSERT INTO saga_history (saga_id, version, at, before, after)
    SELECT saga_id, v, created_at, 'started', 'pending' FROM sagas, generate_series(1, 2) AS v
    WHERE created_at > now() - interval '180 days'
"""
_LETTERS = """
    INSERT INTO dead_letters (key, origin, place, reason, signature, saga_id, routing_key, headers,
        properties, body, body_bytes, status, times_seen, first_seen, last_seen, replays,
        send_requested, alert_key, closed_at)
    SELECT 'k' || n, 'compensation', 'none', 'compensation_exhausted', 's' || n % 50,
           md5((n * 10)::text), 'compensation', '{}', '{}', '', 0,
           CASE WHEN n % 1000 = 0 THEN 'open' ELSE 'resolved' END, 1, at, at, 0, false, 'a' || n,
           CASE WHEN n % 1000 > 0 THEN at END
    FROM (SELECT n, now() - (20000 - n) * interval '26 minutes' AS at
          FROM generate_series(1, 20000) AS n) AS drawn
"""
_ALERTS = """
    INSERT INTO alerts (key, letter_id, status, severity, title, summary, created_at, times_sent,
                        closed_at)
    SELECT 'a' || n, n, CASE WHEN n % 1000 = 0 THEN 'open' ELSE 'closed' END, 'critical',
           repeat('t', 100), repeat('s', 100), at, 1, CASE WHEN n % 1000 > 0 THEN at END
    FROM (SELECT n, now() - (60000 - n) * interval '8 minutes' AS at
          FROM generate_series(1, 60000) AS n) AS drawn
"""


@pytest.fixture(scope="module")
def grown_url(postgres_url: str) -> Iterator[str]:
    """A database after a year."""
    name = f"t_{uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = psycopg.conninfo.make_conninfo(postgres_url, dbname=name)
    with psycopg.connect(url) as connection:
        info = connection.info
        store_url = f"postgresql://{info.user}:{info.password}@{info.host}:{info.port}/{name}"
    asyncio.run(_upgraded(store_url))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        for statement in (_SAGAS, _HISTORY, _LETTERS, _ALERTS, "VACUUM ANALYZE"):
            connection.execute(statement)
    yield store_url
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        connection.execute(drop.format(sql.Identifier(name)))


async def _upgraded(url: str) -> None:
    store = PostgresStore(url)
    await store.upgrade()
    await store.close()


@pytest.fixture
async def grown(grown_url: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(grown_url)
    yield store
    await store.close()


async def _clock(store: PostgresStore) -> None:
    async with store.transaction() as transaction:
        await transaction.lock_due(100, ["Order"])


async def _start_of_clock(store: PostgresStore) -> None:
    async with store.transaction() as transaction:
        await transaction.wake_doubtful(1000)


async def _purge_of_sagas(store: PostgresStore) -> None:
    await Purge(store, old_sagas(completed=360 * DAY, failed=None), by="x", reason="y").some(500)


async def _purge_of_failed(store: PostgresStore) -> None:
    await Purge(store, old_sagas(completed=None, failed=360 * DAY), by="x", reason="y").some(500)


async def _purge_of_letters(store: PostgresStore) -> None:
    purge = Purge(store, old_letters(350 * DAY), by="x", reason="y")
    while await purge.some(500):
        pass


ASKED: dict[str, Callable[[PostgresStore], Awaitable[Any]]] = {
    "the clock": _clock,
    "the clock's start": _start_of_clock,
    "the clock's sleep": lambda store: store.outlook(),
    "the count of stuck sagas": lambda store: store.stuck(),
    "list": list_sagas,
    "list of a type": lambda store: list_sagas(store, saga_type="Order"),
    "list of an unknown type": lambda store: list_sagas(store, saga_type="Odrer"),
    "list of failed": lambda store: list_sagas(store, state="failed"),
    "list of pending": lambda store: list_sagas(store, state="pending", saga_type="Order"),
    "list of compensating": lambda store: list_sagas(store, state="compensating"),
    "list of completed": lambda store: list_sagas(store, state="completed"),
    "list of stuck": lambda store: list_sagas(store, stuck_after=DAY),
    "show": lambda store: show_saga(store, "c4ca4238a0b923820dcc509a6f75849b"),
    "dead letters that are due": lambda store: due_letters(store, 100),
    "the gauge of letters": open_by_reason,
    "the gauge of alerts": count_interventions,
    "rounds": lambda store: begin_rounds(store, {"log"}, DAY),
    "deliveries": lambda store: take_due_deliveries(
        store, "log", limit=5, lease=DAY, console_url=None
    ),
    "open letters": list_letters,
    "all letters": lambda store: list_letters(store, LetterFilter(statuses=None)),
    "the letters of a saga": lambda store: list_letters(store, LetterFilter(saga_id="x")),
    "purge of completed": _purge_of_sagas,
    "purge of failed": _purge_of_failed,
    "purge of letters": _purge_of_letters,
    "what a purge would find": lambda store: count_old(store, SagaState.FAILED, 360 * DAY),
}


@pytest.mark.parametrize("question", ASKED.values(), ids=ASKED)
async def test_no_question_reads_more_than_is_live_or_asked_for(
    grown: PostgresStore, question: Callable[[PostgresStore], Awaitable[Any]]
) -> None:
    asked: list[Statement] = []

    def note(*arguments: Any) -> None:
        asked.append((arguments[2], arguments[3]))

    engine = grown._engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    await question(grown)
    event.remove(engine, "before_cursor_execute", note)
    explainable = [each for each in asked if each[0].split()[0] in EXPLAINABLE]
    assert explainable
    for statement, values in explainable:
        plan = await _plan(grown, statement, values)
        whole = {node["Relation Name"] for node in plan if node["Node Type"] == "Seq Scan"}
        assert whole & LARGE == set(), statement[:1000]
        assert sum(map(_rows_read, plan)) <= FEW, statement[:1000]


@pytest.mark.parametrize("number", [1, 100], ids=["alone", "together"])
async def test_saving_at_once_reads_the_rows_that_it_saves(
    grown: PostgresStore, number: int
) -> None:
    ids = [f"at-once-{number}-{each}" for each in range(number)]
    async with grown.transaction() as transaction:
        at, epochs = transaction.now, (transaction.epoch,)
        await transaction.insert([decided(running(each, at, epochs=epochs)) for each in ids])
    recalled: Any = grown.recalled(ids)
    plans: list[Any] = []

    async def explain(question: Question) -> None:
        statement, values = question
        explained = b"EXPLAIN (ANALYZE, FORMAT JSON) " + statement.text
        async with grown._kept.one() as line:
            answer = await line.ask(direct.Statement(explained, statement.types), values)
        [plan] = json.loads(answer.get_value(0, 0) or b"")
        plans.extend(_nodes(plan["Plan"]))

    recalled._ask = explain
    await recalled.save((), [advanced(saga, recalled.now) for saga in recalled.sagas.values()])
    of_sagas = [node for node in plans if node.get("Relation Name") == "sagas"]
    assert {node["Actual Rows"] for node in of_sagas if node["Node Type"] == "Index Scan"} == {1}
    assert sum(map(_rows_read, plans)) == 2 * len(ids)  # to lock them, and to change them


async def _plan(store: PostgresStore, statement: str, values: Any) -> list[dict[str, Any]]:
    """The nodes of the plan with what they did; what was changed is undone."""
    async with store.reading() as connection:
        await connection.exec_driver_sql("BEGIN")
        explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}"
        plan = (await connection.exec_driver_sql(explain, values)).scalar_one()
        await connection.exec_driver_sql("ROLLBACK")
    return list(_nodes(plan[0]["Plan"]))


def _rows_read(node: dict[str, Any]) -> int:
    if node.get("Relation Name") not in LARGE or "Scan" not in node["Node Type"]:
        return 0
    removed = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    rows = node["Actual Rows"] + sum(node.get(name, 0) for name in removed)
    return int(rows * node["Actual Loops"])


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


async def test_the_tables_of_the_test_are_large(grown: PostgresStore) -> None:
    async with grown.reading() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM sagas")) > SAGAS * 0.9
