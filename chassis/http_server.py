"""A small HTTP server in threads for probes and scrapers, which no client can block."""

import errno
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Final, cast

from messaging.errors import ConfigurationError

_MAX_CONNECTIONS: Final = 32
_PATIENCE: Final = 5.0  # seconds for a whole connection


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    content_type: str
    body: bytes


def json_answer(status: int, content: Mapping[str, object]) -> Answer:
    body = json.dumps(content).encode() + b"\n"
    return Answer(status, "application/json", body)


class HttpServer:
    """Serves GET and HEAD for a few paths; each answer is made from the `Accept` header."""

    def __init__(
        self, host: str, port: int, answers: Mapping[str, Callable[[str], Answer]]
    ) -> None:
        """Bind; raises ConfigurationError if the address is taken or not ours."""
        try:
            self._server = _Server(host, port, answers)
        except OSError as error:
            raise ConfigurationError(_bind_problem(host, port, error)) from error

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="http", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


def _bind_problem(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; set SAGA_HTTP_PORT to another one, or 0 for none"
    if error.errno == errno.EACCES:
        return f"port {port} needs privileges; set SAGA_HTTP_PORT to one above 1023"
    return f"cannot listen on {host} port {port}: {error}; see SAGA_HTTP_HOST and SAGA_HTTP_PORT"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128  # with the usual 5, a burst of probes waits for retransmissions

    def __init__(
        self, host: str, port: int, answers: Mapping[str, Callable[[str], Answer]]
    ) -> None:
        self.answers = answers
        self._open: deque[tuple[float, socket.socket]] = deque()  # oldest first
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's own asks the name server for our name
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.append((time.monotonic() + _PATIENCE, request))
        if len(self._open) > _MAX_CONNECTIONS:
            _hang_up(self._open.popleft()[1])
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Called by the accepting thread several times a second."""
        while self._open and self._open[0][0] < time.monotonic():
            _hang_up(self._open.popleft()[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away, or that we have hung up on, is no news."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _PATIENCE
    server_version = "countermand"
    sys_version = ""

    def do_GET(self) -> None:
        server = cast("_Server", self.server)
        answer = server.answers.get(self.path.partition("?")[0])
        if answer is None:
            self._refuse(404, f"there is only {', '.join(server.answers)}")
        else:
            self._send(answer(self.headers.get("Accept", "")))

    do_HEAD = do_GET  # noqa: N815  # named by http.server

    def _only_get(self) -> None:
        self._refuse(405, "only GET and HEAD")

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _only_get  # noqa: N815  # as above
    do_TRACE = do_CONNECT = _only_get  # noqa: N815  # as above

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        self._refuse(code, message or "bad request")

    def _refuse(self, status: int, problem: str) -> None:
        self._send(json_answer(status, {"problem": problem}))

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Connection", "close")
        if answer.status == 405:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name upstream
        """Probes come every second: nothing is logged."""


def _hang_up(connection: socket.socket) -> None:
    """End both directions: the thread that reads or writes it returns at once."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
