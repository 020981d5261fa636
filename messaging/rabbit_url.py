"""The broker's URL, parsed once, checked, and never printed with its password."""

import re
import ssl
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from messaging.errors import ConfigurationError

_PORTS: Final = {"amqp": 5672, "amqps": 5671}
_KNOWN: Final = ("auth", "cafile", "capath", "certfile", "keyfile", "heartbeat")
_REMEDY: Final = (
    "write SAGA_AMQP_URL as amqp://user:password@host:5672/vhost, "
    "with special characters percent-encoded"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RabbitAddress:
    """Where the broker is and who we are there."""

    host: str
    port: int
    login: str
    password: str = field(repr=False)
    vhost: str = "/"
    is_tls: bool = False
    is_external: bool = False  # SASL EXTERNAL: the client certificate is the login
    cafile: str | None = None
    capath: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    heartbeat: int = 10

    def __str__(self) -> str:
        scheme = "amqps" if self.is_tls else "amqp"
        return f"{scheme}://{self.host}:{self.port} (vhost {self.vhost!r})"

    @property
    def user_id(self) -> str | None:
        """The login name, for the broker to validate; None if only the certificate knows it."""
        return self.login or None

    def connect_arguments(self) -> dict[str, Any]:
        """Keyword arguments of `aio_pika.connect`."""
        auth = {"auth": "external"} if self.is_external else {}
        return {
            "host": self.host,
            "port": self.port,
            "login": self.login,
            "password": self.password,
            "virtualhost": self.vhost,
            "ssl": self.is_tls,
            "ssl_context": self.ssl_context() if self.is_tls else None,
            "heartbeat": self.heartbeat,
            **auth,
        }

    def ssl_context(self) -> ssl.SSLContext:
        """Verifies the server and its name; carries the client certificate if there is one."""
        try:
            context = ssl.create_default_context(cafile=self.cafile, capath=self.capath)
            if self.certfile:
                context.load_cert_chain(self.certfile, self.keyfile)
        except OSError as error:  # ssl.SSLError is one
            named = (self.cafile, self.capath, self.certfile, self.keyfile)
            files = ", ".join(name for name in named if name)
            raise ConfigurationError(
                f"the certificates that SAGA_AMQP_URL names ({files}) cannot be loaded: {error}; "
                "name PEM files that this program may read"
            ) from error
        return context


def parse_address(url: str) -> RabbitAddress:
    """The address that `url` names, or a ConfigurationError that tells what to write."""
    parts = _split(url)
    options = _options(url, parts)
    is_external = options.get("auth", "plain") == "external"
    login, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not is_external and not (login and password):
        _reject(url, "the user or the password is empty")
    return RabbitAddress(
        host=unquote(parts.hostname or ""),
        port=parts.port or _PORTS[parts.scheme],
        login=login,
        password=password,
        vhost=unquote(parts.path[1:]) or "/",
        is_tls=parts.scheme == "amqps",
        is_external=is_external,
        cafile=options.get("cafile"),
        capath=options.get("capath"),
        certfile=options.get("certfile"),
        keyfile=options.get("keyfile"),
        heartbeat=_heartbeat(url, options.get("heartbeat", "10")),
    )


def without_password(url: str) -> str:
    """`url` for messages and logs: whatever stands before the last `@` is left out."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "***" if "@" in url else url
    _, at, place = rest.rpartition("@")
    return f"{scheme}://***@{place}" if at else url


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port_is_good = parts.port != 0
    except ValueError:
        _reject(url, "the host or the port is malformed")
    if parts.scheme not in _PORTS:
        _reject(url, "the scheme is neither amqp nor amqps")
    if not parts.hostname or not port_is_good:
        _reject(url, "the host or the port is missing")
    if parts.fragment:
        _reject(url, "it contains a '#'")
    return parts


def _options(url: str, parts: SplitResult) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(set(options) - set(_KNOWN)):
        _reject(url, f"{', '.join(unknown)} is not one of the options {', '.join(_KNOWN)}")
    if options.get("auth", "plain") not in {"plain", "external"}:
        _reject(url, f"auth={options['auth']} is neither plain nor external")
    if parts.scheme == "amqp" and set(options) - {"heartbeat", "auth"}:
        _reject(url, "certificates need amqps://")
    return options


def _heartbeat(url: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,2}", text) or not 1 <= int(text) <= 60:
        _reject(url, f"heartbeat={text[:20]} is not a whole number of seconds from 1 to 60")
    return int(text)


def _reject(url: str, problem: str) -> NoReturn:
    # `from None`: the errors of urllib quote the URL, password and all.
    raise ConfigurationError(
        f"the broker URL {without_password(url)!r} cannot be used: {problem}; {_REMEDY}"
    ) from None
