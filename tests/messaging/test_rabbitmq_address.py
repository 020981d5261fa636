"""The broker's URL: read once, checked, never shown with its password."""

import ssl
from pathlib import Path

import pytest
from aio_pika.connection import make_url

from messaging.errors import ConfigurationError
from messaging.rabbit_url import parse_address, without_password


@pytest.mark.parametrize(
    ("url", "vhost"),
    [
        ("amqp://u:p@host", "/"),
        ("amqp://u:p@host/", "/"),
        ("amqp://u:p@host/%2F", "/"),
        ("amqp://u:p@host/saga", "saga"),
        ("amqp://u:p@host/team%2Fsaga", "team/saga"),
        ("amqp://u:p@host/50%25", "50%"),
    ],
)
def test_the_vhost_is_percent_decoded(url: str, vhost: str) -> None:
    assert parse_address(url).vhost == vhost


@pytest.mark.parametrize("password", ["p@ss", "a:b/c?d#e", "100%", "ü+ &=", "%2F"])
def test_any_password_reaches_the_library_as_it_is(password: str) -> None:
    from urllib.parse import quote

    address = parse_address(f"amqp://us%40er:{quote(password, safe='')}@host:5673/v")
    arguments = address.connect_arguments()
    url = make_url(**{key: arguments[key] for key in ("host", "port", "login", "password")})
    assert (url.user, url.password, url.host, url.port) == ("us@er", password, "host", 5673)
    assert password not in repr(address)
    assert password not in str(address)


def test_ports_follow_the_scheme() -> None:
    assert parse_address("amqp://u:p@host").port == 5672
    assert parse_address("amqps://u:p@host").port == 5671
    assert parse_address("amqps://u:p@[::1]:5999").host == "::1"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("amqp://host", "the user or the password is empty"),
        ("amqp://:hunter2@host", "the user or the password is empty"),
        ("amqp://user:@host", "the user or the password is empty"),
        ("amqp://user:hunter2@", "the host or the port is missing"),
        ("amqp://user:hunter2@host:0", "the host or the port is missing"),
        ("amqp://user:hunter2@host:many", "the host or the port is malformed"),
        ("amqp://user:hunter2@[::1/v", "the host or the port is malformed"),
        ("amqp://user:hunter2@host#v", "it contains a '#'"),
        ("http://user:hunter2@host", "the scheme is neither amqp nor amqps"),
        ("amqps://user:hunter2@host?no_verify_ssl=1", "no_verify_ssl is not one of the options"),
        ("amqps://user:hunter2@host?auth=magic", "auth=magic is neither plain nor external"),
        ("amqp://user:hunter2@host?cafile=ca.pem", "certificates need amqps://"),
        ("amqp://user:hunter2@host?heartbeat=10.5", "heartbeat=10.5 is not a whole number"),
        ("amqp://user:hunter2@host?heartbeat=0", "heartbeat=0 is not a whole number"),
    ],
)
def test_a_bad_url_is_refused_without_telling_the_password(url: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        parse_address(url)
    assert problem in str(refusal.value)
    assert "write SAGA_AMQP_URL as amqp://user:password@host" in str(refusal.value)
    assert "hunter2" not in str(refusal.value)
    assert refusal.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("amqp://user:secret@host/v", "amqp://***@host/v"),
        ("amqp://user:se@cret@host/v", "amqp://***@host/v"),
        ("amqp://host/v", "amqp://host/v"),
        ("user:secret@host", "***"),
        ("nonsense", "nonsense"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_the_certificate_can_be_the_login() -> None:
    address = parse_address("amqps://host?auth=external")
    assert address.is_external
    assert address.user_id is None
    assert address.connect_arguments()["auth"] == "external"


def test_tls_verifies_the_server_and_its_name() -> None:
    context = parse_address("amqps://u:p@host").connect_arguments()["ssl_context"]
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert parse_address("amqp://u:p@host").connect_arguments()["ssl_context"] is None


def test_a_certificate_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "ca.pem"
    address = parse_address(f"amqps://u:p@host?cafile={missing}")
    with pytest.raises(ConfigurationError, match=r"ca\.pem.*name PEM files"):
        address.connect_arguments()
