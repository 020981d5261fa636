"""A past: sagas that ended long ago, written by SQL, so that the tables are as large as in use."""

from collections.abc import Iterable
from typing import Final

import psycopg
from psycopg import sql

from orchestrator.store.tables import saga_history, sagas

_CHUNK: Final = 100_000
# The oldest is 90 days old; `n` numbers them from there on.
_MOMENT: Final = "now() - interval '90 days' + n * (interval '89 days' / %(total)s)"
_MOMENTS: Final = ("created_at", "updated_at", "ended_at", "at")


def fill(database_url: str, template: str, count: int) -> None:
    """Copy that finished saga `count` times; then all is vacuumed and on the disk."""
    statements = [
        _copies("sagas", [column.name for column in sagas.columns]),
        _copies("saga_history", [column.name for column in saga_history.columns]),
    ]
    with psycopg.connect(database_url, autocommit=True) as connection:
        for first in range(1, count + 1, _CHUNK):
            last = min(first + _CHUNK - 1, count)
            chunk = {"template": template, "first": first, "last": last, "total": count}
            for statement in statements:
                connection.execute(statement, chunk)
        connection.execute("VACUUM ANALYZE sagas, saga_history")
        connection.execute("CHECKPOINT")


def _copies(table: str, columns: Iterable[str]) -> sql.Composed:
    """Of the template's rows, but for identity and moments."""
    named = list(columns)
    return sql.SQL(
        "INSERT INTO {table} ({columns}) SELECT {values} FROM {table}, "
        "generate_series(%(first)s::bigint, %(last)s) AS n WHERE saga_id = %(template)s"
    ).format(
        table=sql.Identifier(table),
        columns=sql.SQL(", ").join(map(sql.Identifier, named)),
        values=sql.SQL(", ").join(map(_value, named)),
    )


def _value(column: str) -> sql.Composable:
    if column == "saga_id":
        return sql.SQL("'past-' || n")
    if column in _MOMENTS:
        return sql.SQL(_MOMENT)
    return sql.Identifier(column)
