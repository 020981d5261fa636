"""From a command line to a running program: settings, logs, then its main function."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from chassis import failpoints, heap, logs
from chassis.lifecycle import report, run
from chassis.settings import Settings, load
from messaging.errors import ConfigurationError

S = TypeVar("S", bound=Settings)

_log = logging.getLogger(__name__)


def launch(
    main: Callable[[S, asyncio.Event], Awaitable[None]],
    settings_class: type[S],
    *,
    name: str,
    **flags: Any,
) -> int:
    """Load settings, set up the log as they say, run `main(settings, stopping)`: the exit code.

    `flags` are settings from the command line; those that are None were not given.
    """
    logs.configure()
    try:
        settings = load(settings_class, **flags)
    except ConfigurationError as error:
        return report(error)
    heap.settle()
    logs.configure(log_format=settings.log_format, log_level=settings.log_level)
    try:
        failpoints.arm(os.environ)
    except ConfigurationError as error:
        return report(error)
    for caution in settings.cautions():
        _log.warning("%s", caution)
    drain_timeout = settings.drain_timeout.total_seconds()
    return run(lambda stopping: main(settings, stopping), name=name, drain_timeout=drain_timeout)
