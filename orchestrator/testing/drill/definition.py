"""Drill: what an author says of a saga that is to be drilled, beside its definition."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from messaging.errors import DefinitionError, SagaError
from messaging.limits import check_data
from orchestrator.definition import SagaOrchestrator
from participants.participant import Participant

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from participants.replies import Replies


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What `people` act on: the saga, the services' database, and answers given later."""

    saga_id: str
    has_ended: bool
    engine: "AsyncEngine"
    replies: "Replies"


Change = Callable[["AsyncConnection"], Awaitable[None]]
Ledger = Callable[["AsyncConnection", str], Awaitable[Mapping[str, int]]]
Audit = Callable[["AsyncEngine", Collection[str]], Awaitable[Sequence[str]]]
People = Callable[[Scene], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Something in the services' database for which a step says no by itself: an empty account."""

    put: Change
    remove: Change


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drill:
    """A saga, its services as they are, and how to read what they have done.

    `inputs` are the data of example sagas, by a name for each. `fill` writes what the services
    must have before the first saga, once their tables are there. `ledger` reads from the
    services' own books how many effects of a saga stand, done less undone, by step; a step of
    which it never says anything is not judged, and without a ledger what counts are the calls
    of handlers that were committed. `audit` gives a line for everything in the books that does
    not add up, once these sagas have completed and all others have failed. `people` do what
    people do, whenever nothing else moves the saga: answer what waits for them.

    A step of which `obstacles` has something says no for that reason, and could be carried out
    once it is removed; other steps are made to say no at the door of their handlers.

    Services that the saga names and that are not given are played by stand-ins. `is_guarded`
    False runs the handlers without the guard, as in a service that does not use our SDK.
    """

    saga: type[SagaOrchestrator] | SagaOrchestrator
    services: Sequence[Participant] = ()
    inputs: Mapping[str, Mapping[str, Any]]
    fill: Change | None = None
    ledger: Ledger | None = None
    audit: Audit | None = None
    people: People | None = None
    obstacles: Mapping[str, Obstacle] = field(default_factory=dict)
    is_guarded: bool = True

    def __post_init__(self) -> None:
        if not self.inputs:
            raise DefinitionError(
                f"the drill of {self.name} has no inputs; give it at least one saga's data, by name"
            )
        for data in self.inputs.values():
            check_data(data)

    @property
    def name(self) -> str:
        """The saga's type."""
        return self.saga.saga_type

    @asynccontextmanager
    async def asking(self, what: str) -> AsyncIterator[None]:
        """While its own `what` is at work. What that raises is the drill's fault, and says so."""
        try:
            yield
        except SagaError:
            raise
        except Exception as error:
            said = " ".join(str(error).split())
            raise DefinitionError(
                f"the {what} of the drill of {self.name} raised {type(error).__name__}: {said}"
            ) from error

    @property
    def definition(self) -> SagaOrchestrator:
        return self.saga() if isinstance(self.saga, type) else self.saga
