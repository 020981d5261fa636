"""A whole installation as a user runs it: daemons as processes that may be killed and restarted."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError

from servers.network import held_port

from messaging.topology import Names
from tests.product.evidence import evidence

ROOT = Path(__file__).resolve().parents[2]
SAGA = Path(sys.executable).with_name("saga")
DEFINITIONS = Path(__file__).with_name("definitions")
READY_SECONDS = 60.0
DRAIN_SECONDS = 25.0
SERVICES = ("inventory", "payment", "shipping", "notification")
_LOG_LINES = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an installation finds its servers, and the names that are its own."""

    amqp_url: str
    saga_database: str
    shop_database: str
    namespace: str

    @property
    def names(self) -> Names:
        return Names(self.namespace)

    @property
    def settings(self) -> dict[str, str]:
        return {
            "SAGA_AMQP_URL": self.amqp_url,
            "SAGA_DATABASE_URL": self.saga_database,
            "SAGA_INBOX_URL": self.shop_database,
            "SAGA_NAMESPACE": self.namespace,
        }


class Daemon:
    """One program in a process of its own, with its log in a file and a port that stays."""

    def __init__(
        self, name: str, command: Sequence[str], folder: Path, settings: Mapping[str, str]
    ) -> None:
        self.name = name
        self._held = held_port()  # while it is down, too: whoever has it would answer our probes
        weakref.finalize(self, self._held.close)
        self.port: int = self._held.getsockname()[1]
        self._command = command
        self._folder = folder
        self._env = _environment({"SAGA_HTTP_PORT": str(self.port), **settings})
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._child is not None, f"{self.name} was never started"
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        assert self._child is not None, f"{self.name} was never started"
        return self._child.poll()

    @property
    def is_running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def log(self) -> str:
        path = self._log_path
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def log_end(self) -> str:
        return "\n".join(self.log.splitlines()[-_LOG_LINES:])

    def start(self, **settings: str) -> None:
        """Start it; `settings` are for this time only."""
        assert not self.is_running, f"{self.name} runs already"
        with self._log_path.open("ab") as log:
            self._child = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env={**self._env, **settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_ready(self) -> None:
        wait_for(lambda: self.must_run() and self.is_ready(), f"{self.name} is ready")

    def is_ready(self) -> bool:
        return self.asked("/readyz")[0] == 200

    def asked(self, path: str) -> tuple[int, str]:
        """What it answers over HTTP; 0 if it does not."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, sample: str) -> float | None:
        """The value of one line of /metrics; None if it is not there."""
        for line in self.asked("/metrics")[1].splitlines():
            name, _, value = line.rpartition(" ")
            if name == sample:
                return float(value)
        return None

    def kill(self) -> None:
        """SIGKILL: it ends in the middle of whatever it does."""
        assert self._child is not None
        self.must_run()
        self._child.kill()
        self._child.wait(10)

    def kill_and_restart(self) -> None:
        self.kill()
        self.start()

    def terminate(self, *, seconds: float = DRAIN_SECONDS) -> int:
        """SIGTERM: the exit code. Raises subprocess.TimeoutExpired if it does not drain in time."""
        self.send(signal.SIGTERM)
        return self.ended(seconds=seconds)

    def send(self, number: signal.Signals) -> None:
        assert self._child is not None
        self._child.send_signal(number)

    def ended(self, *, seconds: float = DRAIN_SECONDS) -> int:
        assert self._child is not None
        return self._child.wait(seconds)

    def close(self) -> None:
        self._held.close()
        if self._child is not None:
            self._child.kill()
            self._child.wait(10)

    def must_run(self) -> bool:
        assert self.is_running, f"{self.name} has ended with exit code {self.exit_code}"
        return True

    @property
    def _log_path(self) -> Path:
        return self._folder / f"{self.name}.log"


@dataclass(slots=True, kw_only=True)
class Installation:
    """Daemons that share a place. What they log ends up in `folder`."""

    place: Place
    folder: Path
    daemons: list[Daemon] = field(default_factory=list)
    foreigners: list[Daemon] = field(default_factory=list)

    def orchestrator(self, *modules: str, name: str = "orchestrator", **settings: str) -> Daemon:
        """`saga orchestrator run`, not started yet."""
        return self._daemon(name, ["orchestrator", "run", *modules], settings)

    def participants(self, *services: str, name: str = "participants", **settings: str) -> Daemon:
        """`saga participants run` for these services of the order example, or for all."""
        module = "participants.examples.order_fulfillment"
        targets = [f"{module}:{service}" for service in services] or [module]
        return self._daemon(name, ["participants", "run", *targets], settings)

    def service(self, module: str, **settings: str) -> Daemon:
        """`saga participants run` for a module of `definitions`."""
        return self._daemon(module, ["participants", "run", module], settings)

    def dlq_worker(self, *, name: str = "dlq-worker", **settings: str) -> Daemon:
        """`saga dlq run`."""
        return self._daemon(name, ["dlq", "run"], settings)

    def recorder(self, *, name: str = "recorder", **settings: str) -> Daemon:
        """`saga choreography run`."""
        return self._daemon(name, ["choreography", "run"], settings)

    def choreographed(self, module: str, *services: str, **settings: str) -> Sequence[Daemon]:
        """`saga participants run MODULE:SERVICE`, a daemon for each service."""
        return [
            self._daemon(service, ["participants", "run", f"{module}:{service}"], settings)
            for service in services
        ]

    def daemon(self, name: str) -> Daemon:
        [found] = [each for each in self.daemons if each.name == name]
        return found

    def start(self) -> None:
        """Start every daemon that does not run, and wait until all are ready."""
        for daemon in self.daemons:
            if not daemon.is_running:
                daemon.start()
        self.wait_ready()

    def wait_ready(self) -> None:
        for daemon in self.daemons:
            daemon.wait_ready()

    def must_run(self) -> None:
        """Fails if a daemon has ended: whoever waits for its work would wait for nothing."""
        for daemon in self.daemons:
            daemon.must_run()

    def pids(self) -> dict[str, int]:
        """Of those that run."""
        return {each.name: each.pid for each in self.daemons if each.is_running}

    def foreign(self, name: str, *command: str) -> Daemon:
        """A program that is not ours and answers no probes: start it by itself."""
        daemon = Daemon(name, command, self.folder, self.place.settings)
        self.foreigners.append(daemon)
        return daemon

    def _daemon(self, name: str, arguments: Sequence[str], settings: Mapping[str, str]) -> Daemon:
        every = {**self.place.settings, **settings}
        daemon = Daemon(name, [str(SAGA), *arguments], self.folder, every)
        self.daemons.append(daemon)
        return daemon


@contextmanager
def installed(place: Place, folder: Path) -> Iterator[Installation]:
    """An installation without daemons yet. If its story fails, the error tells how all stood.

    For the test's own body: pytest throws nothing into a fixture.
    """
    installation = Installation(place=place, folder=folder)
    try:
        yield installation
    except BaseException as error:
        error.add_note(evidence(installation))
        raise
    finally:
        for daemon in (*installation.daemons, *installation.foreigners):
            daemon.close()


def wait_for(is_so: Callable[[], bool], fact: str, *, seconds: float = READY_SECONDS) -> None:
    """Wait for a fact; blocks. Fails naming it when it has not come true in time."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not in {seconds:g} s: {fact}"
        time.sleep(0.05)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What became of a command line."""

    code: int
    out: str
    err: str


def saga(installation: Installation, *arguments: str, **settings: str) -> Said:
    """`saga ARGUMENTS` in the installation's folder, with its settings and these."""
    done = subprocess.run(
        [SAGA, *arguments],
        cwd=installation.folder,
        env=_environment({**installation.place.settings, **settings}),
        capture_output=True,
        text=True,
        check=False,
        timeout=READY_SECONDS,
    )
    return Said(code=done.returncode, out=done.stdout, err=done.stderr)


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Nothing of the surroundings' own settings gets in."""
    inherited = {name: value for name, value in os.environ.items() if name[:5] != "SAGA_"}
    return {
        **inherited,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{DEFINITIONS}",
        "SAGA_HTTP_HOST": "127.0.0.1",
        "SAGA_LOG_FORMAT": "console",
        **settings,
    }
