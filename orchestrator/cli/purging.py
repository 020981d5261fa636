"""What `saga db purge` does, and what it prints."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import typer

from chassis.durations import spoken
from chassis.exit_codes import ExitCode
from chassis.settings import OrchestratorSettings, load
from dlq_worker.purging import ALERTS, LETTERS, count_old_letters, old_letters
from dlq_worker.storable import storable_text
from messaging.errors import Refused
from orchestrator.cli.output import Output, print_json, print_line
from orchestrator.cli.session import saga_database
from orchestrator.cli.wording import counted
from orchestrator.saga.state import SagaState
from orchestrator.store.database import DatabaseStore
from orchestrator.store.purging import COUNTED, Purge, count_kept, count_old, old_sagas

_AT_A_TIME: Final = 500
_WORDS: Final = {
    SagaState.COMPLETED.value: "completed saga",
    SagaState.FAILED.value: "failed saga",
    LETTERS: "dead letter",
    ALERTS: "alert",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be deleted, by whom and why; None: as the settings say."""

    completed: timedelta | None
    failed: timedelta | None
    limit: int | None
    reason: str | None
    by: str
    is_dry_run: bool
    is_sure: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ages:
    """None: kept for ever."""

    completed: timedelta | None
    failed: timedelta | None

    def told(self) -> str:
        return (
            f"completed sagas are kept {_kept(self.completed)}, "
            f"failed ones and closed dead letters {_kept(self.failed)}"
        )

    def of_sagas(self) -> Mapping[SagaState, timedelta]:
        ages = {SagaState.COMPLETED: self.completed, SagaState.FAILED: self.failed}
        return {state: age for state, age in ages.items() if age is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What was, or would be, deleted."""

    counts: Mapping[str, int]
    kept: int  # sagas that are old enough
    lines: int | None = None
    is_all: bool = True


async def perform_purge(asked: Asked, output: Output) -> int:
    ages = _ages(asked)
    async with saga_database() as store:
        outcome = await _outcome(store, asked, ages)
    if output is Output.JSON:
        print_json(_as_json(asked, ages, outcome))
    else:
        for line in _lines(asked, ages, outcome):
            print_line(line)
    return ExitCode.DONE


async def _outcome(store: DatabaseStore, asked: Asked, ages: _Ages) -> _Outcome:
    kept = await count_kept(store, ages.of_sagas())
    if asked.is_dry_run:
        return _Outcome(counts=await _counts(store, ages), kept=kept)
    if not asked.is_sure:
        _ask(ages, await _counts(store, ages))
    old = [*old_sagas(completed=ages.completed, failed=ages.failed), *old_letters(ages.failed)]
    by, reason = storable_text(asked.by, 200), storable_text(asked.reason or "")
    purge = Purge(store, old, by=by, reason=reason)
    is_all = await _deleted(purge, asked.limit)
    return _Outcome(counts=purge.deleted, kept=kept, lines=purge.lines, is_all=is_all)


def _ages(asked: Asked) -> _Ages:
    settings = load(OrchestratorSettings)
    return _Ages(
        completed=asked.completed or settings.retention_completed,
        failed=asked.failed or settings.retention_failed,
    )


async def _counts(store: DatabaseStore, ages: _Ages) -> Mapping[str, int]:
    counts = {
        state.value: await count_old(store, state, age) for state, age in ages.of_sagas().items()
    }
    return counts | (await count_old_letters(store, ages.failed) if ages.failed else {})


async def _deleted(purge: Purge, limit: int | None) -> bool:
    """Whether nothing old is left."""
    left = sys.maxsize if limit is None else limit
    while left:
        if not await purge.some(min(left, _AT_A_TIME)):
            return True
        left = sys.maxsize if limit is None else limit - purge.deleted.total()
    return False


def _ask(ages: _Ages, counts: Mapping[str, int]) -> None:
    """Raises Refused unless somebody says yes."""
    if not sys.stdin.isatty():
        raise typer.BadParameter("it deletes for good: say --yes, or only look with --dry-run")
    sys.stderr.write(f"{ages.told()}\nDelete {_listed(counts)} for good? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise Refused("nothing is deleted: nobody said yes")


def _as_json(asked: Asked, ages: _Ages, outcome: _Outcome) -> Mapping[str, Any]:
    counts = outcome.counts
    return {
        "is_dry_run": asked.is_dry_run,
        "completed": counts.get(SagaState.COMPLETED.value, 0),
        "failed": counts.get(SagaState.FAILED.value, 0),
        "dead_letters": counts.get(LETTERS, 0),
        "alerts": counts.get(ALERTS, 0),
        "lines": outcome.lines,
        "kept": outcome.kept,
        "is_all": outcome.is_all,
        "completed_older_than": _seconds(ages.completed),
        "failed_older_than": _seconds(ages.failed),
    }


def _lines(asked: Asked, ages: _Ages, outcome: _Outcome) -> Iterator[str]:
    done = "would be deleted" if asked.is_dry_run else "deleted"
    yield f"{_listed(outcome.counts)} {done}; {ages.told()}"
    if outcome.kept:
        sagas = counted(outcome.kept, "old saga")
        yield f"{sagas} kept: dead letters or alerts of theirs are open"
    if not outcome.is_all:
        yield "there may be more: --limit is reached"


def _listed(counts: Mapping[str, int]) -> str:
    named = [
        f"at least {counted(count, word)}" if count == COUNTED else counted(count, word)
        for kind, word in _WORDS.items()
        if (count := counts.get(kind, 0))
    ]
    return ", ".join(named) or "nothing"


def _kept(age: timedelta | None) -> str:
    return "for ever" if age is None else spoken(age)


def _seconds(age: timedelta | None) -> float | None:
    return None if age is None else age.total_seconds()
