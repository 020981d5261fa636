"""Tries one target guided by coverage: `python -m tests.fuzzing.atheris_targets TARGET [CORPUS]`.

Needs `pip install atheris`, which the tests do not; further arguments are libFuzzer's, such as
`-max_total_time=600`. What it finds is an input of Hypothesis and becomes a test by `make fuzz`,
which reads the same database.
"""

import sys
from collections.abc import Sequence
from typing import Any, Final

import atheris  # type: ignore[import-not-found]  # installed by hand
from hypothesis import HealthCheck, given, settings
from hypothesis.database import DirectoryBasedExampleDatabase

with atheris.instrument_imports(include=["messaging", "chassis", "dlq_worker", "participants"]):
    from tests.fuzzing.long_run import DATABASE
    from tests.fuzzing.target import Target
    from tests.fuzzing.targets import TARGETS

USAGE: Final = "usage: python -m tests.fuzzing.atheris_targets TARGET [libFuzzer's arguments]"


def main(arguments: Sequence[str]) -> int:
    if len(arguments) < 2 or arguments[1] not in TARGETS:
        print(USAGE, *sorted(TARGETS), sep="\n  ", file=sys.stderr)
        return 2
    program, name, *others = arguments
    atheris.Setup([program, *others], _fuzzed(TARGETS[name]))
    atheris.Fuzz()
    return 0


def _fuzzed(target: Target) -> Any:
    lasting = settings(
        database=DirectoryBasedExampleDatabase(DATABASE),
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )

    def checked(said: Any) -> None:
        target.check(said)

    checked.__name__ = checked.__qualname__ = target.name
    checked.__annotations__ = {}
    return given(target.inputs)(lasting(checked)).hypothesis.fuzz_one_input


if __name__ == "__main__":
    sys.exit(main(sys.argv))
