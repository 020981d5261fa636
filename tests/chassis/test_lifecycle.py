"""Programs that end: real processes, real signals, real exit codes."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

PROGRAM = """
import asyncio, sys, time
BLOCKED
from chassis import logs, systemd
from chassis.lifecycle import run, supervise
from messaging.errors import ConfigurationError, DefinitionError, Unavailable
logs.configure(log_format="json", log_level="info")

def say(word):
    print(word, flush=True)

MAIN

sys.exit(run(main, name="trial", drain_timeout=DRAIN))
"""
LOOPS = {"uvloop": "", "asyncio": "sys.modules['uvloop'] = None"}


class Program:
    """A running child process, its words on stdout and its log on stderr."""

    def __init__(self, code: str, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    def wait_for(self, word: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == word

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, list[dict[str, str]]]:
        """Exit code and log records; at most 15 seconds from now."""
        _, errors = self.process.communicate(timeout=15)
        return self.process.returncode, [json.loads(line) for line in errors.splitlines()]


Start = Callable[..., Program]


@pytest.fixture
def loop_name() -> str:
    return "uvloop"


@pytest.fixture
def start(loop_name: str) -> Iterator[Start]:
    """Start a program with the given `main`."""
    programs: list[Program] = []

    def start_program(main: str, *, drain: float = 10, **environment: str) -> Program:
        code = PROGRAM.replace("BLOCKED", LOOPS[loop_name]).replace("DRAIN", str(drain))
        programs.append(Program(code.replace("MAIN", dedent(main)), environment))
        return programs[-1]

    yield start_program
    for program in programs:
        program.process.kill()
        program.process.communicate()


WAITS = """
    async def main(stopping):
        say("up")
        await stopping.wait()
        say("draining")
        await asyncio.sleep(0.05)
        say("drained")
"""
NEVER_DRAINS = """
    async def main(stopping):
        say("up")
        try:
            await asyncio.sleep(60)
        finally:
            say("cancelled")
"""
BLOCKS = """
    async def main(stopping):
        say("up")
        time.sleep(60)
