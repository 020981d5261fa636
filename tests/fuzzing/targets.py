"""All targets, by name."""

from tests.fuzzing import frames, letters, messages, operating, participating, sagas
from tests.fuzzing.target import TARGETS

__all__ = ["TARGETS", "frames", "letters", "messages", "operating", "participating", "sagas"]
