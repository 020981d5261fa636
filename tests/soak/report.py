"""What a soak has shown: as lines for people, as a page's table, and as JSON."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from tests.soak.checker import Finding
from tests.soak.flatness import FEWEST_SAGAS, Measure, within
from tests.soak.run import Soak
from tests.soak.samples import Sample

MEBI = 2**20


def failures(soak: Soak) -> Iterator[str]:
    """Nothing, if everything is as it must be."""
    for finding in soak.verdict.findings:
        yield f"{finding.question}: {finding.count}, for example {'; '.join(finding.examples[:3])}"
    yield from soak.problems
    if soak.after != soak.before:
        yield f"connected otherwise than at the beginning: {soak.before} then {soak.after}"
    if is_judged(soak):
        yield from (
            f"not flat: {_told(measure)}" for measure in soak.measures if not measure.is_flat
        )


def is_judged(soak: Soak) -> bool:
    """Whether it was long enough to speak of growth."""
    return soak.wanted.sagas >= FEWEST_SAGAS


def counts(soak: Soak) -> Mapping[str, int]:
    verdict = soak.verdict
    return {
        "sagas": verdict.sagas,
        "ended": verdict.ended,
        "waiting": verdict.waiting,
        "faults": len(soak.played),
        "lost": _number(verdict.lost),
        "doubled": _number(verdict.doubled),
        "stuck": _number(verdict.stuck),
        "problems": _number(verdict.problems) + len(soak.problems),
    }


def as_json(soak: Soak, command: str) -> dict[str, Any]:
    return {
        "command": command,
        "seed": soak.wanted.seed,
        **counts(soak),
        "failures": list(failures(soak)),
        "growth_is_judged": is_judged(soak),
        "seconds": round(soak.seconds),
        "sagas_per_second": round(soak.verdict.sagas / soak.seconds, 1),
        "recovery_seconds": round(soak.recovery_seconds, 1),
        "starts_asked_again": soak.retries,
        "versions": dict(soak.versions),
        "faults_played": dict(sorted(Counter(each.fault for each in soak.played).items())),
        "measures": [
            {
                "name": each.name,
                "early": round(each.early, 1),
                "late": round(each.late, 1),
                "most": round(each.most, 1),
            }
            for each in soak.measures
        ],
        "tenths": [dict(_tenth(soak, number)) for number in range(10)],
        "after": dict(_row(soak, soak.samples[-1:])),
    }


def lines(soak: Soak) -> Iterator[str]:
    told = counts(soak)
    yield ", ".join(f"{number} {name}" for name, number in told.items())
    yield (
        f"{soak.seconds:.0f} s, {soak.verdict.sagas / soak.seconds:.1f} sagas a second, the last"
        f" one {soak.recovery_seconds:.1f} s after everything was healed"
    )
    yield from (f"  {_told(measure)}" for measure in soak.measures)
    if not is_judged(soak):
        yield f"too short to judge growth: that takes {FEWEST_SAGAS} sagas"


def _told(measure: Measure) -> str:
    return (
        f"{measure.name}: {measure.early:.1f}, then {measure.late:.1f} (at most {measure.most:.1f})"
    )


def _number(findings: Sequence[Finding]) -> int:
    return sum(finding.count for finding in findings)


def _tenth(soak: Soak, number: int) -> Iterator[tuple[str, Any]]:
    """The medians while the sagas of this tenth were started, and the longest queue."""
    shares = (number / 10, (number + 1) / 10)
    yield "tenth", number + 1
    yield from _row(soak, within(soak.samples[:-1], soak.wanted.sagas, shares))


def _row(soak: Soak, samples: Sequence[Sample]) -> Iterator[tuple[str, Any]]:
    for daemon in soak.steady:
        seen = [sample.daemons[daemon] for sample in samples if daemon in sample.daemons]
        if seen:
            yield (
                daemon,
                {
                    "resident_mib": round(median(each.resident for each in seen) / MEBI, 1),
                    "handles": round(median(each.handles for each in seen)),
                    "threads": round(median(each.threads for each in seen)),
                },
            )
    ready = [sum(sample.queues.values()) for sample in samples if sample.queues is not None]
    yield "messages_ready_at_most", max(ready, default=None)
    sessions = [sample.sessions for sample in samples if sample.sessions is not None]
    yield "database_sessions_at_most", max(sessions, default=None)
    if tables := [sample for sample in samples if sample.tables is not None]:
        yield "tables", dict(_tables(tables[-1]))
    folders = [sample.broker_folder for sample in samples if sample.broker_folder is not None]
    residents = [each.broker_resident for each in samples if each.broker_resident is not None]
    yield "broker_folder_mib", round(median(folders) / MEBI) if folders else None
    yield "broker_resident_mib", round(median(residents) / MEBI) if residents else None


def _tables(sample: Sample) -> Iterator[tuple[str, Any]]:
    for name, table in sorted((sample.tables or {}).items()):
        yield name, {"live": table.live, "dead": table.dead, "mib": round(table.size / MEBI, 1)}
