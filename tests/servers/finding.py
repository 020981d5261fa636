"""Where a server for the tests comes from: five ways, tried in order."""

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from servers import apt
from servers.docker import ContainerServer, has_docker_compose
from servers.network import postgres_answers, rabbit_version, wait_until
from servers.postgres import PrivatePostgres, postgres_programs
from servers.private import ServerFailed
from servers.rabbit import PrivateRabbit, rabbit_programs


class Server(Protocol):
    @property
    def url(self) -> str: ...

    @property
    def description(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A server that tests need, and how to come by one."""

    name: str
    variable: str  # names a running one
    package: str  # Debian's
    answers: Callable[[str], object]
    programs: Callable[[], Path | None]
    private: Callable[[], AbstractContextManager[Server]]
    container: Callable[[], AbstractContextManager[Server]]


@dataclass(frozen=True, slots=True)
class Given:
    """A server that somebody else runs."""

    url: str
    variable: str

    @property
    def description(self) -> str:
        """The place only: the URL may hold a password."""
        address = urlsplit(self.url)
        return f"at {address.hostname}:{address.port or 'its usual port'}, from {self.variable}"


RABBITMQ: Final = Kind(
    name="RabbitMQ",
    variable="SAGA_TEST_AMQP_URL",
    package="rabbitmq-server",
    answers=rabbit_version,
    programs=rabbit_programs,
    private=PrivateRabbit,
    container=lambda: ContainerServer("rabbitmq", 5672, "amqp://test:{password}@{address}/"),
)
POSTGRES: Final = Kind(
    name="PostgreSQL",
    variable="SAGA_TEST_DATABASE_URL",
    package="postgresql",
    answers=postgres_answers,
    programs=postgres_programs,
    private=PrivatePostgres,
    container=lambda: ContainerServer(
        "postgres", 5432, "postgresql://postgres:{password}@{address}/postgres"
    ),
)


def find(kind: Kind, env: Mapping[str, str] = os.environ) -> AbstractContextManager[Server]:
    """A server of that kind, to be entered. Raises ServerFailed when there is no way to one."""
    if url := env.get(kind.variable):
        return nullcontext(_given(kind, url))
    if kind.programs():
        return kind.private()
    if has_docker_compose():
        return kind.container()
    if apt.can_install():
        apt.install(kind.package)
        return kind.private()
    raise ServerFailed(
        f"no {kind.name} for the tests. Any one of these helps: set {kind.variable} to a running "
        f"one; install the package {kind.package}; start Docker with Compose; or run as root or "
        "with passwordless sudo where apt-get can install it."
    )


def _given(kind: Kind, url: str) -> Given:
    given = Given(url, kind.variable)
    if not wait_until(lambda: kind.answers(url), seconds=10):
        raise ServerFailed(f"no {kind.name} answers {given.description}; correct or unset it")
    return given
