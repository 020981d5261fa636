"""What can go wrong inside a PostgreSQL that runs: its sessions, rows, speed and limits."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from psycopg import sql

_OURS: Final = "countermand%"  # as our programs call their sessions
_TERMINATE: Final = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE application_name LIKE %s AND datname = current_database()
"""
_SLOW: Final = """
    CREATE OR REPLACE FUNCTION chaos_slow() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END $$;
    CREATE TRIGGER chaos_slow BEFORE INSERT OR UPDATE ON {table}
    FOR EACH {each} EXECUTE FUNCTION chaos_slow()
"""


def terminate_sessions(url: str) -> int:
    """End every session of our programs in that database; how many there were."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(_TERMINATE, [_OURS]).fetchone()
        assert row is not None
        return int(row[0])


@contextmanager
def terminating_sessions(*urls: str, every: float = 0.1) -> Iterator[list[int]]:
    """Do it again and again; what is given collects how many each time."""
    over, ended = threading.Event(), []

    def terminate() -> None:
        while not over.wait(every):
            ended.append(sum(terminate_sessions(url) for url in urls))

    thread = threading.Thread(target=terminate, name="terminating sessions")
    thread.start()
    try:
        yield ended
    finally:
        over.set()
        thread.join()


@contextmanager
def row_locked(url: str, table: str, column: str, values: list[str]) -> Iterator[int]:
    """Somebody holds the locks of these rows; how many there are."""
    query = sql.SQL("SELECT 1 FROM {} WHERE {} = ANY(%s) FOR UPDATE").format(
        sql.Identifier(table), sql.Identifier(column)
    )
    with psycopg.connect(url) as connection:
        yield len(connection.execute(query, [values]).fetchall())
        connection.rollback()


@contextmanager
def slow_writes(url: str, table: str, *, seconds: float, each: str = "STATEMENT") -> Iterator[None]:
    """Every INSERT and UPDATE of that table takes so much longer, by statement or by ROW."""
    slow = sql.SQL(_SLOW).format(
        seconds=sql.Literal(seconds), table=sql.Identifier(table), each=sql.SQL(each)
    )
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(slow)
        try:
            yield
        finally:
            connection.execute("DROP FUNCTION chaos_slow CASCADE")


@contextmanager
def connections_limited(url: str, database: str, limit: int) -> Iterator[None]:
    """At most so many connections to that database, but for superusers, from now on."""
    change = sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(change.format(sql.Identifier(database), sql.Literal(limit)))
        try:
            yield
        finally:
            connection.execute(change.format(sql.Identifier(database), sql.Literal(-1)))


def chosen(chance: random.Random, ids: list[str], count: int) -> list[str]:
    """So many of them, or all."""
    return chance.sample(ids, min(count, len(ids)))
