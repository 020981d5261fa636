"""The register of scenarios: each has a number, a name, a fault and what it needs."""

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.product.installation import Installation
from tests.product.orders import Asked, mixed_orders

SCENARIOS = Path(__file__).with_name("scenarios")
Play = Callable[[Any], object]
Orders = Callable[[int, Random], Iterator[Asked]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What stands when a scenario begins. Without wishes: two orchestrators, and one of the rest.

    `rabbit` and `postgres` make servers of the scenario's own (context managers with `url`);
    None are those of the run, which the scenario has to leave whole. `build` makes the daemons
    in place of the usual ones. `letters` are reasons of dead letters that may stay open.
    """

    orchestrators: int = 2
    participants: int = 1
    definitions: str = "trial_orders"
    orders: Orders = mixed_orders
    settings: Mapping[str, str] = field(default_factory=dict)
    rabbit: Callable[[], Any] | None = None
    shares_rabbit: bool = False  # scenarios in a row with the same `rabbit` use one server
    postgres: Callable[[], Any] | None = None
    build: Callable[[Installation], None] | None = None
    letters: frozenset[str] = frozenset()
    may_lose_events: bool = False  # a queue with outcomes in it is destroyed
    may_lose_history: bool = False  # the database forgets what it had committed
    shop_apart: bool = False  # the participants' database is on the run's own server
    still_seconds: float = 90.0  # no saga moves for so long: they are stuck


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    number: int
    name: str
    fault: str
    play: Play
    needs: Needs
    is_short: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A scenario that is not played, and why."""

    number: int
    name: str
    why: str


_played: dict[str, Scenario] = {}
_left_out: dict[str, LeftOut] = {}


def scenario(
    number: int, name: str, fault: str, *, needs: Needs | None = None, short: bool = False
) -> Callable[[Play], Play]:
    """Enter a function that plays faults with a world. `short`: it is in the CI's selection."""

    def enter(play: Play) -> Play:
        assert name not in _played, f"there are two scenarios {name!r}"
        _played[name] = Scenario(
            number=number,
            name=name,
            fault=fault,
            play=play,
            needs=needs or Needs(),
            is_short=short,
        )
        return play

    return enter


def left_out(number: int, name: str, why: str) -> None:
    _left_out[name] = LeftOut(number=number, name=name, why=why)


def all_scenarios() -> list[Scenario]:
    """By number."""
    _import_all()
    return sorted(_played.values(), key=lambda each: (each.number, each.name))


def all_left_out() -> list[LeftOut]:
    _import_all()
    return sorted(_left_out.values(), key=lambda each: each.number)


def chosen(names: str) -> list[Scenario]:
    """`names` are names or numbers, separated by commas."""
    words = [word.strip() for word in names.split(",") if word.strip()]
    found = [each for each in all_scenarios() if {each.name, str(each.number)} & set(words)]
    known = {each.name for each in found} | {str(each.number) for each in found}
    unknown = [word for word in words if word not in known]
    if unknown:
        raise SystemExit(f"there is no scenario {', '.join(unknown)}; see --list")
    return found


def _import_all() -> None:
    for module in sorted(SCENARIOS.glob("[a-z]*.py")):
        importlib.import_module(f"tests.chaos.scenarios.{module.stem}")
