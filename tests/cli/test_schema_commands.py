"""`saga db`: the schema is brought up to date, and told."""

from pathlib import Path

import pytest
from command_lines import Saga, only_line

from orchestrator.store.revisions import newest


@pytest.fixture(params=["sqlite", "postgres"])
def empty(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings name a database without a schema."""
    if request.param == "sqlite":
        (tmp_path / "sagas.db").touch()
        url = f"sqlite:///{tmp_path}/sagas.db"
    else:
        url = request.getfixturevalue("empty_database_url")
    monkeypatch.setenv("SAGA_DATABASE_URL", url)


@pytest.mark.usefixtures("empty")
def test_an_empty_database_is_behind_until_it_is_upgraded(saga: Saga) -> None:
    ran = saga("db", "current")
    assert (ran.code, ran.out) == (78, "none\n")
    assert "`saga db upgrade`" in only_line(ran.err)
    ran = saga("db", "upgrade")
    assert (ran.code, ran.out) == (
        0,
        f"the schema is at revision {newest()} now; it was at none\n",
    )
    assert (saga("db", "current").code, saga("db", "current").out) == (0, f"{newest()}\n")
    assert "nothing to do" in saga("db", "upgrade").out
    assert saga("list").out == "no sagas\n"


@pytest.mark.usefixtures("empty")
def test_a_command_on_an_empty_database_says_what_to_run(saga: Saga) -> None:
    for line in (("list",), ("start", "T", "--data", "{}"), ("dlq", "list")):
        ran = saga(*line)
        assert (ran.code, ran.out) == (78, "")
        assert "run `saga db upgrade`" in only_line(ran.err)


@pytest.mark.usefixtures("empty")
def test_both_tell_it_in_json(saga: Saga) -> None:
    ran = saga("db", "current", "-o", "json")
    assert (ran.code, ran.value) == (
        78,
        {"revision": None, "needed": newest(), "is_behind": True},
    )
    assert saga("db", "upgrade", "-o", "json").value == {"before": None, "revision": newest()}


def test_an_upgrade_makes_a_sqlite_file(saga: Saga, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_DATABASE_URL", "sqlite:///new.db")
    assert saga("db", "upgrade").code == 0
    assert Path("new.db").exists()


def test_a_database_in_memory_is_of_no_use(saga: Saga, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_DATABASE_URL", "sqlite:///:memory:")
    ran = saga("db", "upgrade")
    assert ran.code == 78
    assert "sqlite:///FILE" in only_line(ran.err)
