"""What `saga definitions compat` does, and what it prints."""

from collections.abc import Sequence
from typing import Any, Final

from rich.text import Text

from chassis.exit_codes import ExitCode
from orchestrator.cli.listing import Column, Listing
from orchestrator.cli.output import Output, coloured, print_json, print_parts
from orchestrator.cli.session import saga_database
from orchestrator.cli.wording import counted
from orchestrator.contracts.compatibility import Census, Finding, Release
from orchestrator.contracts.handled import handled_by
from orchestrator.registry import load_definitions
from orchestrator.store.queries import open_sagas
from participants.run import load_participants

_COLUMNS: Final = (
    Column(title=""),
    Column(title="type"),
    Column(title="step"),
    Column(title="sagas", is_number=True),
    Column(title="such as", dropped=1),
    Column(title="what", is_elastic=True),
)


async def perform_compat(
    modules: Sequence[str],
    participants: Sequence[str] | None,
    elsewhere: Sequence[str],
    output: Output,
) -> int:
    census = Census(_release(modules, participants, elsewhere))
    async with saga_database() as store:
        async for saga_id, saga in open_sagas(store):
            if saga is None:
                census.add_unreadable(saga_id)
            else:
                census.add(saga)
    findings = census.findings()
    if output is Output.JSON:
        print_json(_as_json(census, findings))
    else:
        _print(census, findings)
    is_compatible = not any(each.point.strands for each in findings)
    return ExitCode.DONE if is_compatible else ExitCode.NOT_SO


def _release(
    modules: Sequence[str], participants: Sequence[str] | None, elsewhere: Sequence[str]
) -> Release:
    registry = load_definitions(modules)
    if not participants:
        return Release(registry=registry, handled=None)
    services = load_participants(participants)
    return Release(
        registry=registry,
        handled=handled_by(services),
        participants=frozenset(each.name for each in services),
        elsewhere=frozenset(elsewhere),
    )


def _as_json(census: Census, findings: Sequence[Finding]) -> dict[str, Any]:
    return {
        "is_compatible": not any(each.point.strands for each in findings),
        "sagas": census.sagas,
        "stranded": census.stranded,
        "findings": [
            {
                "kind": each.point.kind.value,
                "strands": each.point.strands,
                "saga_type": each.point.saga_type,
                "step_name": each.point.step_name,
                "destination": each.point.destination,
                "field": each.point.field,
                "detail": each.point.detail,
                "sagas": each.sagas,
                "examples": list(each.examples),
            }
            for each in findings
        ],
    }


def _print(census: Census, findings: Sequence[Finding]) -> None:
    if findings:
        print_parts(Listing(_COLUMNS, [_row(each) for each in findings]), Text())
    in_flight = counted(census.sagas, "saga") + " in flight"
    if any(each.point.strands for each in findings):
        print_parts(f"{in_flight}, {census.stranded} would be stranded; do not deploy this")
    else:
        print_parts(f"{in_flight}, all of them can go on with the plans that they have")


def _row(finding: Finding) -> tuple[str | Text | None, ...]:
    point = finding.point
    where = f"{point.destination}: " if point.destination else ""
    return (
        coloured("problem" if point.strands else "ok"),
        point.saga_type,
        point.step_name,
        str(finding.sagas),
        finding.examples[0],
        f"{where}{point.detail}",
    )
