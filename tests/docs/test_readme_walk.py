"""The walk through the README, by copy and paste: what it prints is what the README shows."""

import asyncio
import os
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from messaging.topology import Names

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()
WALK = README[README.index("**Settings and databases.**") : README.index("## How it compares")]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# The test brings its own environment, servers and database.
PROVIDED = re.compile(r"^(?:source|export|psql) .*\n", re.MULTILINE)
# What differs from run to run: times, ages, and how often something was tried meanwhile.
PASSING = re.compile(r"\d\d:\d\d:\d\d|\d+(?:\.\d)? s ago|(?<=process_payment) +\d+")
LIMIT = 180.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(LIMIT + 60)]


def lasting(text: str) -> list[str]:
    return [" ".join(line.split()) for line in PASSING.sub(" ~ ", text).splitlines()]


def blocks(language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(WALK) if kind == language]


def _script() -> str:
    *steps, stop = [PROVIDED.sub("", block) for block in blocks("")]
    return "\n".join([*steps, "saga show order-43", stop, "wait"])


async def printed_by(script: str, folder: Path, settings: dict[str, str]) -> str:
    """What a shell prints that runs the script; whatever it has left behind is ended."""
    programs = Path(sys.executable).parent
    inherited = {key: text for key, text in os.environ.items() if not key.startswith("SAGA_")}
    shell = await asyncio.create_subprocess_exec(
        "bash",
        cwd=folder,
        env={**inherited, **settings, "PATH": f"{programs}:{os.environ['PATH']}"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(LIMIT):
            printed, _ = await shell.communicate(script.encode())
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
    return printed.decode()


async def test_the_walk_prints_what_the_readme_shows(
    amqp_url: str, empty_database_url: str, names: Names, tmp_path: Path
) -> None:
    settings = {
        "SAGA_AMQP_URL": amqp_url,
        "SAGA_DATABASE_URL": empty_database_url,
        "SAGA_INBOX_URL": empty_database_url,
        "SAGA_NAMESPACE": names.namespace,
        "SAGA_HTTP_PORT": "0",
    }
    printed = await printed_by(_script(), tmp_path, settings)
    # The README's broker has its own user; a step that a reply has moved names that user.
    user = f"by {urlsplit(amqp_url).username}"
    shown = [line.replace("by guest", user) for block in blocks("text") for line in lasting(block)]
    assert shown
    assert [line for line in shown if line not in lasting(printed)] == [], printed
    for program in ("orchestrator", "participants", "dlq"):
        assert "is stopping" in (tmp_path / f"{program}.log").read_text()
