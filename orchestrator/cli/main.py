"""The entry point of `saga`: run one command line, and turn whatever happens into an exit code."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, TextIO

from chassis import heap
from orchestrator.cli.failures import say, told

INTERRUPTED: Final = 130  # as a shell reports Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line, by default this process's own: its exit code. Never raises."""
    try:
        return _finished(_run(sys.argv[1:] if arguments is None else list(arguments)))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return _reader_is_gone()
    except Exception as error:
        return told(error)


def _run(arguments: list[str]) -> int:
    heap.collect_rarely()
    from orchestrator.cli.app import UsageError, command

    for stream in (sys.stdout, sys.stderr):
        _accept_every_character(stream)
    try:
        code = command().main(args=arguments, prog_name="saga", standalone_mode=False)
    except UsageError as error:
        return _explained(error)
    except SystemExit as ended:  # the library's way to say that the reader of a pipe is gone
        return ended.code if isinstance(ended.code, int) else 1
    return int(code or 0)


def _explained(error: Exception) -> int:
    """A wrong command line: one line with what is wrong, and where to look."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "saga"
    message = getattr(error, "format_message", error.__str__)()
    if context is not None and message == context.get_help():  # a group without a command
        print(message)
        return getattr(error, "exit_code", 2)
    told = " ".join(message.replace("Value error, ", "").split()).rstrip(".")
    told += "; write -o json" if told.endswith(" --json") else ""
    say(f"{told[:1].lower()}{told[1:]}; see `{path} --help`")
    return getattr(error, "exit_code", 2)


def _accept_every_character(stream: TextIO) -> None:
    """A terminal that cannot show a character gets its number, not a traceback."""
    with suppress(AttributeError):  # a stream that somebody has put in its place
        stream.reconfigure(errors="backslashreplace")  # type: ignore[attr-defined]


def _finished(code: int) -> int:
    """What is still in the buffer must be written while errors can still be handled."""
    sys.stdout.flush()
    return code


def _reader_is_gone() -> int:
    """`saga list | head`: nobody reads on. Nothing more is written, not even at exit."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1
