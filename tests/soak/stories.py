"""The stories of a few sagas that are not as they should be, for whoever looks for the cause."""

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg.rows import dict_row

from tests.product.installation import Place
from tests.soak.checker import Verdict

TOLD = 20
_OPEN = f"SELECT saga_id FROM sagas WHERE ended_at IS NULL ORDER BY updated_at LIMIT {TOLD}"
_TABLES = ("sagas", "saga_history", "dead_letters")


def write_stories(place: Place, folder: Path, verdict: Verdict | None) -> None:
    """Rows of the sagas that the verdict names; without one, of the oldest that have not ended."""
    with (folder / "stories.jsonl").open("w") as file:
        try:
            for line in _stories(place, verdict):
                file.write(line + "\n")
        except psycopg.Error as error:
            file.write(f"{error}\n")


def _stories(place: Place, verdict: Verdict | None) -> Iterator[str]:
    with psycopg.connect(place.saga_database, connect_timeout=10) as there:
        named = _named(verdict) if verdict else [row[0] for row in there.execute(_OPEN)]
        rows = there.cursor(row_factory=dict_row)
        for saga_id in named[:TOLD]:
            for table in _TABLES:
                for row in rows.execute(f"SELECT * FROM {table} WHERE saga_id = %s", [saga_id]):
                    yield json.dumps({"table": table, **row}, default=str)


def _named(verdict: Verdict) -> list[str]:
    words = (
        word
        for finding in verdict.findings
        for example in finding.examples
        for word in example.split(", ")
    )
    return list(dict.fromkeys(word for word in words if word.startswith("order-")))
