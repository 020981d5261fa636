"""Participant: a service by name, and the handlers of its commands."""

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeVar

from messaging.contract import Direction
from messaging.errors import DefinitionError
from participants.inbox import Prepare
from participants.signatures import Handler, HandlerFunction, handler_of

H = TypeVar("H", bound=HandlerFunction)
P = TypeVar("P", bound=Prepare)

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")


class Participant:
    """A service that executes commands: `Participant("InventoryService")`.

    Raises DefinitionError, here and in the decorators, for what cannot work.
    """

    def __init__(self, name: str) -> None:
        self.name = checked_name("participant", name)
        self._handlers: dict[str, Handler] = {}
        self._preparations: list[Prepare] = []

    def __repr__(self) -> str:
        return f"Participant({self.name!r})"

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By the command's name."""
        return MappingProxyType(self._handlers)

    @property
    def preparations(self) -> Sequence[Prepare]:
        return tuple(self._preparations)

    @property
    def has_batches(self) -> bool:
        return any(each.is_batched for each in self._handlers.values())

    def action(self, name: str, *, external: bool = False, batch: bool = False) -> Callable[[H], H]:
        """Register the handler of an action.

        `external=True` for effects outside `context.session`, such as a call to a payment
        provider: the guard then notes that an attempt has begun before the handler runs, and
        whatever becomes of it, the compensation's handler is called to look.

        `batch=True` for handlers that await nothing but `context.session`: commands that have
        arrived together are handled in turn, in one transaction, and answered together. That
        costs a fraction; but the slowest holds up the others, the locks of all are held until
        the last has ended, and a handler may be called again after its effects were undone.
        """
        return self._registering(name, Direction.ACTION, is_external=external, is_batched=batch)

    def compensation(self, name: str, *, batch: bool = False) -> Callable[[H], H]:
        """Register the handler of a compensation. `raise NotFound` in it means already undone.

        `batch` as for actions.
        """
        return self._registering(name, Direction.COMPENSATION, is_external=False, is_batched=batch)

    def prepare(self, function: P) -> P:
        """Register what creates the handlers' tables: called with a connection at every start,
        once at a time across all processes. The participant then needs a SQL inbox."""
        self._preparations.append(function)
        return function

    def with_handlers(self, changed: Callable[[Handler], Handler]) -> "Participant":
        """The same service with other handlers: for tools that watch them, or make them fail."""
        other = Participant(self.name)
        other._handlers = {name: changed(each) for name, each in self._handlers.items()}
        other._preparations = list(self._preparations)
        return other

    def _registering(
        self, name: str, direction: Direction, *, is_external: bool, is_batched: bool
    ) -> Callable[[H], H]:
        checked_name("command", name)

        def register(function: H) -> H:
            if name in self._handlers:
                raise DefinitionError(
                    f"{self.name} has two handlers for {name!r}; every command has one"
                )
            try:
                self._handlers[name] = handler_of(
                    function,
                    name=name,
                    direction=direction,
                    is_external=is_external,
                    is_batched=is_batched,
                )
            except DefinitionError as error:
                raise DefinitionError(f"{self.name}: {error}") from error
            return function

        return register


def checked_name(kind: str, name: object) -> str:
    """`name`, or DefinitionError."""
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise DefinitionError(
            f"{name!r} is no {kind} name: a letter, then at most 99 letters, digits, _ or -"
        )
    return name
