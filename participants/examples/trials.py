"""What the order example does on request, to show how a saga takes it: fail, or take its time."""

import asyncio
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from messaging.contract import Direction
from participants import Context, StepFailed

Seconds = Annotated[float, Field(ge=0, le=86_400)]


class Trial(BaseModel):
    """The keys of a saga's data that ask for trouble."""

    fail_at: str | None = None
    """This step answers with a definite failure."""
    fail_compensation: dict[str, int] = {}
    """The compensation of a step fails so many times; -1: always."""
    delay: dict[str, Seconds] = {}
    """The action of a step takes so many seconds."""


async def undergo(context: Context) -> None:
    """Wait, and fail, as the saga's data ask this step to."""
    step = context.step_name
    trial = _trial(context)
    if context.direction is Direction.COMPENSATION:
        failures = trial.fail_compensation.get(step, 0)
        if failures < 0 or context.attempt <= failures:
            raise StepFailed(f"{step}: its compensation was asked to fail")
        return
    if trial.delay.get(step):
        await asyncio.sleep(trial.delay[step])
    if trial.fail_at == step:
        raise StepFailed(f"{step} was asked to fail")


def _trial(context: Context) -> Trial:
    try:
        return Trial.model_validate(dict(context.data))
    except ValidationError as error:
        if context.direction is Direction.COMPENSATION:
            return Trial()  # its action has been refused for it
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise StepFailed(f"the trial key {where!r} is wrong: {problem['msg']}") from error
