"""What a program's exit code says (CONTRACT §5)."""

from enum import IntEnum

from messaging.errors import ConfigurationError, DefinitionError, Unavailable


class ExitCode(IntEnum):
    DONE = 0  # or drained
    FAILED = 1
    USAGE = 2
    NOT_SO = 3  # looked, and it is not so: unknown id, a saga that failed under --wait
    REFUSED = 4  # not possible in this state
    UNAVAILABLE = 69  # broker or database out of reach
    MISCONFIGURED = 78  # settings, definitions, schema or topology


def exit_code_of(error: BaseException) -> ExitCode:
    """How a daemon ends that this error has brought down."""
    match error:
        case ConfigurationError() | DefinitionError():
            return ExitCode.MISCONFIGURED
        case Unavailable():
            return ExitCode.UNAVAILABLE
        case _:
            return ExitCode.FAILED
