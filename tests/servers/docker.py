"""Throwaway servers in containers, by Docker Compose."""

import os
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Self

from servers.private import ServerFailed

_COMPOSE_FILE = Path(__file__).with_name("compose.yaml")


def has_docker_compose() -> bool:
    """Whether there is Docker Compose and an engine that answers."""
    return bool(shutil.which("docker")) and all(
        subprocess.run(["docker", *arguments], capture_output=True, check=False).returncode == 0
        for arguments in (["compose", "version"], ["info"])
    )


class ContainerServer:
    """One service of compose.yaml, in a project of its own."""

    def __init__(self, service: str, port: int, url: str) -> None:
        self._service = service
        self._port = port
        self._url = url  # with {password} and {address}
        self._project = f"saga-test-{secrets.token_hex(4)}"
        self._password = secrets.token_urlsafe(12)
        self.url = ""

    @property
    def description(self) -> str:
        return f"in a container, service {self._service} of {_COMPOSE_FILE.name}"

    def __enter__(self) -> Self:
        try:
            self._compose("up", "--detach", "--wait", self._service, seconds=600)
            address = self._compose("port", self._service, str(self._port)).strip()
        except BaseException:
            self.__exit__()
            raise
        self.url = self._url.format(password=self._password, address=address)
        return self

    def __exit__(self, *_: object) -> None:
        self._compose("down", "--volumes", "--timeout", "1")

    def _compose(self, *arguments: str, seconds: float = 60) -> str:
        command = ["docker", "compose", "--file", str(_COMPOSE_FILE), "--project-name"]
        done = subprocess.run(
            [*command, self._project, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"SAGA_TEST_PASSWORD": self._password},
            timeout=seconds,
        )
        if done.returncode:
            raise ServerFailed(f"docker compose {arguments[0]} failed: {done.stderr.strip()}")
        return done.stdout
