"""Running command lines in this process, against a database of the test's own."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_lines import Ran, Saga, put

from orchestrator.cli.main import main
from orchestrator.store.database import DatabaseStore


@pytest.fixture(autouse=True)
def _bare_surroundings(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No settings but the test's own, and no `.env`."""
    for name in [name for name in os.environ if name.startswith("SAGA_")]:
        if not name.startswith("SAGA_TEST_"):
            monkeypatch.delenv(name)
    for name in ("FORCE_COLOR", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))


@pytest.fixture
def _log_as_it_was() -> Iterator[None]:
    """A command sets up its process's log."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    loggers = list(logging.root.manager.loggerDict.values())
    levels = {each: each.level for each in loggers if isinstance(each, logging.Logger)}
    yield
    root.handlers[:], root.level = handlers, level
    for logger, before in levels.items():
        logger.setLevel(before)


@pytest.fixture
def saga(capsys: pytest.CaptureFixture[str], _log_as_it_was: None) -> Saga:
    """Run `saga ARGUMENTS...`."""

    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        code = main(arguments)
        said = capsys.readouterr()
        return Ran(code=code, out=said.out, err=said.err)

    return run


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A SQLite database with the schema, named by the settings."""
    url = f"sqlite:///{tmp_path}/sagas.db"
    monkeypatch.setenv("SAGA_DATABASE_URL", url)
    put(url, DatabaseStore.upgrade)
    return url
