"""URLs of brokers and databases: checked when they come in, masked when they are shown."""

import re
from typing import Final
from urllib.parse import SplitResult, parse_qs, urlsplit

_USERINFO: Final = re.compile(r"(?s)(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<user>[^:@/?#]*).*@")
_SECRET_QUERY: Final = re.compile(r"(?i)([?&](?:ssl)?(?:password|passwd|secret|token)=)[^&#]*")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_ENCODE: Final = "percent-encode : / @ ? # and % in user and password"
_POSTGRES: Final = frozenset({"postgresql", "postgres", "postgresql+psycopg"})
_SQLITE: Final = frozenset({"sqlite", "sqlite+aiosqlite"})


def masked(url: str) -> str:
    """`url` without its passwords, fit for logs and errors; rather too little than too much."""
    if "://" not in url:
        return "***" if "@" in url or "=" in url else url
    without = _USERINFO.sub(lambda found: f"{found['scheme']}{found['user']}:***@", url, count=1)
    return _SECRET_QUERY.sub(r"\1***", without)


def checked_amqp_url(url: str) -> str:
    """`url` itself if a broker can be reached by it, else ValueError with the remedy."""
    parts = _split(url)
    if parts.scheme == "memory":
        return url
    if parts.scheme not in {"amqp", "amqps"}:
        raise ValueError("must begin with amqp://, amqps:// or memory://")
    _check_host(parts)
    given = parse_qs(parts.query, keep_blank_values=True)
    query = {key.lower(): values[-1] for key, values in given.items()}
    _check_heartbeat(query.get("heartbeat"))
    if query.get("auth", "").lower() != "external" and not (parts.username and parts.password):
        # The client library would quietly log in as guest.
        raise ValueError("has no user or no password; write amqp://USER:PASSWORD@HOST:PORT/VHOST")
    return url


def checked_database_url(url: str) -> str:
    """`url` in its plain form (`postgresql://` or `sqlite:///`), else ValueError."""
    scheme, _, rest = url.partition("://")
    if scheme.lower() in _POSTGRES:
        _split(url)
        return f"postgresql://{rest}"
    if scheme.lower() not in _SQLITE:
        raise ValueError("must begin with postgresql:// or sqlite:///")
    if not rest.startswith("/") or rest == "/":
        raise ValueError("names no file; write sqlite:///FILE, four slashes for an absolute path")
    return f"sqlite://{rest}"


def checked_http_url(url: str) -> str:
    """`url` itself if it is one for HTTP, else ValueError."""
    parts = _split(url)
    if parts.scheme not in {"http", "https"}:
        raise ValueError("must begin with http:// or https://")
    _check_host(parts)
    return url


def is_in_clear(amqp_url: str) -> bool:
    """True if the password would travel unencrypted to another machine."""
    parts = urlsplit(amqp_url)
    return parts.scheme == "amqp" and parts.hostname not in _LOOPBACK


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:  # its text may show a password
        raise ValueError(f"is no URL; {_ENCODE}") from error


def _check_host(parts: SplitResult) -> None:
    try:
        port = parts.port
    except ValueError as error:  # its text may show a password
        raise ValueError(f"has no valid port; {_ENCODE}") from error
    if not parts.hostname or port == 0:
        raise ValueError("has no host or no valid port")


def _check_heartbeat(text: str | None) -> None:
    """The client library takes anything but an integer for 0: a dead peer would go unnoticed."""
    if text is not None and not (re.fullmatch(r"[0-9]{1,2}", text) and 5 <= int(text) <= 60):
        raise ValueError(f"has heartbeat={text[:20]}; write whole seconds from 5 to 60")
