"""What a handler may know of the command it executes, and the transaction it works in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from messaging.contract import Command, Direction
from messaging.errors import ConfigurationError
from participants.outcome import LATER, LaterType

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


def _no_session() -> "AsyncSession":
    raise ConfigurationError(
        "context.session needs a database: set SAGA_INBOX_URL, for example to"
        " postgresql://user:password@host/database or sqlite:///inbox.sqlite"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One execution of one command."""

    command: Command
    open_session: Callable[[], "AsyncSession"] = field(default=_no_session, repr=False)

    @property
    def saga_id(self) -> str:
        return self.command.saga_id

    @property
    def saga_type(self) -> str:
        return self.command.saga_type

    @property
    def step_name(self) -> str:
        return self.command.step_name

    @property
    def direction(self) -> Direction:
        return self.command.direction

    @property
    def attempt(self) -> int:
        """1 or more; the orchestrator counts."""
        return self.command.attempt

    @property
    def command_id(self) -> str:
        return self.command.command_id

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt and redelivery: hand it on to external services."""
        return self.command.command_id

    @property
    def deadline(self) -> datetime | None:
        """When the orchestrator stops waiting. Advisory."""
        return self.command.deadline

    @property
    def data(self) -> Mapping[str, Any]:
        """All that the command carries, whatever the handler's model takes of it."""
        return self.command.data

    @property
    def original_result(self) -> Mapping[str, Any] | None:
        """In a compensation: the action's result, None if it is not known."""
        return self.command.original_result

    @property
    def traceparent(self) -> str | None:
        return self.command.traceparent

    @property
    def session(self) -> "AsyncSession":
        """SQL in the transaction of the guard: it is stored with the reply, or not at all.

        ConfigurationError without a SQL inbox, or in a handler that is not asynchronous.
        """
        return self.open_session()

    def later(self) -> LaterType:
        """`return context.later()`: the answer is given hours after, through `Replies`."""
        return LATER
