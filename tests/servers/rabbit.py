"""A throwaway RabbitMQ from the programs on this machine."""

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from servers.network import free_ports, is_listening, rabbit_version, wait_until
from servers.private import PrivateServer, ServerFailed
from servers.process import ServerProcess

_LOOPBACK = "-kernel inet_dist_use_interface {127,0,0,1}"


def rabbit_programs() -> Path | None:
    """The directory of `rabbitmq-server` and `rabbitmqctl` here, None without any.

    Debian's programs on the PATH are wrappers that switch to the user `rabbitmq` and to the
    system's node; the real ones lie in the package's library.
    """
    packaged = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin"), reverse=True)
    on_path = [Path(found).resolve().parent for found in [shutil.which("rabbitmq-server")] if found]
    for directory in (*packaged, *on_path):
        if (directory / "rabbitmq-server").exists() and (directory / "rabbitmqctl").exists():
            return directory
    return None


class PrivateRabbit(PrivateServer):
    """A RabbitMQ of one's own: own node, port mapper, cookie and data, on free loopback ports."""

    name = "RabbitMQ"
    stop_signal = signal.SIGTERM

    def __init__(
        self,
        programs: Path | None = None,
        *,
        plugins: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
        beside: "PrivateRabbit | None" = None,
    ) -> None:
        """`settings` are further lines of rabbitmq.conf; `beside` is a node that it may join."""
        found = programs or rabbit_programs()
        if not found:
            raise ServerFailed("no RabbitMQ programs here; `apt-get install rabbitmq-server`")
        super().__init__()
        self._programs = found
        self._port, distribution, self._mapper_port, self.management_port = free_ports(4)
        self._password = secrets.token_urlsafe(12)
        self._mapper: ServerProcess | None = None
        if beside:
            self._share(beside)
        self._env = _environment(self.directory, self._port, distribution, self._mapper_port)
        self._configure(plugins, settings or {})

    @property
    def port(self) -> int:
        return self._port

    @property
    def node_name(self) -> str:
        return self._env["RABBITMQ_NODENAME"]

    @property
    def url(self) -> str:
        return f"amqp://test:{self._password}@127.0.0.1:{self._port}/"

    def url_for(self, user: str, password: str) -> str:
        """The same server for another user."""
        return f"amqp://{user}:{password}@127.0.0.1:{self._port}/"

    @property
    def description(self) -> str:
        version = rabbit_version(self.url)
        return f"{version} of its own on port {self._port}, from {self._programs}"

    def rabbitmqctl(self, *arguments: str, seconds: float = 150) -> str:
        """What `rabbitmqctl ARGUMENTS` prints. Raises ServerFailed when it fails."""
        self._start_mapper()
        command = [str(self._programs / "rabbitmqctl"), "--quiet", *arguments]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                env=self._env,
                cwd=self.directory,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired as error:
            problem = f"rabbitmqctl {arguments[0]} took more than {seconds:g} s"
            raise ServerFailed(problem) from error
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise ServerFailed(f"rabbitmqctl {arguments[0]} exited {done.returncode}: {said}")
        return done.stdout

    def sync_declarations(self) -> None:
        """Make sure that queues declared until now survive `kill`.

        The broker confirms a quorum queue before its name has reached the disk (half a second
        later, in 3.10). A kill in between brings the queue back empty and without a leader.
        """
        self.rabbitmqctl("eval", "[dets:sync(Table) || Table <- dets:all()].")

    def join(self, other: "PrivateRabbit") -> None:
        """Give up what is stored here and become a node of the other's cluster."""
        self.rabbitmqctl("stop_app")
        self.rabbitmqctl("reset")
        self.rabbitmqctl("join_cluster", other.node_name)
        self.rabbitmqctl("start_app")

    def close(self) -> None:
        super().close()
        if self._mapper:
            self._mapper.kill()

    def _share(self, other: "PrivateRabbit") -> None:
        """What the nodes of a cluster have in common: port mapper, cookie, users."""
        self._mapper_port, self._mapper = other._mapper_port, other._mapper
        self._password = other._password
        cookie = self.directory / ".erlang.cookie"
        shutil.copyfile(other.directory / ".erlang.cookie", cookie)
        cookie.chmod(0o400)

    def _configure(self, plugins: Sequence[str], further: Mapping[str, str]) -> None:
        (self.directory / "enabled_plugins").write_text(f"[{','.join(plugins)}].\n")
        settings = {
            "listeners.tcp.1": f"127.0.0.1:{self._port}",
            "management.tcp.ip": "127.0.0.1",
            "management.tcp.port": self.management_port,
            "default_user": "test",
            "default_pass": self._password,
            "disk_free_limit.absolute": "50MB",
            "log.console": "true",
            "log.console.level": "warning",
            "log.file": "false",
        }
        if "rabbitmq_management" not in plugins:
            settings = {key: settings[key] for key in settings if "management" not in key}
        lines = [f"{key} = {value}\n" for key, value in {**settings, **further}.items()]
        (self.directory / "rabbitmq.conf").write_text("".join(lines))

    def _launch(self) -> ServerProcess:
        self._start_mapper()
        return ServerProcess(
            [str(self._programs / "rabbitmq-server")],
            log=self.log,
            directory=self.directory,
            env=self._env,
        )

    def _start_mapper(self) -> None:
        """Erlang would leave a daemon of its own behind; a child of ours ends with us."""
        program = _mapper_program()
        if program and not (self._mapper and self._mapper.is_running()):
            self._mapper = ServerProcess(
                [program, "-port", str(self._mapper_port), "-address", "127.0.0.1"],
                log=self.log,
                directory=self.directory,
                env=self._env,
            )
            wait_until(lambda: is_listening(self._mapper_port), seconds=10)

    def _answers(self) -> bool:
        return rabbit_version(self.url) is not None


def _environment(directory: Path, port: int, distribution: int, mapper: int) -> dict[str, str]:
    """Everything that would otherwise come from /etc/rabbitmq or lie in /var/lib/rabbitmq."""
    own = {
        "HOME": str(directory),  # the cookie
        "RABBITMQ_NODENAME": f"saga{port}@localhost",
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(directory / "advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(directory / "data"),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_PID_FILE": str(directory / "rabbitmq.pid"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(directory / "config"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _LOOPBACK,
        "RABBITMQ_CTL_ERL_ARGS": _LOOPBACK,
        "ERL_EPMD_PORT": str(mapper),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RUNNING_UNDER_SYSTEMD": "true",  # the script becomes the server: its pid is ours
        "LC_ALL": "C.UTF-8",
    }
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("RABBITMQ_", "ERL_")) and key != "NOTIFY_SOCKET"
    }
    return inherited | own


def _mapper_program() -> str | None:
    bundled = sorted(Path("/usr/lib/erlang").glob("erts-*/bin/epmd"))
    return shutil.which("epmd") or (str(bundled[-1]) if bundled else None)
