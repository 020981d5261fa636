"""What cannot be: one line on stderr that names it and the remedy, and the exit code for it."""

from pathlib import Path

import pytest
from command_lines import Saga, only_line

from messaging.errors import NotFound, Refused
from orchestrator.cli.failures import told

USAGE, CONFIGURATION, UNAVAILABLE = 2, 78, 69

WRONG_LINES = {
    "a command that is none": (("shwo", "x"), "Did you mean 'show'"),
    "an option that is none": (("list", "--colour"), "--colour"),
    "an id with a space": (("show", "a b"), "'a b' is no saga id"),
    "an id that is too long": (("wait", "x" * 201), "1 to 200"),
    "an id of one's own that is none": (("start", "T", "--data", "{}", "--id", "ä"), "'ä'"),
    "an output that is none": (("list", "-o", "xml"), "'xml' is not one of 'table', 'json'"),
    "a state that is none": (("list", "--state", "done"), "started, pending, compensating"),
    "a limit of nothing": (("list", "--limit", "0"), "'0' is no whole number from 1 to 1000"),
    "a limit beyond the limit": (("list", "--limit", "1001"), "'1001'"),
    "a limit in words": (("list", "--limit", "ten"), "'ten'"),
    "a number of a letter that is none": (("dlq", "show", "x"), "'x' is no whole number"),
    "letter zero": (("dlq", "retry", "1", "0"), "'0'"),
    "a status that is none": (("dlq", "list", "--status", "new"), "'new' is not one of 'open'"),
    "a duration that is none": (("wait", "x", "--timeout", "soon"), "'soon' is no duration"),
    "a timeout without waiting": (("start", "T", "--data", "{}", "--timeout", "3"), "--wait"),
    "no type": (("start",), "missing"),
    "no data": (("start", "T"), "missing option '--data'"),
    "no reason to cancel": (("cancel", "x"), "missing option '--reason'"),
    "an empty reason": (("cancel", "x", "--reason", "  "), "say why"),
    "no reason to resolve": (("dlq", "resolve", "1"), "missing option '--reason'"),
    "no reason to discard": (("dlq", "discard", "1"), "missing option '--reason'"),
    "a run of nothing": (("orchestrator", "run"), "missing argument"),
    "data that are no JSON": (("start", "T", "--data", "{bad"), "'{bad': it is no JSON"),
    "data that are no object": (("start", "T", "--data", "[1]"), "send a JSON object"),
    "data with a key twice": (("start", "T", "--data", '{"a":1,"a":2}'), "stands twice"),
    "data with NaN": (("start", "T", "--data", '{"a":NaN}'), "NaN is no JSON"),
    "data from nowhere": (("start", "T", "--data", "@none.json"), "@none.json cannot be read"),
    "data from a folder": (("start", "T", "--data", "@."), "@. cannot be read"),
    "a result that is no JSON": (
        ("dlq", "resolve", "1", "--reason", "x", "--result", "{"),
        "'--result': '{': it is no JSON",
    ),
}


@pytest.mark.parametrize(("line", "words"), WRONG_LINES.values(), ids=WRONG_LINES.keys())
def test_a_wrong_command_line_is_a_usage_error(
    line: tuple[str, ...], words: str, saga: Saga
) -> None:
    ran = saga(*line)
    assert (ran.code, ran.out) == (USAGE, "")
    assert words in only_line(ran.err)
    assert ran.err.startswith("saga: ")
    assert "--help" in ran.err


WRONG_MODULES = {
    "that is not there": ("", "shop.orders", "there is no such module"),
    "without a name": ("", ":Order", "cannot import ''"),
    "named relatively": ("", "..orders", "name a module from its top"),
    "without definitions": ("X = 1", "orders", "defines no SagaOrchestrator subclass"),
    "without that definition": ("X = 1", "orders:X", "'X' is no SagaOrchestrator subclass"),
    "that is no Python": ("def (", "orders", "SyntaxError: invalid syntax (orders.py, line 1)"),
    "that needs another": ("import not_there", "orders", "No module named 'not_there'"),
    "that raises": ("a = 1\n{}['b']\n", "orders", "KeyError: 'b' ("),
    "that exits": ("raise SystemExit(5)", "orders", "SystemExit: 5"),
}


