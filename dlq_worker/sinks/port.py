"""What the worker needs of a sink."""

from typing import Protocol

from dlq_worker.notices import Notice
from messaging.errors import SagaError


class SinkFailed(SagaError):
    """A notice could not be sent. `is_final`: the receiver does not want it as it is."""

    def __init__(self, problem: str, *, is_final: bool = False) -> None:
        super().__init__(problem)
        self.is_final = is_final


class Sink(Protocol):
    """A receiver of notices. Called for one notice at a time."""

    @property
    def name(self) -> str:
        """The same after a restart, and different from every other sink's; no secret in it."""
        ...

    async def send(self, notice: Notice) -> None:
        """Return when the receiver has taken it. Raises SinkFailed.

        After a crash a notice may be sent twice, with the same `id`. The caller sets the
        deadline; being cancelled must not block.
        """
        ...
