"""Reactions: handler functions of events, checked when registered, and what they answer."""

import asyncio
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ValidationError

from messaging.errors import ConfigurationError, DefinitionError, ProtocolError
from messaging.events import Event, SagaContext, event_id_for
from participants.signatures import model_of, problems_of

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


ReactionFunction = Callable[[Any, "EventContext"], Any]


@dataclass(frozen=True, slots=True)
class Emit:
    """An event to emit: `Emit("PaymentProcessed", {"payment": 17})`, or a model as its data."""

    type: str
    data: Mapping[str, Any] | BaseModel = field(default_factory=dict)

    @property
    def content(self) -> dict[str, Any]:
        """The data as JSON has them."""
        if isinstance(self.data, BaseModel):
            return self.data.model_dump(mode="json")
        return dict(self.data)


def _no_session() -> "AsyncSession":
    raise ConfigurationError(
        "context.session needs a database: set SAGA_INBOX_URL, for example to"
        " postgresql://user:password@host/database or sqlite:///inbox.sqlite"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EventContext:
    """What a handler may know of the event it reacts to, and the transaction it works in."""

    event: Event
    service: str
    original_results: tuple[Mapping[str, Any], ...] = ()
    """In a compensation: what this service has done for the saga and not undone, oldest first."""
    open_session: Callable[[], "AsyncSession"] = field(default=_no_session, repr=False)

    @property
    def saga(self) -> SagaContext:
        """What every event of the saga carries: its causes, when it began, its trace."""
        return self.event.saga

    @property
    def saga_id(self) -> str:
        return self.event.saga_id

    @property
    def saga_type(self) -> str:
        return self.event.saga.saga_type

    @property
    def data(self) -> Mapping[str, Any]:
        """All that the event carries, whatever the handler's model takes of it."""
        return self.event.data

    @property
    def original_result(self) -> Mapping[str, Any] | None:
        """In a compensation: the data that the reaction emitted or returned; None if nothing is
        there to be undone."""
        return self.original_results[-1] if self.original_results else None

    @property
    def idempotency_key(self) -> str:
        """The same whenever this service gets this event: hand it on to external services."""
        return event_id_for(self.event.event_id, self.service, "external call")

    @property
    def session(self) -> "AsyncSession":
        """SQL in the transaction of the guard: stored with the emitted events, or not at all.

        ConfigurationError without a SQL inbox, or in a handler that is not asynchronous.
        """
        return self.open_session()


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a handler has answered: events to emit, and what its compensation will be shown."""

    emits: tuple[Emit, ...] = ()
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """What a service does about one type of event."""

    event: str
    service: str
    function: ReactionFunction
    model: type[BaseModel] | None  # None: the event's data as a plain dict
    fails: str | None  # the event that says no
    undoes: str | None  # of a compensation: the event whose reaction it undoes
    is_async: bool

    async def call(self, context: EventContext) -> object:
        """What the function returns. Raises what it raises, and ProtocolError."""
        argument = self._argument(context.event)
        if self.is_async:
            return await self.function(argument, context)
        in_thread = replace(context, open_session=self._no_session)
        return await asyncio.to_thread(self.function, argument, in_thread)

    def _argument(self, event: Event) -> BaseModel | dict[str, Any]:
        if self.model is None:
            return dict(event.data)
        try:  # as JSON, which is what came: strict models then still accept dates and ids
            body = json.dumps({**event.data, "saga_id": event.saga_id})
            return self.model.model_validate_json(body)
        except ValidationError as error:
            detail = f"{self.service} refused {self.event}: {problems_of(error, 'event')}"
            raise ProtocolError("bad_event", detail) from error

    def _no_session(self) -> "AsyncSession":
        raise ConfigurationError(
            f"the handler of {self.event} runs in a thread, where context.session cannot be"
            " used: make it `async def`"
        )


_REMEDY: Final = "write `async def {name}(event: Model, context: EventContext) -> Emit | None`"


def reaction_of(
    function: ReactionFunction, *, event: str, service: str, fails: str | None, undoes: str | None
) -> Reaction:
    """The reaction, or DefinitionError saying what is wrong with `function`."""
    return Reaction(
        event=event,
        service=service,
        function=function,
        model=model_of(event, function, what="event", remedy=_REMEDY),
        fails=fails,
        undoes=undoes,
        is_async=inspect.iscoroutinefunction(function),
    )


def told_by(answer: object) -> Told:
    """What it means that a handler has returned `answer`. DefinitionError if it means nothing."""
    match answer:
        case None:
            return Told()
        case Emit():
            return Told(emits=(answer,), result=answer.content)
        case BaseModel():
            return Told(result=answer.model_dump(mode="json"))
        case Mapping():
            return Told(result=dict(answer))
        case Sequence() if all(isinstance(each, Emit) for each in answer):
            merged: dict[str, Any] = {}
            for each in answer:
                merged |= each.content
            return Told(emits=tuple(answer), result=merged)
        case _:
            kind = type(answer).__name__
            raise DefinitionError(
                f"the handler returned {kind}; return an Emit, a list of them, a dict or None"
            )
