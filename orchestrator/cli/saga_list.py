"""`saga list`: one line for each saga."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from chassis.exit_codes import ExitCode
from chassis.settings import OrchestratorSettings, load
from orchestrator.cli.listing import Column, Listing
from orchestrator.cli.output import Output, coloured, print_json, print_parts
from orchestrator.cli.session import database_time, saga_database
from orchestrator.cli.wording import ago
from orchestrator.store.queries import list_sagas
from orchestrator.store.views import SagaSummary

_COLUMNS: Final = (
    Column(title="saga id"),
    Column(title="type", dropped=2),
    Column(title="state"),
    Column(title="started", dropped=1),
    Column(title="moved", dropped=3),
    Column(title="why", is_elastic=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    state: str | None
    saga_type: str | None
    is_stuck: bool
    limit: int


async def perform_list(wanted: Wanted, output: Output) -> int:
    stuck_after = load(OrchestratorSettings).stuck_after if wanted.is_stuck else None
    async with saga_database() as store:
        sagas = await list_sagas(
            store,
            state=wanted.state,
            saga_type=wanted.saga_type,
            stuck_after=stuck_after,
            limit=wanted.limit,
        )
        now = await database_time(store)
    if output is Output.JSON:
        print_json([saga.to_json() for saga in sagas])
    elif sagas:
        print_sagas(sagas, now)
    else:
        print_parts("no sagas" if wanted == _anything(wanted.limit) else "no such sagas")
    return ExitCode.DONE


def print_sagas(sagas: Sequence[SagaSummary], now: datetime) -> None:
    rows = [
        (
            saga.saga_id,
            saga.saga_type,
            coloured(saga.state),
            ago(saga.created_at, now, units=1),
            ago(saga.updated_at, now, units=1),
            why(saga),
        )
        for saga in sagas
    ]
    print_parts(Listing(_COLUMNS, rows))


def why(saga: SagaSummary) -> str:
    """What there is to say beyond the state."""
    said = ["stuck"] if saga.is_stuck else []
    if saga.waits_for:
        said.append(f"waits for {saga.waits_for}")
    if saga.first_failure and saga.first_failure.step:
        said.append(f"{saga.first_failure.step}: {saga.first_failure.error}")
    elif saga.first_failure:
        said.append(saga.first_failure.error)
    elif saga.cancel_reason:
        said.append(saga.cancel_reason)
    return "; ".join(said)


def _anything(limit: int) -> Wanted:
    return Wanted(state=None, saga_type=None, is_stuck=False, limit=limit)
