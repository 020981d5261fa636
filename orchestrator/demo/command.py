"""The command `saga demo`: run the orders, look into the books, tell."""

import asyncio
import json
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rich.console import Console

from chassis.exit_codes import ExitCode
from chassis.lifecycle import run
from orchestrator.demo.continuing import commands_to_go_on
from orchestrator.demo.findings import Findings, examined
from orchestrator.demo.installation import database_url_in, databases_in
from orchestrator.demo.live import shown_live
from orchestrator.demo.orders import STEPS, Order, orders_for
from orchestrator.demo.page import page_of
from orchestrator.demo.tally import Tally
from orchestrator.demo.trial import run_orders

_DRAIN: Final = 10.0  # seconds, after Ctrl-C
_INTERRUPTED: Final = 130  # as a shell reports Ctrl-C


def run_demo(sagas: int, fail: str | None, as_json: bool) -> int:
    """Run so many orders, with `fail` all failing at that step: the exit code.

    0 when everything is as expected, 1 when a saga or the books are not, 2 for a step that
    does not exist. The databases are kept in a temporary folder, to go on with.
    """
    if fail is not None and fail not in STEPS:
        _say(f"there is no step {fail!r}; let one of these fail: {', '.join(STEPS)}")
        return ExitCode.USAGE
    folder = Path(tempfile.mkdtemp(prefix="saga-demo-"))
    demo = _Demo(orders=orders_for(sagas, fail), folder=folder)
    try:
        return _told_as_json(demo) if as_json else _told(demo)
    finally:
        if demo.findings is None:
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(kw_only=True)
class _Demo:
    """One run, and what came of it."""

    orders: Sequence[Order]
    folder: Path
    began: float = field(default_factory=time.monotonic)
    findings: Findings | None = None
    seconds: float = 0.0

    def run(self, console: Console | None = None) -> int:
        """0 once there are findings; else why there are none has been said."""
        tally = Tally(len(self.orders))
        code = run(lambda stop: self._main(tally, console, stop), name="demo", drain_timeout=_DRAIN)
        self.seconds = time.monotonic() - self.began
        if code is ExitCode.DONE and self.findings is None:
            _say(f"stopped; {tally.ended} of {tally.expected} orders had ended")
            return _INTERRUPTED
        return code

    async def _main(self, tally: Tally, console: Console | None, stopping: asyncio.Event) -> None:
        with _overheard_by(tally):
            async with databases_in(self.folder) as databases:
                async with shown_live(tally, console):
                    await run_orders(self.orders, databases, tally, stopping)
                if not stopping.is_set():
                    self.findings = await examined(databases, self.orders, tally)


def _told(demo: _Demo) -> int:
    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    console.print(
        f"{_orders(len(demo.orders))}. Orchestrator, four services and DLQ worker run in this one"
        " process, on the embedded broker and SQLite.\n"
    )
    code = demo.run(console)
    if demo.findings is None:
        return code
    commands = commands_to_go_on(demo.findings, database_url_in(demo.folder))
    sys.stdout.write(page_of(demo.findings, commands, console))
    sys.stdout.write(f"\n{_conclusion(demo.findings)} ({demo.seconds:.1f} s)\n")
    return _code_of(demo.findings)


def _told_as_json(demo: _Demo) -> int:
    code = demo.run()
    if demo.findings is None:
        return code
    url = database_url_in(demo.folder)
    told = {
        **demo.findings.to_json(),
        "seconds": round(demo.seconds, 3),
        "database_url": url,
        "commands_to_go_on": list(commands_to_go_on(demo.findings, url)),
    }
    sys.stdout.write(f"{json.dumps(told, ensure_ascii=False, indent=2)}\n")
    return _code_of(demo.findings)


def _orders(count: int) -> str:
    return "1 order" if count == 1 else f"{count:,} orders"


def _conclusion(findings: Findings) -> str:
    if findings.is_as_expected:
        return "Everything is as expected."
    return "Something is not as expected: see above."


def _code_of(findings: Findings) -> ExitCode:
    return ExitCode.DONE if findings.is_as_expected else ExitCode.FAILED


@contextmanager
def _overheard_by(tally: Tally) -> Iterator[None]:
    """Log records go to the tally meanwhile: on the terminal they would spoil the display."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    root.handlers, root.level = [_Overhearing(tally)], logging.WARNING
    try:
        yield
    finally:
        root.handlers, root.level = handlers, level


class _Overhearing(logging.Handler):
    def __init__(self, tally: Tally) -> None:
        super().__init__(logging.WARNING)
        self._tally = tally

    def emit(self, record: logging.LogRecord) -> None:
        self._tally.remark(f"{record.name}: {record.getMessage()}")


def _say(line: str) -> None:
    sys.stderr.write(f"saga: {line}\n")
