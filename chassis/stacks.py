"""What every task and thread is doing right now, for the log."""

import asyncio
import io
import logging
import sys
import threading
import traceback
from collections.abc import Iterator

_log = logging.getLogger(__name__)


def log_stacks(loop: asyncio.AbstractEventLoop | None) -> None:
    """One record for each thread and each task of `loop`. Safe from any thread."""
    for title, stack in [*_threads(), *_tasks(loop)]:
        _log.warning("%s", title, extra={"stack": stack})
    _log.warning("end of stacks")


def _threads() -> Iterator[tuple[str, str]]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():  # noqa: SLF001  # the documented way
        yield f"thread {names.get(ident, ident)}", "".join(traceback.format_stack(frame))


def _tasks(loop: asyncio.AbstractEventLoop | None) -> Iterator[tuple[str, str]]:
    if loop is None or loop.is_closed():
        return
    for task in asyncio.all_tasks(loop):
        text = io.StringIO()
        task.print_stack(file=text)
        yield f"task {task.get_name()}", text.getvalue()
