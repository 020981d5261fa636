"""From a command line to a running program: settings, logs, then its main function."""

import asyncio
import gc
import logging
import os
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from chassis import failpoints, logs
from chassis.lifecycle import report, run
from chassis.settings import Settings, load
from messaging.errors import ConfigurationError

S = TypeVar("S", bound=Settings)

_YOUNG: Final = 50_000  # objects; a batch of 250 replies makes about as many

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
    settle_heap()
    logs.configure(log_format=settings.log_format, log_level=settings.log_level)
    try:
        failpoints.arm(os.environ)
    except ConfigurationError as error:
        return report(error)
    for caution in settings.cautions():
        _log.warning("%s", caution)
    drain_timeout = settings.drain_timeout.total_seconds()
    return run(lambda stopping: main(settings, stopping), name=name, drain_timeout=drain_timeout)


def settle_heap() -> None:
    """What is loaded by now stays: the collector need not look at it again, nor, a dozen times
    for each batch, at values that have no cycles."""
    gc.freeze()
    gc.set_threshold(_YOUNG)
