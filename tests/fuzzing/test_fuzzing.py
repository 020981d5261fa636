"""Every target is tried for a moment, with the same inputs every time."""

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzzing.target import Target
from tests.fuzzing.targets import TARGETS

pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_target_withstands_what_comes(target: Target) -> None:
    given(target.inputs)(
        settings(
            max_examples=target.examples,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )(target.check)
    )()
