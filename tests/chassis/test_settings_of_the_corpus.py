"""Bad settings as data: each is refused by lines that name it, and show no password."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from chassis.settings import DlqSettings, OrchestratorSettings, Settings, load
from messaging.errors import ConfigurationError
from messaging.rabbit_url import parse_address
from orchestrator.store.stores import store_for
from participants.sql_engine import engine_for
from tests.corpus import ACCEPTED
from tests.corpus.files import bytes_of, text_of
from tests.corpus.files import load as load_corpus

CORPUS = load_corpus("settings")
PROGRAMS: dict[str, type[Settings]] = {"orchestrator": OrchestratorSettings, "dlq": DlqSettings}
SECRET = "SAGA_AMQP_URL_FILE"


def put(spec: dict[str, Any], environment: pytest.MonkeyPatch, folder: Path) -> None:
    """The entry's variables and files."""
    for name, value in spec["variables"].items():
        environment.setenv(name, text_of(value))
    if "file" in spec:
        (folder / "secret").write_bytes(bytes_of(spec["file"]))
        environment.setenv(SECRET, str(folder / "secret"))
    if spec.get("fifo"):
        os.mkfifo(folder / "secret")
        environment.setenv(SECRET, str(folder / "secret"))
    if "dotenv" in spec:
        (folder / ".env").write_bytes(bytes_of(spec["dotenv"]))


def use(settings: Settings) -> None:
    """What a program does with its URLs before it connects."""
    parse_address(settings.amqp_url.get_secret_value())
    if settings.database_url is not None:
        store_for(settings.database_url.get_secret_value())


def problem_with(spec: dict[str, Any]) -> str:
    try:
        settings = load(PROGRAMS[spec["program"]])
        use(settings)
    except ConfigurationError as error:
        return str(error)
    assert spec.get("caution", "") in "".join(settings.cautions())
    return ACCEPTED


@pytest.mark.parametrize("spec", CORPUS, ids=lambda spec: spec["name"])
def test_a_bad_setting_is_refused_by_short_lines_that_show_no_password(
    spec: dict[str, Any], environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    put(spec, environment, tmp_path)
    problem = problem_with(spec)
    assert re.search(spec["expected"], problem), problem
    assert "hunter2" not in problem
    assert [line for line in problem.split("\n") if len(line) > 500 or not line.isprintable()] == []


def test_a_participants_database_is_refused_in_the_same_way() -> None:
    for url in ("postgresql://u:hunter2@h:port/d", "mysql://u:hunter2@h/d", "postgresql://[::1/"):
        with pytest.raises(ConfigurationError) as failure:
            engine_for(url, 1)
        assert "hunter2" not in str(failure.value)
