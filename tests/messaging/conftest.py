"""The fixtures that these tests share with the conformance suite."""

from tests.conformance.conftest import rabbit_world

__all__ = ["rabbit_world"]
