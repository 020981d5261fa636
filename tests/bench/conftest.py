"""Runs that nobody had to wait for."""

from typing import Any

import pytest

from bench.measuring import Measured
from bench.report import told_of
from bench.results import Run
from bench.workloads import LINE, WORKLOADS, grown

RATES = {"null-codec": (2000.0, 3000.0, 2500.0), "countermand": (1000.0, 2400.0, 1500.0)}


def measured(rate: float) -> Measured:
    return Measured(
        rate=rate,
        p50=100.0,
        p99=250.0,
        lone_p50=12.0,
        lone_p99=30.0,
        sagas=int(rate * 10),
        cpu={"orchestrator": 0.25, "broker": 0.5},
        cores={"orchestrator": 0.5, "broker": 1.0},
        peak={"orchestrator": 50.0, "broker": 600.0},
    )


@pytest.fixture
def runs() -> list[Run]:
    """Three rounds of two contestants; in a fourth, one of them broke."""
    done = [
        Run(contestant=name, workload="line", round=number, measured=measured(rate))
        for name, rates in RATES.items()
        for number, rate in enumerate(rates, start=1)
    ]
    broken = Run(contestant="countermand", workload="line", round=4, problem="BrokenRun: 1 | lost")
    few = Run(contestant="countermand", workload="at-a-time-10", round=1, measured=measured(400))
    past = Run(contestant="countermand", workload="finished-5", round=1, measured=measured(900))
    return [*done, broken, few, past]


@pytest.fixture
def told(runs: list[Run]) -> dict[str, Any]:
    surroundings = {
        "machine": "2 x Some Processor, 4 GiB, Linux 6",
        "niceness": 0,
        "load before": 0.1,
        "versions": {"Python": "3.11", "RabbitMQ": "4.1"},
        "postgres": {"fsync": "on"},
        "command": "python -m bench",
    }
    workloads = [LINE, WORKLOADS["at-a-time-10"], grown(5)]
    who = {name: f"about {name}" for name in RATES}
    return told_of(surroundings, workloads, runs, who)
