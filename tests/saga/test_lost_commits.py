"""Sagas whose database loses commits end whole, or somebody is told."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from lost_commits import PLANS, World, play, problems_of

from orchestrator.saga import decide as core

SEEDS = 250


def broken(plan: str, **world: Any) -> list[str]:
    """The seeds whose saga ends wrong, and how."""
    found = []
    for seed in range(SEEDS):
        draw = Random(f"{plan}|{seed}")
        played = play(World(PLANS[plan], draw, **world), losses=1 + seed % 3)
        problems = problems_of(played)
        if problems:
            found.append("\n".join([f"seed {seed}: {problems}", *played.story]))
    return found


@pytest.mark.parametrize("plan", PLANS)
def test_sagas_whose_commits_are_lost_end_whole(plan: str) -> None:
    assert broken(plan)[:1] == []


def _believes_everything(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(core, "is_of_lost_past", lambda *_: False)
    return {}


def _goes_on_from_the_row(_: pytest.MonkeyPatch) -> dict[str, Any]:
    return {"doubts": False}


@pytest.mark.parametrize("mistake", [_believes_everything, _goes_on_from_the_row])
def test_without_one_of_the_rules_some_do_not(
    mistake: Callable[[pytest.MonkeyPatch], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert broken("in a row", **mistake(monkeypatch))
