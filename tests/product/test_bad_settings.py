"""A daemon that cannot start says in one line what is wrong, and what to do about it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.product.installation import Daemon, Installation, Place, installed
from tests.product.places import create_database, drop_database

ORDERS = "orchestrator.examples.order_fulfillment"
BAD_CONFIGURATION = 78
UNAVAILABLE = 69

pytestmark = [pytest.mark.rabbitmq, pytest.mark.postgres, pytest.mark.slow]


def every_daemon(installation: Installation, **settings: str) -> Sequence[Daemon]:
    return [
        installation.orchestrator(ORDERS, **settings),
        installation.participants(**settings),
        installation.dlq_worker(**settings),
    ]


def refusals(daemons: Sequence[Daemon]) -> Mapping[str, list[str]]:
    """What each says when it does not start, one line for each thing that is wrong."""
    for daemon in daemons:
        daemon.start()
    codes = {daemon.name: daemon.ended() for daemon in daemons}
    assert codes == dict.fromkeys(codes, BAD_CONFIGURATION)
    assert [daemon.name for daemon in daemons if "Traceback" in daemon.log] == []
    return {
        daemon.name: [line for line in daemon.log.splitlines() if "[error" in line]
        for daemon in daemons
    }


def test_every_wrong_setting_gets_a_line_of_its_own(place: Place, tmp_path: Path) -> None:
    wrong = {
        "SAGA_AMQP_URL": "http://127.0.0.1/",
        "SAGA_DATABASE_URL": "mysql://127.0.0.1/sagas",
        "SAGA_HTTP_PORT": "99999",
        "SAGA_NAMESPACE": "a b",
        "SAGA_TOPOLOGY": "perhaps",
        "SAGA_DRAIN_TIMEOUT": "1 century",
        "SAGA_PREFETCH": "none",
    }
    with installed(place, tmp_path) as installation:
        said = refusals(every_daemon(installation, **wrong))
    for lines in said.values():
        assert len(lines) == len(wrong)
        for name, value in {**wrong, "SAGA_AMQP_URL": "http://***"}.items():
            assert [line for line in lines if f"{name}={value}: " in line], name


def test_a_database_that_nobody_named_is_asked_for(place: Place, tmp_path: Path) -> None:
    with installed(place, tmp_path) as installation:
        said = refusals(every_daemon(installation, SAGA_DATABASE_URL="", SAGA_INBOX_URL=""))
    for daemon, setting in [
        ("orchestrator", "SAGA_DATABASE_URL"),
        ("participants", "SAGA_INBOX_URL"),
        ("dlq-worker", "SAGA_DATABASE_URL"),
    ]:
        [line] = said[daemon]
        assert setting in line


def test_a_login_that_the_broker_refuses_is_named(place: Place, tmp_path: Path) -> None:
    wrong = f"amqp://nobody:hunter2@{place.amqp_url.rpartition('@')[2]}"
    with installed(place, tmp_path) as installation:
        daemons = every_daemon(installation, SAGA_AMQP_URL=wrong)
        said = refusals(daemons)
        assert [daemon.name for daemon in daemons if "hunter2" in daemon.log] == []
    for [line] in said.values():
        assert "nobody" in line


def test_a_database_without_our_schema_is_told_with_its_remedy(
    place: Place, postgres_url: str, tmp_path: Path
) -> None:
    with empty_database(postgres_url, place) as url, installed(place, tmp_path) as installation:
        orchestrator, _, worker = every_daemon(installation, SAGA_DATABASE_URL=url)
        said = refusals([orchestrator, worker])
    for [line] in said.values():
        assert "saga db upgrade" in line


def test_modules_and_names_that_are_not_there_are_named(place: Place, tmp_path: Path) -> None:
    definitions = {"1": "no_such_module", "2": "trial_orders:NoSuchSaga", "3": ""}
    services = {"4": "no_such_service"}
    with installed(place, tmp_path) as installation:
        daemons = [installation.orchestrator(target, name=n) for n, target in definitions.items()]
        daemons += [installation.participants(target, name=n) for n, target in services.items()]
        said = refusals(daemons)
    for name, target in {**definitions, **services}.items():
        [line] = said[name]
        assert (target.rpartition(":")[2] or "''") in line


def test_a_port_that_is_taken_is_named(place: Place, tmp_path: Path) -> None:
    with installed(place, tmp_path) as installation:
        first = installation.participants()
        installation.start()
        second = installation.participants(name="another", SAGA_HTTP_PORT=str(first.port))
        second.start()
        assert second.ended() in {BAD_CONFIGURATION, UNAVAILABLE}
        assert str(first.port) in second.log
        assert "Traceback" not in second.log


@contextmanager
def empty_database(postgres_url: str, place: Place) -> Iterator[str]:
    url = create_database(postgres_url, f"{place.namespace}-empty")
    yield url
    drop_database(postgres_url, url)
