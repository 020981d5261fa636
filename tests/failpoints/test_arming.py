"""What can be armed, what cannot, and that nothing is by accident."""

import asyncio
import logging
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chassis import failpoints
from chassis.exit_codes import ExitCode
from chassis.failpoints import Action, Failpoint, FailpointReached, arm, disarm, reach
from messaging.errors import ConfigurationError
from tests.failpoints.successions import armed, in_turn

ROOT = Path(__file__).resolve().parents[2]
SAGA = "import sys; from orchestrator.cli.main import main; sys.exit(main(sys.argv[1:]))"
DAEMONS = (
    ("orchestrator", "run", "orchestrator.examples.order_fulfillment"),
    ("participants", "run", "participants.examples.order_fulfillment"),
    ("dlq", "run"),
)


@pytest.fixture(autouse=True)
def harmless_again() -> Iterator[None]:
    yield
    disarm()


async def test_nothing_happens_at_a_failpoint_unless_it_is_armed() -> None:
    arm({})
    for point in Failpoint:
        await reach(point)
    arm(armed("before_ack=raise"))
    await reach(Failpoint.BEFORE_COMMIT)


async def test_a_trap_springs_at_its_passage_alone() -> None:
    arm(armed("before_commit=raise@3"))
    await reach(Failpoint.BEFORE_COMMIT)
    await reach(Failpoint.AFTER_COMMIT)
    await reach(Failpoint.BEFORE_COMMIT)
    with pytest.raises(FailpointReached, match="before_commit=raise@3"):
        await reach(Failpoint.BEFORE_COMMIT)
    await reach(Failpoint.BEFORE_COMMIT)


async def test_a_trap_without_a_passage_springs_each_time() -> None:
    arm(armed("before_ack=raise"))
    for _ in range(2):
        with pytest.raises(FailpointReached):
            await reach(Failpoint.BEFORE_ACK)


async def test_a_pause_holds_whoever_comes_by_and_nobody_else() -> None:
    arm(armed("after_publish=pause:30"))
    held = asyncio.create_task(reach(Failpoint.AFTER_PUBLISH))
    await reach(Failpoint.BEFORE_ACK)
    await asyncio.sleep(0)
    assert not held.done()
    held.cancel()


async def test_a_block_holds_the_whole_event_loop() -> None:
    arm(armed("after_publish=block:0.2"))
    began = time.monotonic()
    held = asyncio.create_task(reach(Failpoint.AFTER_PUBLISH))
    await asyncio.sleep(0)
    assert time.monotonic() - began >= 0.2
    await held


def test_every_trap_that_is_armed_is_told_loudly(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, failpoints.__name__):
        arm(armed("before_commit=kill@3, before_ack=pause:5"))
    told = [record.getMessage() for record in caplog.records]
    assert [line.partition(";")[0] for line in told] == [
        "FAILPOINT ARMED: before_commit=kill@3",
        "FAILPOINT ARMED: before_ack=pause:5",
    ]


@pytest.mark.parametrize(
    "traps",
    [
        *(
            "before_comit=kill",
            "before_commit",
            "before_commit=die",
            "=kill",
            "before_commit=kill,",
        ),
        *("before_commit=kill@0", "before_commit=kill@x", "before_commit=kill:5"),
        *(
            "before_ack=pause",
            "before_ack=pause:.",
            "before_ack=pause:1e9",
            "before_ack=block:9999",
        ),
    ],
)
async def test_what_makes_no_sense_is_refused_with_what_is_known(traps: str) -> None:
    with pytest.raises(ConfigurationError, match="SAGA_FAILPOINTS") as refused:
        arm(armed(traps))
    assert "POINT=kill, raise, pause:SECONDS or block:SECONDS" in str(refused.value)
    await reach(Failpoint.BEFORE_COMMIT)


def test_a_wrong_name_is_answered_with_all_names_and_a_wrong_action_with_all_actions() -> None:
    with pytest.raises(ConfigurationError, match=", ".join(Failpoint)):
        arm(armed("comit=kill"))
    with pytest.raises(ConfigurationError, match=", ".join(Action)):
        arm(armed("before_commit=die"))


@pytest.mark.parametrize("build", [None, "", "0", "true", "yes"])
async def test_outside_of_a_test_build_nothing_can_be_armed(build: str | None) -> None:
    variables = {"SAGA_FAILPOINTS": "before_commit=raise"}
    with pytest.raises(ConfigurationError, match=r"unset it, or, .* set SAGA_TEST_BUILD=1"):
        arm(variables if build is None else {**variables, "SAGA_TEST_BUILD": build})
    await reach(Failpoint.BEFORE_COMMIT)


@pytest.mark.parametrize("arguments", DAEMONS, ids=" ".join)
def test_a_daemon_that_finds_failpoints_in_production_does_not_start(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    done = _run(tmp_path, *arguments, SAGA_FAILPOINTS="before_commit=kill")
    assert done.returncode == ExitCode.MISCONFIGURED
    assert "set SAGA_TEST_BUILD=1 as well" in done.stderr


def test_failpoints_in_a_file_arm_nothing_and_are_told_to_have_no_effect(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SAGA_FAILPOINTS=before_commit=kill\nSAGA_TEST_BUILD=1\n")
    done = _run(tmp_path, *DAEMONS[0])
    assert "SAGA_FAILPOINTS is not a setting and has no effect" in done.stderr
    assert "ARMED" not in done.stderr


def test_nothing_that_is_deployed_is_a_test_build() -> None:
    told = re.compile("SAGA_(FAILPOINTS|TEST_BUILD)")
    files = [path for path in (ROOT / "deploy").rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if told.search(path.read_text(errors="replace"))] == []


def test_every_failpoint_is_reached_by_one_of_the_daemons_that_are_killed() -> None:
    assert sorted(point for points in in_turn() for point in points) == sorted(Failpoint)


def test_contributors_can_read_of_every_failpoint_and_action() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    told = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert told == list(Failpoint)
    assert [action for action in Action if f"`{action}" not in page] == []


def test_a_kill_leaves_no_time_for_anything(tmp_path: Path) -> None:
    program = (
        "import asyncio, atexit, os\n"
        "from chassis.failpoints import Failpoint, arm, reach\n"
        "atexit.register(print, 'cleaned up')\n"
        "arm(os.environ)\n"
        "asyncio.run(reach(Failpoint.BEFORE_ACK))\n"
    )
    done = _python(tmp_path, "-c", program, **armed("before_ack=kill"))
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")


def _run(folder: Path, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """`saga ARGUMENTS`, without a database: it would end soon in any case."""
    return _python(folder, "-c", SAGA, *arguments, **settings)


def _python(folder: Path, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "SAGA_HTTP_PORT": "0", **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
