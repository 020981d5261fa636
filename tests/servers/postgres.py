"""A throwaway PostgreSQL from the programs on this machine."""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from servers.network import free_ports, postgres_answers
from servers.private import PrivateServer, ServerFailed
from servers.process import ServerProcess, run_as


def postgres_programs() -> Path | None:
    """The directory of the newest `initdb` and `postgres` here, None without any."""
    debian = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda initdb: _number(initdb.parts[-3]),
        reverse=True,
    )
    on_path = [Path(found) for found in [shutil.which("initdb")] if found]
    for initdb in (*debian, *on_path):
        directory = initdb.resolve().parent
        if (directory / "postgres").exists():
            return directory
    return None


class PrivatePostgres(PrivateServer):
    """A PostgreSQL of one's own, durable (fsync on), on a free port of 127.0.0.1."""

    name = "PostgreSQL"
    stop_signal = signal.SIGINT  # "fast": open transactions are rolled back

    def __init__(
        self,
        programs: Path | None = None,
        *,
        settings: Mapping[str, object] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """`settings` are further parameters of the server, `env` what its surroundings add."""
        found = programs or postgres_programs()
        if not found:
            raise ServerFailed("no PostgreSQL programs here; `apt-get install postgresql`")
        super().__init__()
        self._programs = found
        self._user = _unprivileged_user()
        self._password = secrets.token_urlsafe(12)
        self._port = free_ports(1)[0]
        self._data = self.directory / "data"
        self._settings = settings or {}
        self._env = env or {}

    @property
    def url(self) -> str:
        return f"postgresql://postgres:{self._password}@127.0.0.1:{self._port}/postgres"

    @property
    def description(self) -> str:
        command = [str(self._programs / "postgres"), "--version"]
        version = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return f"{version.split()[2]} of its own on port {self._port}, from {self._programs}"

    def _launch(self) -> ServerProcess:
        if not self._data.exists():
            self._create_cluster()
        settings = {
            "port": self._port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": 200,
            "fsync": "on",
            **self._settings,
        }
        options = [f"--{key}={value}" for key, value in settings.items()]
        return ServerProcess(
            [str(self._programs / "postgres"), "-D", str(self._data), *options],
            log=self.log,
            directory=self.directory,
            env={**os.environ, **self._env},
            user=self._user,
        )

    def _create_cluster(self) -> None:
        password_file = self.directory / "password"
        password_file.write_text(self._password)
        self._give(self.directory, password_file)
        self._run(
            "initdb",
            f"--pgdata={self._data}",
            f"--pwfile={password_file}",
            *("--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"),
        )

    def _give(self, *paths: Path) -> None:
        """To the unprivileged user: the programs refuse root."""
        if self._user:
            for path in paths:
                shutil.chown(path, self._user)

    def _run(self, program: str, *arguments: str) -> None:
        """One of PostgreSQL's programs, to its end."""
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.directory,
            **run_as(self._user),
        )
        if done.returncode:
            raise ServerFailed(f"{program} failed: {done.stderr.strip()}")

    def _answers(self) -> bool:
        """The port opens before recovery ends; the pid file tells the difference."""
        try:
            status = (self._data / "postmaster.pid").read_text().splitlines()[7].strip()
        except (OSError, IndexError):
            return False
        return status == "ready" and postgres_answers(self.url)


def _unprivileged_user() -> str | None:
    """Whom to run as when we are root; None: as ourselves."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def _number(version: str) -> float:
    try:
        return float(version)
    except ValueError:
        return 0.0