"""
SWALLOWS = """
    async def main(stopping):
        say("up")
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass
"""


@pytest.mark.parametrize("loop_name", LOOPS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_drains_and_the_program_exits_0(
    start: Start, number: signal.Signals
) -> None:
    program = start(WAITS)
    program.wait_for("up")
    program.send(number)
    program.wait_for("draining")
    program.wait_for("drained")
    code, log = program.end()
    assert code == 0
    assert [record["event"] for record in log] == ["trial is stopping, at most 10 s"]


@pytest.mark.parametrize("loop_name", LOOPS)
def test_a_second_signal_stops_at_once(start: Start) -> None:
    program = start(NEVER_DRAINS)
    program.wait_for("up")
    program.send(signal.SIGTERM)
    began = time.monotonic()
    program.send(signal.SIGINT)  # another one: two pending signals of one kind would be one
    code, log = program.end()
    assert time.monotonic() - began < 2
    assert code == 1
    assert re.fullmatch(r"trial got a second \w+: stopped at once", log[-1]["event"])


@pytest.mark.parametrize("loop_name", LOOPS)
def test_a_program_that_does_not_drain_in_time_is_cancelled(start: Start) -> None:
    program = start(NEVER_DRAINS, drain=0.2)
    program.wait_for("up")
    began = time.monotonic()
    program.send(signal.SIGTERM)
    program.wait_for("cancelled")
    assert time.monotonic() - began < 1.5
    code, log = program.end()
    assert code == 1
    assert log[-1]["event"] == "trial has not drained in 0.2 s: cancelled"


@pytest.mark.parametrize("loop_name", LOOPS)
def test_a_second_signal_ends_a_program_whose_event_loop_is_blocked(start: Start) -> None:
    program = start(BLOCKS)
    program.wait_for("up")
    program.send(signal.SIGINT)
    program.send(signal.SIGTERM)
    code, _ = program.end()
    assert code == 1


@pytest.mark.parametrize("loop_name", LOOPS)
@pytest.mark.parametrize("main", [BLOCKS, SWALLOWS], ids=["blocks", "swallows cancellation"])
def test_a_program_that_can_be_neither_drained_nor_cancelled_ends_all_the_same(
    start: Start, main: str
) -> None:
    program = start(main, drain=0.2)
    program.wait_for("up")
    program.send(signal.SIGTERM)
    code, log = program.end()
    assert code == 1
    assert log[-1]["event"] == "trial has not ended in 3.2 s: stopped at once"


@pytest.mark.parametrize(
    ("error", "code", "event"),
    [
        ("ConfigurationError('SAGA_X is odd')", 78, "ConfigurationError: SAGA_X is odd"),
        ("DefinitionError('no steps')", 78, "DefinitionError: no steps"),
        ("Unavailable('no broker')", 69, "Unavailable: no broker"),
        ("ZeroDivisionError('oh')", 1, "unexpected ZeroDivisionError"),
        (
            "ExceptionGroup('g', [ExceptionGroup('h', [Unavailable('no broker')])])",
            69,
            "Unavailable: no broker",
        ),
    ],
)
def test_an_error_becomes_an_exit_code_and_one_line(
    start: Start, error: str, code: int, event: str
) -> None:
    program = start(f"async def main(stopping):\n    raise {error}")
    exit_code, (record,) = program.end()
    assert (exit_code, record["event"]) == (code, event)
    assert ("exception" in record) == (code == 1)


def test_each_configuration_problem_has_a_line_of_its_own(start: Start) -> None:
    program = start("async def main(stopping):\n    raise ConfigurationError('one\\ntwo')")
    code, log = program.end()
    assert code == 78
    assert [record["event"] for record in log] == [
        "ConfigurationError: one",
        "ConfigurationError: two",
    ]


def test_a_task_that_a_library_leaves_behind_ends_without_a_word(start: Start) -> None:
    program = start("""
        async def closes():
            lock = asyncio.Lock()
            async with lock:
                await asyncio.sleep(60)

        async def serves():
            try:
                await asyncio.sleep(60)
            finally:
                serves.last = asyncio.create_task(closes())
                await asyncio.sleep(0)

        async def main(stopping):
            serves.first = asyncio.create_task(serves())
            await asyncio.sleep(0)
            raise ConfigurationError("one")
    """)
    code, log = program.end()
    assert (code, [record["event"] for record in log]) == (78, ["ConfigurationError: one"])


def test_a_failing_service_ends_the_program_with_its_error(start: Start) -> None:
    program = start("""
        async def fails():
            raise Unavailable("no database")

        async def serves(stopping):
            try:
                await stopping.wait()
            finally:
                say("told")

        async def main(stopping):
            await supervise(stopping, intake=serves(stopping), timers=fails())
    """)
    program.wait_for("told")
    code, (record,) = program.end()
    assert (code, record["event"]) == (69, "Unavailable: no database")


def test_a_service_that_quietly_ends_is_a_failure(start: Start) -> None:
    program = start("""
        async def ends():
            return None

        async def main(stopping):
            await supervise(stopping, intake=stopping.wait(), timers=ends())
    """)
    code, (record,) = program.end()
    assert code == 1
    assert record["event"] == "SagaError: timers ended although nobody had asked it to"


def test_services_that_drain_end_the_program_well(start: Start) -> None:
    program = start("""
        async def serves(stopping):
            say("up")
            await stopping.wait()

        async def main(stopping):
            await supervise(stopping, intake=serves(stopping))
    """)
    program.wait_for("up")
    program.send(signal.SIGTERM)
    assert program.end()[0] == 0


@pytest.mark.parametrize("loop_name", LOOPS)
@pytest.mark.parametrize("main", [WAITS, BLOCKS], ids=["waits", "blocks"])
def test_sigusr1_shows_what_tasks_and_threads_are_doing(start: Start, main: str) -> None:
    program = start(main)
    program.wait_for("up")
    program.send(signal.SIGUSR1)
    assert program.process.stderr is not None
    records: list[dict[str, str]] = []
    while not (records and records[-1]["event"] == "end of stacks"):
        records.append(json.loads(program.process.stderr.readline()))
    stacks = {record["event"]: record.get("stack", "") for record in records}
    assert "in main" in stacks["thread MainThread"] or main is WAITS
    assert any("in main" in stack for title, stack in stacks.items() if title.startswith("task"))


@pytest.mark.parametrize("loop_name", LOOPS)
def test_systemd_hears_of_start_life_and_stop(start: Start, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(10)
        program = start(
            """
            async def main(stopping):
                systemd.ready("consuming")
                await stopping.wait()
            """,
            NOTIFY_SOCKET=str(tmp_path / "notify"),
            WATCHDOG_USEC="100000",
        )
        heard = {listener.recv(1000).decode() for _ in range(3)}
        assert heard == {"READY=1\nSTATUS=consuming", "WATCHDOG=1"}
        program.send(signal.SIGTERM)
        while "STOPPING=1\nSTATUS=draining" not in heard:
            heard.add(listener.recv(1000).decode())
        assert program.end()[0] == 0


def test_an_abstract_socket_of_systemd_is_reached(start: Start) -> None:
    address = f"countermand-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{address}")
        listener.settimeout(10)
        start("async def main(stopping):\n    systemd.ready('x')", NOTIFY_SOCKET=f"@{address}")
        assert listener.recv(1000) == b"READY=1\nSTATUS=x"
