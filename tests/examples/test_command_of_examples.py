"""`python -m tests.examples`: what it says when it cannot play."""

import pytest

from tests.examples.__main__ import main
from tests.examples.catalogue import EXAMPLES


@pytest.mark.parametrize("arguments", [[], ["bank"], ["bank-transfer", "approval"]], ids=repr)
def test_a_name_that_is_none_is_refused_with_the_names_there_are(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert f"name one of {', '.join(EXAMPLES)}" in capsys.readouterr().err


def test_without_servers_it_says_what_finds_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SAGA_TEST_AMQP_URL", raising=False)
    assert main(["approval"]) == 2
    assert "`make example NAME=approval` finds or starts the servers" in capsys.readouterr().err