@pytest.mark.parametrize(
    ("source", "target", "words"), WRONG_MODULES.values(), ids=WRONG_MODULES.keys()
)
def test_a_module_that_cannot_be_used_is_told_in_one_line(
    source: str, target: str, words: str, saga: Saga, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("orders.py").write_text(source)
    monkeypatch.syspath_prepend(str(Path.cwd()))  # and forgotten afterwards
    monkeypatch.delitem(__import__("sys").modules, "orders", raising=False)
    ran = saga("topology", "show", target)
    assert (ran.code, ran.out) == (CONFIGURATION, "")
    assert words in only_line(ran.err)


@pytest.mark.parametrize("line", [("list",), ("show", "x"), ("dlq", "list"), ("db", "current")])
def test_a_database_that_is_not_set_is_a_wrong_configuration(
    line: tuple[str, ...], saga: Saga
) -> None:
    ran = saga(*line)
    assert ran.code == CONFIGURATION
    assert "SAGA_DATABASE_URL is not set" in only_line(ran.err)


def test_looking_into_a_file_that_is_not_there_does_not_make_it(
    saga: Saga, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGA_DATABASE_URL", "sqlite:///none.db")
    for line in (("list",), ("db", "current"), ("start", "T", "--data", "{}")):
        ran = saga(*line)
        assert ran.code == CONFIGURATION
        assert "`saga db upgrade`" in only_line(ran.err)
    assert not Path("none.db").exists()


def test_a_database_out_of_reach_is_69_and_shows_no_password(
    saga: Saga, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGA_DATABASE_URL", "postgresql://someone:hunter2@127.0.0.1:1/nothing")
    ran = saga("list")
    assert ran.code == UNAVAILABLE
    assert "the database is out of reach" in only_line(ran.err)
    assert "hunter2" not in ran.err


def test_a_broker_out_of_reach_is_69_and_shows_no_password(
    saga: Saga, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGA_AMQP_URL", "amqp://someone:hunter2@127.0.0.1:1/")
    ran = saga("topology", "verify")
    assert ran.code == UNAVAILABLE
    assert "is out of reach" in only_line(ran.err)
    assert "hunter2" not in ran.err


def test_a_setting_that_cannot_be_used_is_named_with_its_value(
    saga: Saga, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGA_DATABASE_URL", "mysql://x")
    ran = saga("list")
    assert ran.code == CONFIGURATION
    assert "SAGA_DATABASE_URL=mysql://x: must begin with" in only_line(ran.err)


def test_the_embedded_broker_cannot_be_seen_from_outside(
    saga: Saga, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGA_AMQP_URL", "memory://")
    ran = saga("topology", "declare")
    assert ran.code == CONFIGURATION
    assert "amqp://" in only_line(ran.err)


def test_data_that_break_the_contract_are_a_usage_error(saga: Saga, database: str) -> None:
    for data, words in (
        ('{"saga_id": "x"}', "saga_id"),
        ('{"a": "\\u0000"}', "NUL"),
        (f'{{"a": "{"x" * 1_100_000}"}}', "1048576"),
    ):
        Path("order.json").write_text(data)
        ran = saga("start", "Order", "--data", "@order.json")
        assert (ran.code, ran.out) == (USAGE, "")
        assert words in only_line(ran.err)


def test_an_error_that_nobody_expected_is_one_line_and_with_debug_its_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(ZeroDivisionError("division by zero")) == 1
    assert "unexpected ZeroDivisionError: division by zero" in only_line(capsys.readouterr().err)
    monkeypatch.setenv("SAGA_LOG_LEVEL", "debug")
    told(ZeroDivisionError("division by zero"))
    assert "\nZeroDivisionError: division by zero\n" in capsys.readouterr().err


def test_of_several_errors_at_once_the_first_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    several = ExceptionGroup("several", [Refused("no"), NotFound("nothing")])
    assert told(several) == 4
    assert capsys.readouterr().err == "saga: no\n"
