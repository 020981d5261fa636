"""Starting, awaiting and cancelling sagas, and what is printed of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from chassis.exit_codes import ExitCode
from messaging.errors import NotFound
from orchestrator.cli.failures import say
from orchestrator.cli.output import Output, print_json, print_line
from orchestrator.cli.session import database_url, saga_database
from orchestrator.cli.wording import span
from orchestrator.client import SagaClient
from orchestrator.saga.state import SagaState
from orchestrator.store.database import DatabaseStore
from orchestrator.store.queries import show_saga, state_of

_MEANING = {
    SagaState.COMPENSATING: "what is done is compensated, in reverse order",
    SagaState.FAILED: "there was nothing to compensate",
}
_AWAITED = "nothing new is sent; what is under way is awaited, then all is compensated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What is to be started."""

    saga_type: str
    data: Mapping[str, Any]
    saga_id: str | None


async def perform_start(
    request: Start, *, is_awaited: bool, timeout: timedelta | None, output: Output
) -> int:
    async with saga_database() as store, SagaClient(database_url()) as client:
        saga_id = await client.start(request.saga_type, request.data, saga_id=request.saga_id)
        if output is Output.TABLE:
            print_line(saga_id)
        if is_awaited:
            return await _await(client, store, saga_id, timeout, output)
        if output is Output.JSON:
            print_json({"saga_id": saga_id, "state": await state_of(store, saga_id)})
        return ExitCode.DONE


async def perform_wait(saga_id: str, *, timeout: timedelta | None, output: Output) -> int:
    async with saga_database() as store, SagaClient(database_url()) as client:
        if await state_of(store, saga_id) is None:
            raise no_such_saga(saga_id)
        return await _await(client, store, saga_id, timeout, output)


async def perform_cancel(saga_id: str, *, reason: str, by: str, output: Output) -> int:
    async with saga_database() as store, SagaClient(database_url()) as client:
        if await state_of(store, saga_id) is None:
            raise no_such_saga(saga_id)
        state = await client.cancel(saga_id, reason=reason, by=by)
    if output is Output.JSON:
        print_json({"saga_id": saga_id, "state": state})
    else:
        print_line(f"saga {saga_id} is {state}: {_MEANING.get(SagaState(state), _AWAITED)}")
    return ExitCode.DONE


def no_such_saga(saga_id: str) -> NotFound:
    return NotFound(f"there is no saga {saga_id!r}; `saga list` shows those that there are")


async def _await(
    client: SagaClient,
    store: DatabaseStore,
    saga_id: str,
    timeout: timedelta | None,
    output: Output,
) -> int:
    """Print the state in which it ended; 3 unless that is `completed`."""
    has_ended = True
    try:
        seconds = timeout.total_seconds() if timeout is not None else None
        state = await client.wait(saga_id, timeout=seconds)
    except TimeoutError:
        has_ended = False
        state = await state_of(store, saga_id) or ""
    if output is Output.JSON:
        print_json({"saga_id": saga_id, "state": state, "has_ended": has_ended})
    else:
        print_line(state)
    if state == SagaState.COMPLETED:
        return ExitCode.DONE
    if not has_ended and timeout is not None:
        say(f"saga {saga_id} has not ended within {span(timeout)}; it goes on: saga show {saga_id}")
    else:
        await _tell_why(store, saga_id)
    return ExitCode.NOT_SO


async def _tell_why(store: DatabaseStore, saga_id: str) -> None:
    view = await show_saga(store, saga_id)
    failure = view.first_failure if view else None
    at = f" at {failure.step}" if failure and failure.step else ""
    why = f": {failure.error}" if failure else ""
    say(f"saga {saga_id} failed{at}{why}; see saga show {saga_id}")
