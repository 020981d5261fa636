"""`saga drill` and `pytest --saga-drill`: what they print, and how they end."""

import json
from pathlib import Path

import pytest

from orchestrator.cli.main import main

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
SETTINGS = """
[pytest]
asyncio_mode = strict
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""
MISTAKEN = ("drill", "mistaken_services:no_idempotency", "--step", "pay")


@pytest.fixture(autouse=True)
def _modules_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))


def test_a_mistake_ends_with_3_and_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*MISTAKEN, "--fault", "command-twice", "--fault", "cancelled"]) == 3
    printed = capsys.readouterr().out
    assert "FAULT          PAY\ncancelled      ok\ncommand-twice  BROKE" in printed
    assert "1. no idempotency: pay" in printed
    assert printed.endswith("2 runs: 1 passed, 1 broke\n")


def test_what_keeps_the_rules_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*MISTAKEN, "--fault", "reply-twice", "-o", "json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["passed"], printed["broke"], printed["not_reached"]) == (1, 0, 0)
    assert printed["cells"][0]["verdict"] == "passed"


def test_a_list_tries_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*MISTAKEN, "--fault", "command-twice", "--list"]) == 0
    assert capsys.readouterr().out == "Shop/an order/pay/command-twice\n"
    assert main([*MISTAKEN, "--fault", "command-twice", "--list", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "cells": [
            {"saga_type": "Shop", "example": "an order", "step": "pay", "fault": "command-twice"}
        ]
    }


def test_without_the_guard_it_shows_what_the_guard_holds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    guarded = ["drill", "mistaken_services:compensation_needs_result", "--step", "pay"]
    assert main([*guarded, "--fault", "command-late"]) == 0
    data = ["--data", '{"price": 3}']
    careless = ["drill", "participants.examples.order_fulfillment"]
    careless += ["orchestrator.examples.order_fulfillment", "--step", "process_payment"]
    data = ["--data", '{"order_id": "1", "items": [{"sku": "A", "quantity": 1}]}']
    assert main([*careless, *data, "--fault", "command-twice"]) == 0
    assert main([*careless, *data, "--fault", "command-twice", "--no-guard"]) == 3
    assert "no idempotency: process_payment" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["nosuch"], 78, "cannot import 'nosuch'"),
        (["mistaken_services:nothing"], 78, "there is no 'nothing'"),
        (["mistaken_services:no_idempotency", "--step", "x"], 3, "there is no step 'x'"),
        (["mistaken_services:no_idempotency", "--data", "{"], 2, "--data"),
        ([], 2, "MODULE[:ATTR]"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    arguments: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["drill", *arguments]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert told in printed.err
    assert len(printed.err.splitlines()) == 1


def test_pytest_collects_an_item_for_each_cell(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{HERE}:{ROOT}")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini(f"{SETTINGS}saga_drill = mistaken_services:no_idempotency\n")
    pytester.makepyfile("def test_own():\n    pass\n")
    plugins = ("-p", "pytest_asyncio.plugin", "-p", "orchestrator.testing.plugin")
    chosen = ("-k", "own or (pay and (command-twice or reply-lost))")
    result = pytester.runpytest_subprocess(*plugins, *chosen)
    result.assert_outcomes(passed=4, failed=1, deselected=119)
    result.stdout.fnmatch_lines(
        [
            "collected 124 items / 119 deselected / 5 selected",
            "*saga drill Shop/an order/pay/command-twice*",
            "no idempotency: the command comes twice",
            "*the rule: an effect happens at most once; but pay stands 2 times",
        ]
    )
    wrong = pytester.runpytest_subprocess(*plugins, "--saga-drill", "nosuch")
    wrong.stderr.fnmatch_lines(["ERROR: --saga-drill: cannot import 'nosuch'*"])
