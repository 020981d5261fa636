"""Bad command lines as data: each is answered by one line and the exit code for it."""

from typing import Any

import pytest
from command_lines import Saga

from tests.corpus.files import load, text_of

CORPUS = load("command_lines")


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("spec", CORPUS, ids=lambda spec: spec["name"])
def test_a_bad_command_line_is_answered_by_one_line(spec: dict[str, Any], saga: Saga) -> None:
    ran = saga(*map(text_of, spec["line"]))
    assert ran.code == spec["code"], ran.err
    [line] = (ran.err or ran.out).splitlines()
    assert spec["expected"] in line
    assert line.isprintable()
    assert len(line) < 6000
    assert saga("list").out.splitlines() == ["no sagas"]
