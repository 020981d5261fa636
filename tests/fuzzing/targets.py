"""All targets, by name."""

from tests.fuzzing import frames, messages
from tests.fuzzing.target import TARGETS

__all__ = ["TARGETS", "frames", "messages"]
