"""Choreography: a service by name, the events it reacts to, and those that begin or end a saga."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Final, TypeVar

from messaging.errors import DefinitionError
from messaging.events import Ending
from participants.choreography.reactions import Reaction, ReactionFunction, reaction_of
from participants.inbox import Prepare
from participants.participant import checked_name

R = TypeVar("R", bound=ReactionFunction)
P = TypeVar("P", bound=Prepare)

QUIET_AFTER: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What is said of a saga when its first event is emitted, and carried on by all others."""

    saga_type: str
    quiet_after: timedelta


class Choreography:
    """A service that takes part by reacting to events: `Choreography("InventoryService")`.

    Raises DefinitionError, here and in the decorators, for what cannot work.
    """

    def __init__(self, name: str) -> None:
        self.name = checked_name("service", name)
        self._reactions: dict[str, Reaction] = {}
        self._beginnings: dict[str, Beginning] = {}
        self._endings: dict[str, Ending] = {}
        self._preparations: list[Prepare] = []

    def __repr__(self) -> str:
        return f"Choreography({self.name!r})"

    @property
    def reactions(self) -> Mapping[str, Reaction]:
        """By the event's type; each is a type that the service listens to."""
        return MappingProxyType(self._reactions)

    @property
    def beginnings(self) -> Mapping[str, Beginning]:
        return MappingProxyType(self._beginnings)

    @property
    def endings(self) -> Mapping[str, Ending]:
        return MappingProxyType(self._endings)

    @property
    def preparations(self) -> Sequence[Prepare]:
        return tuple(self._preparations)

    def on(self, event: str, *, fails: str | None = None) -> Callable[[R], R]:
        """Register the handler of an event. It returns an `Emit`, several of them, or None.

        `fails` is the event that says no: `raise StepFailed("card declined")` undoes what the
        handler has done and emits it, with the reason as `error`.
        """
        if fails is not None:
            checked_name("event", fails)
        return self._registering(event, fails=fails, undoes=None)

    def compensates(self, event: str, *, undoes: str | None = None) -> Callable[[R], R]:
        """Register what undoes, when `event` comes, this service's reaction to `undoes`.

        `undoes` may be left out where the service has one reaction. The handler is called even
        if nothing is to be undone, because others may wait for what it emits: then
        `context.original_result` is None. The event that comes late is refused.
        """
        return self._registering(event, fails=None, undoes=self._undone_by(event, undoes))

    def starts(
        self, event: str, *, saga_type: str, quiet_after: timedelta = QUIET_AFTER
    ) -> "Choreography":
        """Declare that this service begins sagas with `event`; `Starts` emits it.

        A saga without an end or progress for `quiet_after` is a case for a person.
        """
        if quiet_after < timedelta(seconds=1):
            raise DefinitionError(
                f"{event} of {self.name} has quiet_after={quiet_after}; give a second or more"
            )
        self._beginnings[checked_name("event", event)] = Beginning(
            saga_type=checked_name("saga type", saga_type), quiet_after=quiet_after
        )
        return self

    def ends(self, event: str, *, failed: bool = False) -> "Choreography":
        """Declare that a saga has ended when this service emits `event`."""
        ending = Ending.FAILED if failed else Ending.COMPLETED
        self._endings[checked_name("event", event)] = ending
        return self

    def prepare(self, function: P) -> P:
        """Register what creates the handlers' tables, as `Participant.prepare` does."""
        self._preparations.append(function)
        return function

    def _registering(
        self, event: str, *, fails: str | None, undoes: str | None
    ) -> Callable[[R], R]:
        checked_name("event", event)

        def register(function: R) -> R:
            if event in self._reactions:
                raise DefinitionError(
                    f"{self.name} has two handlers for {event!r}; every event has one"
                )
            self._reactions[event] = reaction_of(
                function, event=event, service=self.name, fails=fails, undoes=undoes
            )
            return function

        return register

    def _undone_by(self, event: str, undoes: str | None) -> str:
        known = [each.event for each in self._reactions.values() if each.undoes is None]
        if undoes is None and len(known) == 1:
            return known[0]
        if undoes in known:
            return str(undoes)
        reactions = ", ".join(known) or "none yet"
        raise DefinitionError(
            f"what does {event!r} undo in {self.name}? Write undoes= with one of its reactions,"
            f" which stand above it: {reactions}"
        )
