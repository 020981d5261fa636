"""What `saga reconcile` does, and what it prints."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from rich.text import Text

from chassis.exit_codes import ExitCode
from orchestrator.cli.listing import Column, Listing
from orchestrator.cli.output import Output, print_json, print_line, print_parts, text_of
from orchestrator.cli.session import saga_database
from orchestrator.cli.wording import counted
from orchestrator.reconcile.findings import Finding
from orchestrator.reconcile.looking import look
from orchestrator.reconcile.repairing import judge, repair
from orchestrator.store.database import DatabaseStore

_COLUMNS: Final = (
    Column(title="SAGA"),
    Column(title="FOUND"),
    Column(title="STEP", dropped=1),
    Column(title="WHAT, AND WHAT TO DO", is_elastic=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be changed, by whom and why."""

    change: str | None  # "repair", "nothing-lost" or "all-in-doubt"; None: only look
    reason: str
    by: str


async def perform_reconcile(
    asked: Asked, inboxes: Sequence[str], since: timedelta, output: Output
) -> int:
    async with saga_database() as store:
        if asked.change in {"nothing-lost", "all-in-doubt"}:
            is_lost = asked.change == "all-in-doubt"
            judged = await judge(store, is_lost=is_lost, reason=asked.reason, by=asked.by)
            return _tell_judged(judged, is_lost=is_lost, output=output)
        findings = await look(store, inboxes, since)
        repaired = await _repaired(store, findings, asked)
    if output is Output.JSON:
        pairs = zip(findings, repaired, strict=True)
        told = [each.to_json(is_repaired=done) for each, done in pairs]
        print_json({"findings": told, "judged": None})
    else:
        print_parts(*_report(findings, repaired, has_inboxes=bool(inboxes)))
    return ExitCode.DONE if all(repaired) else ExitCode.NOT_SO


async def _repaired(
    store: DatabaseStore, findings: Sequence[Finding], asked: Asked
) -> Sequence[bool]:
    if asked.change is None:
        return [False] * len(findings)
    return [await repair(store, each, reason=asked.reason, by=asked.by) for each in findings]


def _tell_judged(count: int, *, is_lost: bool, output: Output) -> int:
    if output is Output.JSON:
        print_json({"findings": [], "judged": count})
    else:
        word = (
            "in doubt and turned back, or past their pivot go on" if is_lost else "in doubt no more"
        )
        print_line(f"{counted(count, 'saga')}: {word}")
    return ExitCode.DONE


def _report(
    findings: Sequence[Finding], repaired: Sequence[bool], *, has_inboxes: bool
) -> Sequence[Listing | Text]:
    unseen = "" if has_inboxes else "; inboxes were not looked at (--inbox)"
    if not findings:
        return [text_of(f"nothing was left behind{unseen}", "green")]
    rows = [
        (each.saga_id, each.kind.value, each.step, _told(each, is_repaired=done))
        for each, done in zip(findings, repaired, strict=True)
    ]
    safe = sum(each.is_safe for each in findings)
    left = len(findings) - sum(repaired)
    told = (
        f"{counted(len(findings), 'finding')}, {safe} of them safe to repair, {left} left{unseen}"
    )
    return [Listing(_COLUMNS, rows), Text(), text_of(told, "bold" if left else "green")]


def _told(finding: Finding, *, is_repaired: bool) -> Text:
    then = "repaired" if is_repaired else finding.remedy
    return text_of(f"{finding.detail} → {then}")
