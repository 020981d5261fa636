"""Liveness, readiness and metrics over HTTP, from a thread: it answers when the loop hangs."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from chassis.http_server import Answer, HttpServer, json_answer
from chassis.version import version

Check = Callable[[], str | None]

_TICK: Final = 1.0
_HANGS_AFTER: Final = 10.0  # seconds without a tick of the event loop


class Health:
    """What a program says about itself. Checks run in the server's thread: quick and lock-free."""

    def __init__(self, name: str, registry: CollectorRegistry | None = None) -> None:
        self._name = name
        self._registry = registry
        self._checks: dict[str, Check] = {}
        self._ticked_at: float | None = None  # None: there is no event loop to watch

    def register(self, name: str, check: Check) -> None:
        """Add a condition of readiness: `check` returns None, or the reason why it is not met."""
        self._checks[name] = check

    @asynccontextmanager
    async def serving(self, host: str, port: int) -> AsyncIterator[None]:
        """Answer `/livez`, `/readyz` and `/metrics` meanwhile; port 0 means no server.

        Raises ConfigurationError if the address cannot be bound.
        """
        if port == 0:
            yield
            return
        ticking = asyncio.create_task(self._tick(), name="health")
        try:
            with HttpServer(host, port, self._answers()).running():
                yield
        finally:
            ticking.cancel()
            self._ticked_at = None

    def live(self) -> Answer:
        """503 when the event loop has not turned for 10 seconds: restart the program."""
        ticked_at = self._ticked_at
        silence = 0.0 if ticked_at is None else time.monotonic() - ticked_at
        if silence <= _HANGS_AFTER:
            return json_answer(200, {"status": "alive", **self._identity()})
        problem = f"the event loop has not turned for {silence:.0f} s"
        return json_answer(503, {"status": "hung", "problem": problem, **self._identity()})

    def ready(self) -> Answer:
        """503 with the reasons when something that the program needs is missing."""
        checks = self.failing()
        if not checks:
            return json_answer(200, {"status": "ready", **self._identity(), "failing": {}})
        return json_answer(503, {"status": "not ready", **self._identity(), "failing": checks})

    def failing(self) -> Mapping[str, str]:
        """The reasons, by check."""
        reasons = {name: _reason(check) for name, check in list(self._checks.items())}
        return {name: reason for name, reason in reasons.items() if reason is not None}

    def metrics(self, accept: str) -> Answer:
        """The registry in the exposition format that the scraper asks for."""
        encode, content_type = choose_encoder(accept)
        body = encode(self._registry) if self._registry is not None else b""
        return Answer(200, content_type, body)

    def _answers(self) -> Mapping[str, Callable[[str], Answer]]:
        return {
            "/livez": lambda accept: self.live(),
            "/readyz": lambda accept: self.ready(),
            "/metrics": self.metrics,
        }

    def _identity(self) -> Mapping[str, str]:
        return {"name": self._name, "version": version()}

    async def _tick(self) -> None:
        while True:
            self._ticked_at = time.monotonic()
            await asyncio.sleep(_TICK)


def _reason(check: Check) -> str | None:
    try:
        return check()
    except Exception as error:  # a broken check is a failing check
        return f"the check itself failed: {type(error).__name__}"
