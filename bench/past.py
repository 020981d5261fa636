"""A past: sagas that ended long ago, written by SQL, so that the tables are as large as in use."""

from typing import Final

import psycopg

_CHUNK: Final = 100_000
# A line of four steps leaves these columns; `n` numbers the saga, from the oldest on.
_SAGAS: Final = """
    INSERT INTO sagas (saga_id, saga_type, state, version, input_digest, data, plan, steps,
                       on_exhausted, created_at, updated_at, ended_at)
    SELECT 'past-' || n, 'BenchLine', 'completed', 6, md5(n::text), %(data)s, %(plan)s, %(steps)s,
           'halt', at, at + interval '1 s', at + interval '1 s'
    FROM (SELECT n, now() - interval '90 days' + n * (interval '90 days' / %(total)s) AS at
          FROM generate_series(%(first)s::bigint, %(last)s) AS n) AS numbered
"""
_HISTORY: Final = """
    INSERT INTO saga_history (saga_id, version, at, step, before, after, cause)
    SELECT 'past-' || n, version, now() - interval '90 days', NULL, 'pending', 'completed',
           md5(n::text || version)
    FROM generate_series(%(first)s::bigint, %(last)s) AS n, generate_series(1, 6) AS version
"""


def fill(database_url: str, count: int) -> None:
    """Write `count` finished sagas and their histories; then analysed and on the disk."""
    for_all = {"data": "{}", "plan": "[]", "steps": "[]", "total": count}
    with psycopg.connect(database_url, autocommit=True) as connection:
        for first in range(1, count + 1, _CHUNK):
            chunk = {**for_all, "first": first, "last": min(first + _CHUNK - 1, count)}
            connection.execute(_SAGAS, chunk)
            connection.execute(_HISTORY, chunk)
        connection.execute("VACUUM ANALYZE sagas, saga_history")
        connection.execute("CHECKPOINT")
