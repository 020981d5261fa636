"""Run a command with a RabbitMQ and a PostgreSQL for tests: `services.py run -- COMMAND...`.

Exports SAGA_TEST_AMQP_URL and SAGA_TEST_DATABASE_URL to the command, cleans up after it and
exits as it did; 69 when there is no way to a server. `servers/finding.py` has the ways.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Final, NoReturn

from servers.finding import POSTGRES, RABBITMQ, Kind, find
from servers.private import ServerFailed

USAGE: Final = "usage: python tests/services.py run -- COMMAND [ARGUMENT...]"
EXIT_USAGE: Final = 2
EXIT_UNAVAILABLE: Final = 69
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asked us to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(arguments: Sequence[str]) -> int:
    match list(arguments):
        case ["run", "--", *command] if command:
            return _run_with_servers(command)
        case _:
            print(USAGE, file=sys.stderr)
            return EXIT_USAGE


def _run_with_servers(command: Sequence[str]) -> int:
    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    try:
        with ExitStack() as servers:
            found = {kind.variable: _enter(kind, servers) for kind in (RABBITMQ, POSTGRES)}
            return _run(command, os.environ | found)
    except ServerFailed as error:
        print(f"services: {error}", file=sys.stderr)
        return EXIT_UNAVAILABLE
    except Interrupted as interruption:
        return 128 + interruption.number


def _enter(kind: Kind, servers: ExitStack) -> str:
    server = servers.enter_context(find(kind))
    print(f"services: {kind.name} {server.description}", flush=True)
    return server.url


def _run(command: Sequence[str], env: Mapping[str, str]) -> int:
    """The command's exit code; 127 if there is no such program. Signals are handed on to it."""
    try:
        child = subprocess.Popen(command, env=env)
    except OSError as error:
        print(f"services: cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    try:
        code = child.wait()
    except Interrupted as interruption:
        code = _end(child, interruption.number)
    return code if code >= 0 else 128 - code


def _end(child: subprocess.Popen[bytes], number: int) -> int:
    """Hand the signal on, unless the terminal has sent it to the child as well; then wait."""
    if not (number == signal.SIGINT and _in_foreground()):
        child.send_signal(number)
    with suppress(subprocess.TimeoutExpired):
        return child.wait(60)
    child.kill()
    return child.wait()


def _interrupt(number: int, _: object) -> NoReturn:
    """The first signal ends the run; further ones must not disturb the cleaning up."""
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise Interrupted(number)


def _in_foreground() -> bool:
    """Whether a terminal's Ctrl-C goes to our whole process group."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    finally:
        os.close(terminal)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
