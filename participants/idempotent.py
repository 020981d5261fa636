"""A guard for steps outside of participants: done once for each key, repeated from memory.

The answer is stored in the caller's own transaction, with the step's own SQL.
"""

import functools
import inspect
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final, Literal, ParamSpec, TypeVar, cast, get_type_hints

from pydantic import BaseModel
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, scoped_session

from messaging.contract import MAX_RESULT_BYTES
from messaging.errors import DefinitionError, ProtocolError
from messaging.strict_json import check_value, dump
from participants.idempotent_keys import Key, check_template, checked_key, key_for
from participants.idempotent_table import Done, StepBusy, Which, hold, keep
from participants.inbox import RETENTION
from participants.outcome import StepFailed

__all__ = ["IdempotentStep", "StepBusy", "idempotent_step"]

P = ParamSpec("P")
R = TypeVar("R")
Work = Session | scoped_session[Session] | Connection
AsyncWork = AsyncSession | async_scoped_session[AsyncSession] | AsyncConnection
OnBusy = Literal["wait", "refuse"]

_SYNC: Final = (Session, scoped_session, Connection)
_ASYNC: Final = (AsyncSession, async_scoped_session, AsyncConnection)
_MAX_NAME: Final = 200


class IdempotentStep:
    """A step that is done once for each key, whoever asks how often.

    A repetition gets the stored result, within `ttl` (None: for ever). While one is under way a
    second one waits for the end of its transaction, or with `on_busy="refuse"` raises StepBusy
    at once. A definite `StepFailed` is kept as well and raised again, unless `keeps_failures` is
    false; any other error leaves nothing, and the next call tries again.

    `model`: what a result is restored to; without one, results are plain JSON values.
    """

    def __init__(
        self,
        name: str,
        *,
        ttl: timedelta | None = RETENTION,
        on_busy: OnBusy = "wait",
        keeps_failures: bool = True,
        model: type[BaseModel] | None = None,
    ) -> None:
        self.name = _checked_name(name)
        self._ttl = _checked_ttl(name, ttl)
        self._waits = _checked_on_busy(name, on_busy) == "wait"
        self._keeps_failures = keeps_failures
        self._model = model

    def run(self, work: Work, key: str, function: Callable[[], R]) -> R:
        """What `function` returns, or has returned. `work` is a Session or Connection.

        Its SQL is undone if it raises. Commit yourself: until then nothing is stored. Raises
        DefinitionError for a result that cannot be stored.
        """
        which = self._which(key)
        done = hold(_connection(work), which, waits=self._waits)
        if done is not None:
            return cast("R", self._repeated(done))
        try:
            with work.begin_nested():
                stored = self._stored(function())
        except StepFailed as failure:
            kept = self._failure(failure)
            if kept is not None:
                keep(_connection(work), which, kept, self._ttl)
            raise
        keep(_connection(work), which, stored, self._ttl)
        return cast("R", self._repeated(stored))

    async def run_async(self, work: AsyncWork, key: str, function: Callable[[], Awaitable[R]]) -> R:
        """`run` with an AsyncSession or AsyncConnection."""
        which = self._which(key)
        connection = await _async_connection(work)
        done = await connection.run_sync(hold, which, waits=self._waits)
        if done is not None:
            return cast("R", self._repeated(done))
        try:
            async with work.begin_nested():
                stored = self._stored(await function())
        except StepFailed as failure:
            kept = self._failure(failure)
            if kept is not None:
                await connection.run_sync(keep, which, kept, self._ttl)
            raise
        await connection.run_sync(keep, which, stored, self._ttl)
        return cast("R", self._repeated(stored))

    def _which(self, key: str) -> Which:
        return Which(self.name, checked_key(self.name, key))

    def _stored(self, result: object) -> Done:
        value = result.model_dump(mode="json") if isinstance(result, BaseModel) else result
        try:
            check_value(value)
            written = dump(value)
        except ProtocolError as error:
            raise DefinitionError(
                f"the result of {self.name} cannot be stored ({error.detail}); return a JSON value"
                " or a pydantic model"
            ) from error
        if len(written) > MAX_RESULT_BYTES:
            raise DefinitionError(
                f"the result of {self.name} has {len(written)} bytes of JSON, more than"
                f" {MAX_RESULT_BYTES}; return a reference to it"
            )
        return Done(result=written.decode())

    def _failure(self, failure: StepFailed) -> Done | None:
        """What is kept of it. What may be tried again is not."""
        is_kept = self._keeps_failures and not failure.retryable
        written = dump({"error": failure.error, "effect": failure.effect.value})
        return Done(error=written.decode()) if is_kept else None

    def _repeated(self, done: Done) -> object:
        if done.error is not None:
            raise StepFailed(**json.loads(done.error))
        value = json.loads(done.result or "null")
        return self._model.model_validate(value) if self._model and value is not None else value


