"""Peers come from outside: whether they can be had is not for us to say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.driver import Effort
from bench.peers import installing
from bench.peers.peer import PEERS, PROGRAMS, Peer
from bench.rounds import Wanted, play
from bench.sites import Servers
from bench.workloads import LINE

_NOBODY = Servers(amqp_url="", postgres_url="", rabbit_pid=None, postgres_pid=None)
_DRIVER = """
import time
from closed_loop import with_threads
with_threads(lambda: time.sleep(0.001))
"""


def test_a_peer_that_cannot_be_installed_is_told_once_and_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(installing, "FOLDER", tmp_path / "environments")
    gone = Peer(name="gone", about="", packages=["./not-there"], driver="x.py", concurrency=1)
    wanted = Wanted(
        contestants=[],
        peers=[gone],
        workloads=[LINE],
        rounds=2,
        effort=Effort(),
        folder=tmp_path,
    )
    [run] = play(wanted, _NOBODY)
    assert run.measured is None
    assert str(run.problem).startswith("NotInstallable: ")
    assert "not-there" in str(run.problem)
    assert "round 1 of 2, gone: FAILED" in capsys.readouterr().out


def test_the_programs_of_all_peers_are_there() -> None:
    assert {peer.driver for peer in PEERS.values()} <= {path.name for path in PROGRAMS.iterdir()}


def test_a_closed_loop_tells_what_lies_in_the_window() -> None:
    orders = [
        {"do": "load", "concurrency": 2, "warm_up": 0.05, "seconds": 0.2},
        {"do": "lone", "count": 3},
        {"do": "end"},
    ]
    done = subprocess.run(
        [sys.executable, "-c", _DRIVER],
        cwd=PROGRAMS,
        input="".join(json.dumps(order) + "\n" for order in orders),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    ready, begin, end, load, lone = map(json.loads, done.stdout.splitlines())
    assert (ready, begin, end) == ({"ready": True}, {"edge": "begin"}, {"edge": "end"})
    assert 0 < len(load["latencies"]) < load["started"]
    assert min(load["latencies"]) >= 0.001
    assert len(lone["lone"]) == 3
