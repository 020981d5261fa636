"""Wrong command lines are refused before any server is looked for."""

import pytest

from bench.command import main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "nobody"], "no 'nobody'; there are null-codec, null-aio-pika"),
        (["--workloads", "line,lime"], "no 'lime'; there are line, back"),
        (["--sagas", "50"], "--sagas 50 is too few with 500 in flight"),
        (["--rounds", "many"], "'many' is no whole number"),
        (["--finished", "5M"], "'5M' is no whole number"),
        (["--finished", "0,-1"], "'-1' is no whole number"),
        (["--workloads", "none"], "nothing to measure"),
        (["--purged", "0"], "0 is too few, at least 1"),
        (["--rounds", "0"], "at least 1"),
        (["--seconds", "0"], "more than 0"),
        (["--report", "no/such/page.md"], "no such page"),
    ],
)
def test_a_wrong_command_line_names_what_is_wrong(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ending:
        main(arguments)
    assert ending.value.code == 2
    assert said in capsys.readouterr().err


def test_the_help_names_everybody(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for word in (
        "countermand-sdk",
        "restate",
        "payload-128k",
        "--finished",
        "--purged",
        "--report",
    ):
        assert word in shown
