"""What came of each cell, and of a whole drill."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from messaging.errors import DefinitionError
from orchestrator.testing.drill.faults import FAULTS, NOTHING
from orchestrator.testing.drill.judging import Breach, Rule, breaches_of
from orchestrator.testing.drill.matrix import Cell
from orchestrator.testing.drill.mistakes import Finding, Mistake, finding_of
from orchestrator.testing.drill.running import Run, run
from orchestrator.testing.drill.story import about, condensed
from orchestrator.testing.drill.workshop import Workshop


class Verdict(StrEnum):
    PASSED = "passed"
    BROKE = "broke"
    NOT_REACHED = "not reached"  # it never came to the fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One cell, judged."""

    cell: Cell
    verdict: Verdict
    breaches: Sequence[Breach] = ()
    finding: Finding | None = None
    story: Sequence[str] = ()  # the shortest that explains it

    def to_json(self) -> Mapping[str, Any]:
        finding = self.finding
        return {
            "saga_type": self.cell.drill.name,
            "example": self.cell.example,
            "step": self.cell.step,
            "fault": self.cell.fault.name,
            "told": self.cell.fault.told,
            "verdict": self.verdict.value,
            "mistake": finding.mistake.value.name if finding else None,
            "mistaken_step": finding.breach.step if finding else None,
            "cause": finding.mistake.value.cause if finding else None,
            "remedy": finding.mistake.value.remedy if finding else None,
            "broken": [
                {"rule": each.rule.value, "found": each.found, "step": each.step}
                for each in self.breaches
            ],
            "story": list(self.story),
        }


class Judge:
    """Runs cells one after the other in one workshop, and judges them.

    Of each example a run without any fault comes first: it shows of which steps the books
    speak.
    """

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._known: dict[tuple[int, str], frozenset[str]] = {}

    async def judged(self, cell: Cell) -> Result:
        """Raises DefinitionError for a drill that makes no sense."""
        known = await self._known_of(cell)
        return result_of(await run(cell, self._workshop), known)

    async def _known_of(self, cell: Cell) -> frozenset[str]:
        key = id(cell.drill), cell.example
        if key not in self._known:
            calm = Cell(
                drill=cell.drill, example=cell.example, plan=cell.plan, step=None, fault=NOTHING
            )
            self._known[key] = _known(await run(calm, self._workshop))
        return self._known[key]


def _known(run: Run) -> frozenset[str]:
    """The steps of which the books speak."""
    if not run.known and run.cell.drill.ledger is not None and run.error is None:
        name, example = run.cell.drill.name, run.cell.example
        raise DefinitionError(
            f"the ledger of {name} says nothing of any step when {example!r} is run without a"
            " fault; it has to give how many effects stand, by step"
        )
    return run.known


async def results_of(cells: Sequence[Cell]) -> AsyncIterator[Result]:
    """Each as soon as it is known."""
    async with Workshop() as workshop:
        judge = Judge(workshop)
        for cell in cells:
            yield await judge.judged(cell)


def result_of(run: Run, known: frozenset[str]) -> Result:
    """The run, judged by the rules. Pure."""
    breaches = breaches_of(run, known)
    finding = finding_of(run, breaches)
    if finding is not None:
        verdict = Verdict.BROKE
    else:
        is_reached = run.has_struck or run.cell.fault is NOTHING
        verdict = Verdict.PASSED if is_reached else Verdict.NOT_REACHED
    story = _story(run, finding) if finding else ()
    return Result(cell=run.cell, verdict=verdict, breaches=breaches, finding=finding, story=story)


def _story(run: Run, finding: Finding) -> Sequence[str]:
    """What happened to the step, then what is wrong with that, and what to do."""
    told = finding.mistake.value
    is_of_sums = finding.breach.rule is Rule.BALANCED
    step = run.cell.step if is_of_sums else finding.breach.step
    return [
        *condensed([each.told for each in about(run.events, step)]),
        f"the rule: {finding.breach.rule.value}; but {finding.breach.found}",
        f"likely cause: {told.name}: {told.cause}",
        f"remedy: {told.remedy}",
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One mistake of one step: the shortest story of it, and where else it shows."""

    step: str | None
    mistake: Mistake
    shortest: Result
    elsewhere: Sequence[Result]


def explained(results: Sequence[Result]) -> Sequence[Explained]:
    """Each mistake once, in the order in which they were found."""
    groups: dict[tuple[int, str | None, Mistake], list[Result]] = {}
    for result in results:
        if result.finding is not None:
            finding = result.finding
            key = id(result.cell.drill), finding.breach.step, finding.mistake
            groups.setdefault(key, []).append(result)
    return [
        Explained(
            step=step,
            mistake=mistake,
            shortest=(shortest := min(found, key=lambda each: len(each.story))),
            elsewhere=[each for each in found if each is not shortest],
        )
        for (_, step, mistake), found in groups.items()
    ]


_ORDER: Final = {fault.name: place for place, fault in enumerate(FAULTS)}


def in_order(names: set[str]) -> Sequence[str]:
    """Faults as they are tried."""
    return sorted(names, key=_ORDER.__getitem__)
