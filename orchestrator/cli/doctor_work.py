"""All checks of `saga doctor`, and its report."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.table import Table
from rich.text import Text

from messaging.errors import SagaError
from messaging.topology import Names
from orchestrator.cli.checkup.broker import look_at_broker
from orchestrator.cli.checkup.configuration import inbox_url, look_at_settings
from orchestrator.cli.checkup.database import look_at_database
from orchestrator.cli.checkup.finding import Finding, Level, exit_code, problem_of
from orchestrator.cli.checkup.inbox import look_at_inbox
from orchestrator.cli.output import Output, coloured, print_json, print_parts, text_of
from orchestrator.cli.topology_work import Installed, installed
from orchestrator.cli.wording import counted

_DEFINITIONS: Final = "definitions"
_MARKS: Final = {Level.OK: "✓", Level.WARNING: "!", Level.PROBLEM: "✗"}


async def perform_doctor(modules: Sequence[str], output: Output) -> int:
    findings = await examine(modules)
    code = exit_code(findings)
    if output is Output.JSON:
        is_healthy = all(finding.level is not Level.PROBLEM for finding in findings)
        checks = [finding.to_json() for finding in findings]
        print_json({"is_healthy": is_healthy, "checks": checks})
    else:
        print_parts(_report(findings), Text(), _summary(findings))
    return code


async def examine(modules: Sequence[str]) -> list[Finding]:
    """Everything that can be looked at; what one check needs of another, it gets."""
    settings, findings = look_at_settings()
    if settings is None:
        return findings
    names = Names(settings.namespace)
    known = Installed(names=names)
    try:
        known = installed(modules, names)
    except SagaError as error:
        findings.append(problem_of(_DEFINITIONS, error, "name a module that can be imported"))
    findings += await look_at_broker(settings, sorted(known.participants), known.topology)
    inbox = inbox_url()
    if inbox is not None:
        findings += await look_at_inbox(inbox)
    if inbox is None or settings.database_url is not None:
        findings += await look_at_database(settings)
    return findings


def _report(findings: Sequence[Finding]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for finding in findings:
        for row in _rows(finding):
            grid.add_row(*row)
    return grid


def _rows(finding: Finding) -> Iterator[tuple[Text, Text, Text]]:
    mark = Text(_MARKS[finding.level], style=coloured(finding.level.value).style)
    yield mark, text_of(finding.check), text_of(finding.detail)
    if finding.remedy:
        yield Text(), Text(), text_of(f"→ {finding.remedy}", "bold")


def _summary(findings: Sequence[Finding]) -> Text:
    problems = sum(finding.level is Level.PROBLEM for finding in findings)
    warnings = sum(finding.level is Level.WARNING for finding in findings)
    noticed = f", {counted(warnings, 'warning')}" if warnings else ""
    if problems:
        return text_of(f"{counted(problems, 'problem')}{noticed}", "bold red")
    return text_of(f"programs can work with this{noticed}", "green")
