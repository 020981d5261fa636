"""`saga db purge`: it says what goes, asks first, and deletes what ended long ago."""

import io
from datetime import timedelta

import pytest
from cli_stories import COMPLETED, FAILED, REFUND_EXHAUSTED, letter_of, stored
from command_lines import Saga, only_line, put
from sqlalchemy import select

from orchestrator.saga.state import SagaState
from orchestrator.store.database import DatabaseStore
from orchestrator.store.tables import purges, sagas

DAY = timedelta(days=1)
SURE = ("--yes", "--reason", "ticket 4711", "--by", "anna")


@pytest.fixture(params=["sqlite", "postgres"])
def filled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Sagas of many ages, and one that is old and has an open dead letter."""
    if request.param == "sqlite":
        url: str = request.getfixturevalue("database")
    else:
        url = request.getfixturevalue("empty_database_url")
        monkeypatch.setenv("SAGA_DATABASE_URL", url)
        put(url, DatabaseStore.upgrade)
    put(url, _fill)
    return url


async def _fill(store: DatabaseStore) -> None:
    for days in (1, 10, 40, 50):
        await stored(store, f"completed-{days}", COMPLETED, began=days * DAY)
    for days in (40, 200):
        await stored(store, f"failed-{days}", FAILED, began=days * DAY)
    halted = await stored(store, "halted", REFUND_EXHAUSTED, began=300 * DAY)
    await letter_of(store, halted, is_alerted=True)
    async with store.transaction() as transaction:
        ended = {"state": SagaState.FAILED.value, "ended_at": transaction.now - 299 * DAY}
        halting = sagas.update().where(sagas.c.saga_id == "halted")
        await transaction.execute(halting.values(**ended, wake_at=None))


def listed(saga: Saga) -> set[str]:
    return {each["saga_id"] for each in saga("list", "-o", "json").value}


def test_a_dry_run_counts_and_deletes_nothing(saga: Saga, filled: str) -> None:
    before = listed(saga)
    ran = saga("db", "purge", "--dry-run")
    assert ran.code == 0
    first, second = ran.out.splitlines()
    assert first == (
        "2 completed sagas, 1 failed saga would be deleted; completed sagas are kept 30d, "
        "failed ones and closed dead letters 180d"
    )
    assert second == "1 old saga kept: dead letters or alerts of theirs are open"
    assert listed(saga) == before
    assert (
        "nothing would be deleted"
        in saga(
            "db", "purge", "--dry-run", "--older-than", "90d", "--failed-older-than", "299d"
        ).out
    )


def test_what_ended_long_ago_is_deleted_and_told(saga: Saga, filled: str) -> None:
    ran = saga("db", "purge", *SURE)
    assert ran.code == 0
    assert ran.out.startswith("2 completed sagas, 1 failed saga deleted; ")
    assert listed(saga) == {"completed-1", "completed-10", "failed-40", "halted"}
    assert saga("show", "completed-40").code == 3
    assert saga("db", "purge", *SURE).out.startswith("nothing deleted")


def test_the_ages_may_be_given(saga: Saga, filled: str) -> None:
    saga("db", "purge", "--older-than", "5d", "--failed-older-than", "30d", *SURE)
    assert listed(saga) == {"completed-1", "halted"}


def test_a_setting_may_say_for_ever(
    saga: Saga, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGA_RETENTION_COMPLETED", "never")
    monkeypatch.setenv("SAGA_RETENTION_FAILED", "0")
    ran = saga("db", "purge", "--dry-run")
    assert "nothing would be deleted; completed sagas are kept for ever" in only_line(ran.out)
    saga("db", "purge", "--older-than", "45d", *SURE)
    assert listed(saga) >= {"completed-40", "failed-200"}
    assert "completed-50" not in listed(saga)


def test_a_limit_is_kept_and_said(saga: Saga, filled: str) -> None:
    ran = saga("db", "purge", "--limit", "1", *SURE, "-o", "json")
    assert (ran.value["completed"], ran.value["failed"], ran.value["is_all"]) == (1, 0, False)
    assert "completed-40" in listed(saga)
    assert "completed-50" not in listed(saga)
    assert "--limit is reached" in saga("db", "purge", "--limit", "1", *SURE).out


def test_it_is_kept_who_did_it_and_why(saga: Saga, filled: str) -> None:
    saga("db", "purge", *SURE)

    async def look(store: DatabaseStore) -> list[tuple[str, str, str, int]]:
        query = select(purges.c.kind, purges.c.by, purges.c.reason, purges.c.deleted)
        async with store.reading() as connection:
            rows = await connection.execute(query.order_by(purges.c.id))
            return [tuple(row) for row in rows]

    assert put(filled, look) == [
        ("completed", "anna", "ticket 4711", 2),
        ("failed", "anna", "ticket 4711", 1),
    ]


def test_json_says_the_same(saga: Saga, filled: str) -> None:
    value = saga("db", "purge", *SURE, "-o", "json").value
    assert value["lines"] > 10
    assert {name: value[name] for name in ("completed", "failed", "dead_letters", "kept")} == {
        "completed": 2,
        "failed": 1,
        "dead_letters": 0,
        "kept": 1,
    }
    assert value["completed_older_than"] == 30 * 86400


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 4), ("", 4)])
def test_on_a_terminal_it_asks(
    saga: Saga, filled: str, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    monkeypatch.setattr("sys.stdin", _Terminal(answer))
    ran = saga("db", "purge", "--reason", "x")
    assert ran.code == code
    assert "Delete 2 completed sagas, 1 failed saga for good? [y/N]" in ran.err
    assert ("completed-40" in listed(saga)) == bool(code)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ((), "--reason"),
        (("--reason", "x"), "--yes"),
        (("--older-than", "5m", "--dry-run"), "less than an hour"),
        (("--older-than", "never", "--dry-run"), "leave the option out"),
        (("--older-than", "soon", "--dry-run"), "'soon' is no duration"),
        (("--limit", "0", "--dry-run"), "whole number of at least 1"),
    ],
    ids=" ".join,
)
def test_what_is_wrong_is_said_and_nothing_is_deleted(
    saga: Saga, database: str, line: tuple[str, ...], told: str
) -> None:
    ran = saga("db", "purge", *line)
    assert (ran.code, ran.out) == (2, "")
    assert told in only_line(ran.err)
