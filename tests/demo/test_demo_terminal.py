"""The demo on a real terminal, interrupted, and sabotaged while it runs."""

import fcntl
import os
import pty
import re
import signal
import sqlite3
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from demo_stories import ESCAPE, SAGA, surroundings

SECONDS = 40.0
HIDDEN, SHOWN = f"{ESCAPE}[?25l", f"{ESCAPE}[?25h"


class Screen:
    """What a program writes on a terminal of 80 columns."""

    def __init__(self, descriptor: int) -> None:
        self.text = ""
        self._descriptor = descriptor

    def read_until(self, pattern: str) -> str:
        """Everything written so far, as soon as it has the pattern."""
        while not re.search(pattern, self.text):
            assert self._read_some(), f"ended without {pattern!r}: {self.text[-2000:]}"
        return self.text

    def read_to_end(self) -> str:
        while self._read_some():
            pass
        return self.text

    def _read_some(self) -> bool:
        try:
            some = os.read(self._descriptor, 65536)
        except OSError:  # nobody holds the other end any more
            return False
        self.text += some.decode(errors="replace")
        return bool(some)


@contextmanager
def on_terminal(*arguments: str, kept: Path) -> Iterator[tuple[subprocess.Popen[bytes], Screen]]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 80, 0, 0))
    environment = surroundings(TERM="xterm-256color", TMPDIR=str(kept))
    command = [SAGA, "demo", *arguments]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        try:
            yield process, Screen(ours)
            process.wait(SECONDS)
        finally:
            process.kill()
            os.close(ours)


def test_a_terminal_shows_the_progress_and_then_the_page(kept: Path) -> None:
    arguments = ("--sagas", "12", "--fail", "process_payment")
    with on_terminal(*arguments, kept=kept) as (process, screen):
        seen = screen.read_to_end()
    assert process.returncode == 0
    assert re.search(r"\d+ of 12 ended", seen)
    assert "The books balance." in seen
    assert seen.rindex(SHOWN) > seen.rindex(HIDDEN)
    page = seen[seen.index("NUMBER") :]
    assert "of 12 ended" not in page


def test_an_interrupt_ends_it_cleanly_and_leaves_nothing_behind(kept: Path) -> None:
    with on_terminal("--sagas", "1000", kept=kept) as (process, screen):
        screen.read_until(r"[1-9]\d* of 1000 ended")
        process.send_signal(signal.SIGINT)
        seen = screen.read_to_end()
    assert process.returncode == 130
    assert re.search(r"saga: stopped; \d+ of 1000 orders had ended", seen)
    assert "Traceback" not in seen
    assert seen.rindex(SHOWN) > seen.rindex(HIDDEN)
    assert list(kept.iterdir()) == []


def test_a_demo_whose_refunds_get_lost_fails_and_says_which(kept: Path) -> None:
    command = [SAGA, "demo", "--sagas", "3", "--fail", "create_shipment"]
    environment = surroundings(TMPDIR=str(kept))
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        _lose_refunds(kept)
        told, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert "The books do not balance:" in told
    assert "order-2 (failed): process_payment done 1 and undone 0 times, not 1 and 1" in told
    assert "but what stands costs 0.00" in told
    assert "Something is not as expected" in told


def _lose_refunds(kept: Path) -> None:
    """As soon as there are books, plant a trigger in them that removes every refund."""
    trigger = (
        "CREATE TRIGGER lost AFTER INSERT ON payments WHEN NEW.kind = 'refund'"
        " BEGIN DELETE FROM payments WHERE id = NEW.id; END"
    )
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        for file in kept.glob("*/books.db"):
            books = sqlite3.connect(file, timeout=5)
            try:
                with books:
                    books.execute(trigger)
            except sqlite3.OperationalError:
                continue  # its tables are not there yet
            else:
                return
            finally:
                books.close()
    pytest.fail("the demo has made no books")
