"""Tries every target for a long time: `python -m tests.fuzzing.long_run --minutes 30`.

Turn by turn, with new inputs each time; what fails is shown, reduced to the least of it, and kept
in `.hypothesis`, so that it is tried first the next time. Exits with 1 if a target failed.
"""

import argparse
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hypothesis import HealthCheck, given, settings
from hypothesis.database import DirectoryBasedExampleDatabase

from tests.fuzzing.target import Target
from tests.fuzzing.targets import TARGETS

AT_A_TIME: Final = 500  # examples in one turn
DATABASE: Final = Path(__file__).resolve().parents[2] / ".hypothesis" / "fuzzing"


@dataclass(slots=True, kw_only=True)
class Record:
    """How a target has done."""

    target: Target
    examples: int = 0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)

    @property
    def told(self) -> str:
        rate = self.examples / self.seconds if self.seconds else 0.0
        fate = f"FAILED {len(self.failures)} times" if self.failures else "ok"
        return f"{self.target.name:60} {self.examples:9} {rate:9.0f}/s  {fate}"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--target", action="append", choices=sorted(TARGETS))
    given_arguments = parser.parse_args(arguments)
    chosen = [TARGETS[name] for name in given_arguments.target or TARGETS]
    records = [Record(target=each) for each in chosen]
    until = time.monotonic() + given_arguments.minutes * 60
    for record in _turns(records, until):
        _try_for_a_turn(record)
    for record in records:
        print(record.told)
    print(f"{sum(record.examples for record in records)} examples in {len(records)} targets")
    return 1 if any(record.failures for record in records) else 0


def _turns(records: Sequence[Record], until: float) -> Iterator[Record]:
    """The target that has had the least time; those that have failed are left alone."""
    while time.monotonic() < until:
        left = [record for record in records if not record.failures]
        if not left:
            return
        yield min(left, key=lambda record: record.seconds)


def _try_for_a_turn(record: Record) -> None:
    began = time.monotonic()
    try:
        _trial_of(record)()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        record.failures.append(repr(error))
        print(f"--- {record.target.name}", flush=True)
        traceback.print_exc()
    record.seconds += time.monotonic() - began


def _trial_of(record: Record) -> Any:
    def counted(said: Any) -> None:
        record.examples += 1
        record.target.check(said)

    counted.__name__ = counted.__qualname__ = record.target.name
    counted.__annotations__ = {}
    lasting = settings(
        max_examples=AT_A_TIME,
        database=DirectoryBasedExampleDatabase(DATABASE),
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    return given(record.target.inputs)(lasting(counted))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
