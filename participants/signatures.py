"""Handler functions: checked when they are registered, called with what they asked for."""

import asyncio
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError

from messaging.contract import Command, Direction
from messaging.errors import ConfigurationError, DefinitionError
from participants.context import Context
from participants.outcome import CommandRefused

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

HandlerFunction = Callable[[Any, Context], Any]

_KEPT_PROBLEMS: Final = 5
_REMEDY: Final = "write `async def {name}(command: Model, context: Context) -> Result | None`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """What executes one command of a participant."""

    name: str  # "ReserveItems"
    direction: Direction
    function: HandlerFunction
    model: type[BaseModel] | None  # None: the command's data as a plain dict
    is_external: bool
    is_batched: bool
    is_async: bool

    async def call(self, context: Context) -> object:
        """What the function returns. Raises what it raises, and CommandRefused."""
        argument = self._argument(context.command)
        if self.is_async:
            return await self.function(argument, context)
        in_thread = replace(context, open_session=self._no_session)
        return await asyncio.to_thread(self.function, argument, in_thread)

    def _argument(self, command: Command) -> BaseModel | dict[str, Any]:
        if self.model is None:
            return dict(command.data)
        try:  # as JSON, which is what came: strict models then still accept dates and ids
            return self.model.model_validate_json(json.dumps(_body(command)))
        except ValidationError as error:
            raise CommandRefused(f"{self.name} refused: {problems_of(error)}") from error

    def _no_session(self) -> "AsyncSession":
        raise ConfigurationError(
            f"{self.name} runs in a thread, where context.session cannot be used:"
            " make the handler `async def`"
        )


def handler_of(
    function: HandlerFunction,
    *,
    name: str,
    direction: Direction,
    is_external: bool,
    is_batched: bool,
) -> Handler:
    """The handler, or DefinitionError saying what is wrong with `function`."""
    model = model_of(name, function)
    is_async = inspect.iscoroutinefunction(function)
    if is_batched and (is_external or not is_async):
        why = "has effects outside" if is_external else "is no `async def`"
        raise DefinitionError(
            f"the handler of {name!r} {why}, and with batch=True the other commands of its"
            " batch would wait for it; leave batch=True out"
        )
    return Handler(
        name=name,
        direction=direction,
        function=function,
        model=model,
        is_external=is_external,
        is_batched=is_batched,
        is_async=is_async,
    )


def _body(command: Command) -> Mapping[str, Any]:
    """The command as it travels: the reserved keys are there for models that want them."""
    reserved = {"saga_id": command.saga_id, "step_name": command.step_name}
    if command.direction is Direction.ACTION:
        return {**command.data, **reserved}
    return {**command.data, **reserved, "original_result": command.original_result}


def problems_of(error: ValidationError, what: str = "command") -> str:
    """Where and why, without the values: they may be personal data."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    texts = [
        f"{'.'.join(str(part) for part in problem['loc']) or what}: {problem['msg']}"
        for problem in problems[:_KEPT_PROBLEMS]
    ]
    more = len(problems) - len(texts)
    return "; ".join([*texts, *([f"and {more} more"] if more else [])])


def model_of(
    name: str, function: Callable[..., Any], *, what: str = "command", remedy: str = _REMEDY
) -> type[BaseModel] | None:
    """The model that the first parameter's annotation asks for; None for a plain dict."""
    annotation = _annotation_of(name, function, what, remedy)
    if annotation in {dict, Mapping} or get_origin(annotation) in {dict, Mapping}:
        return None
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        raise DefinitionError(
            f"the handler of {name!r} annotates its {what} as {annotation!r};"
            " use a pydantic model or dict"
        )
    if annotation.model_config.get("extra") == "forbid":
        raise DefinitionError(
            f"the handler of {name!r} uses {annotation.__name__}, which forbids extra fields;"
            " a saga's data grow with every step, so drop extra='forbid'"
        )
    return annotation


def _annotation_of(name: str, function: Callable[..., Any], what: str, remedy: str) -> Any:
    remedy = remedy.format(name=getattr(function, "__name__", "handler"))
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise DefinitionError(f"the handler of {name!r} is no function; {remedy}") from error
    positional = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    if len(parameters) != 2 or any(each.kind not in positional for each in parameters):
        raise DefinitionError(
            f"the handler of {name!r} does not take exactly ({what}, context); {remedy}"
        )
    annotation = parameters[0].annotation
    if annotation is inspect.Parameter.empty:
        raise DefinitionError(f"the handler of {name!r} has no annotation of {what}; {remedy}")
    if not isinstance(annotation, str):
        return annotation
    try:
        return get_type_hints(function)[parameters[0].name]
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        raise DefinitionError(
            f"the annotation {annotation!r} of {name!r}'s {what} cannot be read: {error};"
            " define the model at the top of the module"
        ) from error
