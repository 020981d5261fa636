"""The story of one saga, for whoever has to find out what went wrong."""

import re
from collections.abc import Iterator, Sequence

import psycopg

from tests.product.installation import Place

_HISTORY = """
    SELECT version, at::time, step, before, after, cause, attempt, note, error
    FROM saga_history WHERE saga_id = %s ORDER BY version
"""
_INBOX = "SELECT * FROM saga_inbox WHERE saga_id = %s"
_LETTERS = """
    SELECT id, reason, step_name, status, first_seen::time, replays, error
    FROM dead_letters WHERE saga_id = %s ORDER BY id
"""


def story_of(place: Place, findings: Sequence[str]) -> Iterator[str]:
    """All that is stored of the first saga that the findings name."""
    named = re.search(r"\border-\d+\b", " ".join(findings))
    if named is None:
        return
    saga_id = named[0]
    yield f"the story of {saga_id}:"
    sources = (
        (place.saga_database, _HISTORY),
        (place.saga_database, _LETTERS),
        (place.shop_database, _INBOX),
        *((place.shop_database, _ledger(name)) for name in _LEDGERS),
    )
    for url, query in sources:
        with psycopg.connect(url) as connection:
            for row in connection.execute(query, [saga_id]).fetchall():
                yield "  " + " ".join(str(value) for value in row if value is not None)


_LEDGERS = ("inventory_reservations", "payments", "shipments", "notifications")


def _ledger(name: str) -> str:
    return f"SELECT '{name}', kind, at::time FROM {name} WHERE saga_id = %s ORDER BY id"
