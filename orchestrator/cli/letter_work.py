"""What the commands about dead letters do, and what they print of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chassis.exit_codes import ExitCode
from dlq_worker import listing, operations
from dlq_worker.listing import LetterFilter
from dlq_worker.operations import Done
from dlq_worker.statuses import UNCLOSED, Status
from orchestrator.cli.letters import group_listing, letter_listing, letter_parts
from orchestrator.cli.output import Output, print_json, print_line, print_parts
from orchestrator.cli.session import database_time, saga_database


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """The letters that are asked for; None: any."""

    status: Status | None = None
    closed_too: bool = False
    reason: str | None = None
    saga_id: str | None = None
    saga_type: str | None = None
    step: str | None = None
    cause: str | None = None

    def as_filter(self) -> LetterFilter:
        return LetterFilter(
            statuses=self._statuses(),
            reason=self.reason,
            saga_id=self.saga_id,
            saga_type=self.saga_type,
            step_name=self.step,
            signature=self.cause,
        )

    def _statuses(self) -> frozenset[Status] | None:
        if self.status is not None:
            return frozenset({self.status})
        return None if self.closed_too else UNCLOSED


async def perform_list(which: Which, limit: int, output: Output) -> int:
    async with saga_database() as store:
        letters = await listing.list_letters(store, which.as_filter(), limit=limit)
        now = await database_time(store)
    if output is Output.JSON:
        print_json([letter.to_json() for letter in letters])
    else:
        print_parts(letter_listing(letters, now) if letters else _none(which))
    return ExitCode.DONE


async def perform_groups(which: Which, limit: int, output: Output) -> int:
    async with saga_database() as store:
        groups = await listing.list_groups(store, which.as_filter(), limit=limit)
        now = await database_time(store)
    if output is Output.JSON:
        print_json([group.to_json() for group in groups])
    else:
        print_parts(group_listing(groups, now) if groups else _none(which))
    return ExitCode.DONE


async def perform_show(letter_id: int, output: Output) -> int:
    async with saga_database() as store:
        details = await listing.show_letter(store, letter_id)
        now = await database_time(store)
    if output is Output.JSON:
        print_json(details.to_json())
    else:
        print_parts(*letter_parts(details, now))
    return ExitCode.DONE


async def perform_ack(letter_id: int, *, by: str, output: Output) -> int:
    async with saga_database() as store:
        return _tell([await operations.acknowledge(store, letter_id, by=by)], output)


async def perform_retry(letter_ids: Sequence[int], *, reason: str, by: str, output: Output) -> int:
    async with saga_database() as store:
        return _tell(await operations.retry(store, letter_ids, reason=reason, by=by), output)


async def perform_resolve(
    letter_id: int, *, reason: str, by: str, result: Mapping[str, Any] | None, output: Output
) -> int:
    async with saga_database() as store:
        done = await operations.resolve(store, letter_id, reason=reason, by=by, result=result)
    return _tell([done], output)


async def perform_discard(letter_id: int, *, reason: str, by: str, output: Output) -> int:
    async with saga_database() as store:
        return _tell([await operations.discard(store, letter_id, reason=reason, by=by)], output)


def _tell(done: Sequence[Done], output: Output) -> int:
    if output is Output.JSON:
        print_json([{"id": each.letter_id, "message": each.message} for each in done])
    else:
        for each in done:
            print_line(f"{each.letter_id}: {each.message}")
    return ExitCode.DONE


def _none(which: Which) -> str:
    return "no open dead letters" if which == Which() else "no such dead letters"
