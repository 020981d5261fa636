"""What `saga participants verify` does, and what it prints."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from chassis.exit_codes import ExitCode
from chassis.settings import Settings, load
from messaging.errors import ConfigurationError
from messaging.rabbit_probe import probing
from messaging.topology import Names, TopologyMode
from orchestrator.cli.contract_work import handlers_of
from orchestrator.cli.output import Output, coloured, print_json, print_parts, text_of
from orchestrator.cli.topology_work import broker_url
from orchestrator.cli.wording import counted
from orchestrator.contracts.agreements import Agreement, agreements_of
from orchestrator.contracts.document import Contract, asyncapi
from orchestrator.contracts.handled import Handled
from orchestrator.contracts.interview import Examples, Interview, leave, settle_in, steps_of
from orchestrator.contracts.outlines import outlines_of
from orchestrator.contracts.verification import Finding, Level, is_kept, verified
from orchestrator.contracts.written import Document, agreements_in, read_contract, resolved
from orchestrator.registry import load_definitions
from participants.run import load_participants

_MARKS: Final = {Level.OK: "✓", Level.WARNING: "!", Level.PROBLEM: "✗"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be verified: modules or a running participant, against a file or definitions."""

    targets: tuple[str, ...]
    contract: Path | None
    sagas: tuple[str, ...]
    running: str | None
    examples: Path | None
    timeout: timedelta


async def perform_verify(wanted: Wanted, output: Output) -> int:
    findings = await _asked(wanted) if wanted.running else _looked_at(wanted)
    if output is Output.JSON:
        found = [_json(finding) for finding in findings]
        print_json({"is_kept": is_kept(findings), "findings": found})
    else:
        print_parts(_report(findings), Text(), _summary(findings))
    return ExitCode.DONE if is_kept(findings) else ExitCode.NOT_SO


def _looked_at(wanted: Wanted) -> Sequence[Finding]:
    handled = handlers_of(wanted.targets)
    names = [each.name for each in load_participants(wanted.targets)]
    return verified(_agreements(wanted, handled), handled, names)


def _agreements(wanted: Wanted, handled: Mapping[str, Handled]) -> tuple[Agreement, ...]:
    """Of the definitions without what the handlers accept: that is to be found out."""
    if wanted.contract is not None:
        return agreements_in(read_contract(wanted.contract))
    answering = {name: replace(each, model=None, accepts=None) for name, each in handled.items()}
    return agreements_of(outlines_of(load_definitions(wanted.sagas)), answering)


async def _asked(wanted: Wanted) -> Sequence[Finding]:
    settings = load(Settings)
    names, participant = Names(settings.namespace), wanted.running or ""
    document = _document(wanted, names)
    steps = steps_of(participant, document, _examples(wanted.examples))
    async with probing(broker_url(), names, "saga participants verify") as probe:
        is_declared = settings.topology is TopologyMode.DECLARE
        await settle_in(probe, names, participant, is_declared=is_declared)
        interview = Interview(probe, names, document, wanted.timeout)
        try:
            await interview.of_steps(steps)
        finally:
            await leave(probe, names)
    return interview.findings


def _document(wanted: Wanted, names: Names) -> Document:
    if wanted.contract is not None:
        return read_contract(wanted.contract)
    outlines = outlines_of(load_definitions(wanted.sagas))
    contract = Contract(outlines=outlines, agreements=agreements_of(outlines))
    return resolved(asyncapi(contract, names, release=""))


def _examples(path: Path | None) -> Examples:
    if path is None:
        return {}
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the examples {str(path)!r} cannot be read: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(each, dict) for each in found.values()):
        raise ConfigurationError(
            f'{str(path)!r} is no object of objects; write {{"Mail.Send": {{"order_id": "42"}}}}'
        )
    return found


def _json(finding: Finding) -> dict[str, Any]:
    return {
        "level": finding.level.value,
        "destination": finding.destination,
        "check": finding.check,
        "field": finding.field,
        "detail": finding.detail,
    }


def _report(findings: Sequence[Finding]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for is_fixed in (True, True, False):
        grid.add_column(no_wrap=is_fixed, overflow="fold")
    for finding in findings:
        mark = Text(_MARKS[finding.level], style=coloured(finding.level.value).style)
        told = f"{finding.check}: {finding.detail}"
        grid.add_row(mark, text_of(finding.destination), text_of(told))
    return grid


def _summary(findings: Sequence[Finding]) -> Text:
    problems = sum(finding.level is Level.PROBLEM for finding in findings)
    if problems:
        return Text(f"the contract is broken: {counted(problems, 'problem')}")
    return Text("the contract is kept")
