"""Lays everything side by side in the saga database: what was asked for, done, told and stored.

The tables live in a schema `audit` of their own, so that a question about a hundred thousand
sagas is one statement.
"""

from collections.abc import Iterable, Mapping

import psycopg
from psycopg import sql

from participants.examples.books import EFFECTS, INITIAL_STOCK
from tests.product.installation import Place
from tests.product.orders import STEPS, Asked

_SCHEMA = """
    DROP SCHEMA IF EXISTS audit CASCADE;
    CREATE SCHEMA audit;
    CREATE TABLE audit.asked (
        saga_id text PRIMARY KEY, saga_type text, ends text, is_stubborn bool
    );
    CREATE TABLE audit.told (saga_id text PRIMARY KEY, outcome text);
    CREATE TABLE audit.effects (
        saga_id text, step text, place int, done int, undone int, PRIMARY KEY (saga_id, step)
    );
"""


def lay_out(place: Place, asked: Iterable[Asked], told: Mapping[str, str]) -> None:
    """Replaces what an earlier audit has laid out."""
    with psycopg.connect(place.saga_database) as there:
        there.execute(_SCHEMA)
        _copy(there, "asked", map(_asked_row, asked))
        _copy(there, "told", told.items())
        with psycopg.connect(place.shop_database) as shop:
            for number, step in enumerate(STEPS):
                rows = shop.execute(_effects_of(step)).fetchall()
                _copy(there, "effects", ((row[0], step, number, *row[1:]) for row in rows))
        there.execute("ANALYZE audit.asked, audit.told, audit.effects")


def stock_errors(place: Place) -> list[str]:
    """Articles of which the shelf and the ledger disagree."""
    query = """
        SELECT sku, available, %s - coalesce(sum(
            CASE kind WHEN 'reserve' THEN quantity WHEN 'release' THEN -quantity END), 0)
        FROM inventory_stock LEFT JOIN inventory_reservations USING (sku)
        GROUP BY sku, available
    """
    with psycopg.connect(place.shop_database) as shop:
        rows = shop.execute(query, [INITIAL_STOCK]).fetchall()
    return [
        f"article {sku}: {available} available, but the ledger says {expected}"
        for sku, available, expected in rows
        if available != expected
    ]


def _asked_row(asked: Asked) -> tuple[object, ...]:
    is_stubborn = "fail_compensation" in asked.data
    return asked.saga_id, asked.saga_type, asked.ends, is_stubborn


def _effects_of(step: str) -> sql.Composed:
    """How often the step took effect, and was undone; a reservation has a line per article."""
    effects = EFFECTS[step]
    per_line = "sku" if "sku" in effects.ledger.c else "kind"
    query = sql.SQL("""
        SELECT saga_id, coalesce(max(times) FILTER (WHERE kind = {done}), 0),
               coalesce(max(times) FILTER (WHERE kind = {undone}), 0)
        FROM (SELECT saga_id, kind, count(*) AS times FROM {ledger} GROUP BY saga_id, kind, {line})
        AS lines GROUP BY saga_id
    """)
    return query.format(
        done=effects.done,
        undone=effects.undone,
        ledger=sql.Identifier(effects.ledger.name),
        line=sql.Identifier(per_line),
    )


def _copy(
    there: psycopg.Connection[tuple[object, ...]], table: str, rows: Iterable[tuple[object, ...]]
) -> None:
    copy = sql.SQL("COPY audit.{} FROM STDIN").format(sql.Identifier(table))
    with there.cursor().copy(copy) as writer:
        for row in rows:
            writer.write_row(row)
