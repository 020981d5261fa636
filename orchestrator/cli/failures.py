"""From an error to an exit code and one line on stderr for each problem."""

import os
import sys
import traceback
from contextlib import suppress

from chassis.exit_codes import ExitCode, exit_code_of
from messaging.errors import Conflict, NotFound, ProtocolError, Refused, SagaError


def told(error: BaseException) -> int:
    """Say what went wrong: the exit code."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, SagaError):
        for line in (error.detail if isinstance(error, ProtocolError) else str(error)).splitlines():
            say(line)
    else:
        _tell_unexpected(error)
    return code_of(error)


def code_of(error: BaseException) -> ExitCode:
    """How a command ends that this error has ended (CONTRACT §5)."""
    match error:
        case NotFound():
            return ExitCode.NOT_SO
        case Refused() | Conflict():
            return ExitCode.REFUSED
        case ProtocolError():  # what was given on the command line breaks the contract
            return ExitCode.USAGE
        case _:
            return exit_code_of(error)


def say(line: str) -> None:
    """One line on stderr. Nobody may be listening."""
    from orchestrator.cli.wording import clean

    with suppress(OSError, ValueError):
        sys.stderr.write(f"saga: {clean(line)}\n")
        sys.stderr.flush()


def _tell_unexpected(error: BaseException) -> None:
    say(
        f"unexpected {type(error).__name__}: {error}; this is a defect of "
        "countermand: SAGA_LOG_LEVEL=debug shows where it is"
    )
    if os.environ.get("SAGA_LOG_LEVEL", "").lower() == "debug":
        traceback.print_exception(error)
