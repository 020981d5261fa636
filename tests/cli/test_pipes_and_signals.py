"""The command as others run it: in pipes, on terminals, and interrupted."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cli_stories import FAILED, PAYING, stored
from command_lines import put

from orchestrator.store.database import DatabaseStore

SAGA = str(Path(sys.executable).with_name("saga"))


@pytest.fixture
def order(database: str) -> str:
    """A saga that waits for a reply, and one that has failed."""

    async def put_sagas(store: DatabaseStore) -> None:
        await stored(store, "order-42", PAYING)
        await stored(store, "order-43", FAILED)

    put(database, put_sagas)
    return "order-42"


def on_terminal(*arguments: str, columns: int, **variables: str) -> str:
    """What the command writes to a terminal of that width."""
    leader, follower = pty.openpty()
    size = {"COLUMNS": str(columns), "LINES": "50", "TERM": "xterm-256color"}
    with subprocess.Popen(
        [SAGA, *arguments],
        stdout=follower,
        stderr=follower,
        env={**os.environ, **size, **variables},
    ) as running:
        os.close(follower)
        text = _read_all(leader)
        assert running.wait(30) == 0, text
    return text


def _read_all(leader: int) -> str:
    parts = []
    try:
        while part := os.read(leader, 65536):
            parts.append(part)
    except OSError:  # the terminal is gone with its last writer
        pass
    os.close(leader)
    return b"".join(parts).decode().replace("\r\n", "\n")


def test_there_is_colour_on_a_terminal_and_none_in_a_pipe(order: str) -> None:
    red = "\x1b[31m"
    assert red in on_terminal("list", columns=80)
    assert red not in on_terminal("list", columns=80, NO_COLOR="1")
    piped = subprocess.run([SAGA, "list"], capture_output=True, text=True, check=True)
    assert "\x1b" not in piped.stdout
    assert not any(line.endswith(" ") for line in piped.stdout.splitlines())


def test_a_page_fits_the_terminal(order: str) -> None:
    text = on_terminal("show", "order-43", columns=60, NO_COLOR="1", TERM="dumb")
    assert max(map(len, text.splitlines())) <= 60
    assert "reserve_inventory" in text


@pytest.mark.parametrize("line", [("list",), ("show", "order-43"), ("list", "-o", "json")])
def test_a_reader_that_goes_away_is_no_traceback(line: tuple[str, ...], order: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer) as gone:
        done = subprocess.run(
            [SAGA, *line], stdout=gone, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (1, "")


def test_ctrl_c_is_130_and_says_nothing(order: str) -> None:
    with subprocess.Popen(
        [SAGA, "start", "Order", "--id", "order-1", "--data", "{}", "--wait"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert _first_line(running) == "order-1\n", "it is printed at once, and not at the end"
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30)
    assert (running.returncode, out, err) == (130, "", "")


def _first_line(running: "subprocess.Popen[str]") -> Any:
    assert running.stdout
    return running.stdout.readline()


def test_help_is_quick() -> None:
    """Far above what it takes (a tenth of a second), and far below what loading SQL takes."""
    took = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run([SAGA, "--help"], stdout=subprocess.DEVNULL, check=True)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.5


def test_a_terminal_that_cannot_show_a_character_gets_its_number(order: str) -> None:
    done = subprocess.run(
        [SAGA, "show", "order-43"],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert b"\\u21a9" in done.stdout