def idempotent_step(
    name: str | None = None,
    *,
    key: Key | None = None,
    ttl: timedelta | None = RETENTION,
    on_busy: OnBusy = "wait",
    keeps_failures: bool = True,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Do a function once for each key: it has a Session or Connection among its arguments.

    `key` is made of the other arguments: `"order-{order_id}"`, a function of them, or without
    one a digest of them all, which then must be JSON. `name`: of the function, if not given; it
    stands in the table, so rename the function with it. A function that is annotated to return
    a pydantic model returns one. The rest is as for IdempotentStep.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        named = name or f"{function.__module__}.{function.__qualname__}"
        check_template(named, key, function)
        step = IdempotentStep(
            named,
            ttl=ttl,
            on_busy=on_busy,
            keeps_failures=keeps_failures,
            model=_model_of(function),
        )
        return cast("Callable[P, R]", _Guarded(step, function, key).wrapped())

    return decorate


class _Guarded:
    """A decorated function, called with whatever it is called with."""

    def __init__(self, step: IdempotentStep, function: Callable[..., Any], key: Key | None) -> None:
        self._step = step
        self._function = function
        self._key = key
        self._signature = inspect.signature(function)

    def wrapped(self) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(self._function):

            @functools.wraps(self._function)
            async def in_turn(*args: Any, **kwargs: Any) -> Any:
                return await self.call_async(args, kwargs)

            return in_turn

        @functools.wraps(self._function)
        def at_once(*args: Any, **kwargs: Any) -> Any:
            return self.call(args, kwargs)

        return at_once

    def call(self, args: Any, kwargs: Any) -> object:
        work, key = self._asked(args, kwargs, _SYNC)
        return self._step.run(work, key, lambda: self._function(*args, **kwargs))

    async def call_async(self, args: Any, kwargs: Any) -> object:
        work, key = self._asked(args, kwargs, _ASYNC)
        return await self._step.run_async(work, key, lambda: self._function(*args, **kwargs))

    def _asked(self, args: Any, kwargs: Any, kinds: tuple[type, ...]) -> tuple[Any, str]:
        """The session or connection among the arguments, and the key of the others."""
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        works = {name: each for name, each in bound.arguments.items() if isinstance(each, kinds)}
        if len(works) != 1:
            wanted = f"{kinds[0].__name__} or {kinds[-1].__name__}"
            raise TypeError(
                f"{self._step.name} was called with {len(works) or 'no'} {wanted} among its"
                " arguments; it needs one, in whose transaction it is done"
            )
        others = {name: each for name, each in bound.arguments.items() if name not in works}
        return next(iter(works.values())), key_for(self._step.name, self._key, others)


def _connection(work: Work) -> Connection:
    return work if isinstance(work, Connection) else work.connection()


async def _async_connection(work: AsyncWork) -> AsyncConnection:
    return work if isinstance(work, AsyncConnection) else await work.connection()


def _model_of(function: Callable[..., Any]) -> type[BaseModel] | None:
    """The pydantic model that the function is annotated to return."""
    try:
        annotation = get_type_hints(function).get("return")
    except (NameError, TypeError) as error:
        name = getattr(function, "__qualname__", "the step")
        raise DefinitionError(f"the annotations of {name} cannot be read: {error}") from error
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation if is_model else None


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not 1 <= len(name) <= _MAX_NAME:
        raise DefinitionError(f"{name!r} is no step's name; use 1 to {_MAX_NAME} characters")
    return name


def _checked_ttl(name: str, ttl: timedelta | None) -> timedelta | None:
    if ttl is not None and ttl <= timedelta(0):
        raise DefinitionError(f"{name}: ttl is {ttl!r}; use a timedelta above zero, or None")
    return ttl


def _checked_on_busy(name: str, on_busy: str) -> str:
    if on_busy not in {"wait", "refuse"}:
        raise DefinitionError(f'{name}: on_busy is {on_busy!r}; use "wait" or "refuse"')
    return on_busy
