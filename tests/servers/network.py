"""Free ports, and whether a server answers in its own protocol."""

import random
import re
import socket
import ssl
import struct
import time
from collections.abc import Callable
from contextlib import ExitStack
from urllib.parse import urlsplit

# Below the kernel's ephemeral range: a client that reconnects to a stopped server must not be
# given the server's own port as its source port, or it would talk to itself and keep the port.
_PORTS = range(20_000, 32_000)
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_RABBIT_VERSION = re.compile(rb"\x07versionS\x00\x00\x00.([0-9][0-9A-Za-z.+-]*)", re.DOTALL)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on, all different."""
    with ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            candidate = held.enter_context(socket.socket())
            try:
                candidate.bind(("127.0.0.1", random.choice(_PORTS)))
            except OSError:
                continue
            ports.append(candidate.getsockname()[1])
        return ports


def held_port() -> socket.socket:
    """A socket that holds a port of 127.0.0.1 for a server that is to listen there, time and again.

    It is bound and never listens. Linux lets a server with SO_REUSEADDR, as nearly all have it,
    bind beside it; whoever looks for a free port meanwhile is not given this one.
    """
    holder = socket.socket()
    while True:
        try:
            holder.bind(("127.0.0.1", random.choice(_PORTS)))
        except OSError:
            continue
        # Only now: a port that somebody else holds in this way was to be refused.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return holder


def is_listening(port: int) -> bool:
    """Whether somebody accepts connections on that port of 127.0.0.1."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def rabbit_version(url: str) -> str | None:
    """The version that the AMQP server at `url` tells in its greeting, None without an answer."""
    address = urlsplit(url)
    secure = address.scheme == "amqps"
    port = address.port or (5671 if secure else 5672)
    try:
        plain = socket.create_connection((address.hostname or "localhost", port), timeout=5)
        with plain, _secured(plain, address.hostname) if secure else plain as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            greeting = connection.recv(4096)
    except OSError:
        return None
    if not greeting.startswith(b"\x01\x00\x00"):
        return None
    version = _RABBIT_VERSION.search(greeting)
    return version[1].decode() if version else "of an unknown version"


def postgres_answers(url: str) -> bool:
    """Whether a PostgreSQL server listens at `url`."""
    address = urlsplit(url)
    try:
        where = (address.hostname or "localhost", address.port or 5432)
        with socket.create_connection(where, timeout=5) as connection:
            connection.sendall(_SSL_REQUEST)
            return connection.recv(1) in (b"S", b"N")
    except OSError:
        return False


def wait_until(is_so: Callable[[], object], *, seconds: float) -> bool:
    """True as soon as `is_so()` is, False when it has not been for that long."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _secured(plain: socket.socket, host: str | None) -> ssl.SSLSocket:
    """TLS without verification: only to see whether somebody speaks AMQP behind it."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(plain, server_hostname=host)
