"""The pytest plugin: the fixture `saga_kit`, an open EmbeddedSagas for each test."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

try:
    from pytest_asyncio import fixture
except ImportError:
    # anyio's plugin runs asynchronous fixtures as they are
    fixture = pytest.fixture  # type: ignore[assignment]

if TYPE_CHECKING:
    from orchestrator.testing.embedded import EmbeddedSagas


@fixture
async def saga_kit() -> AsyncIterator["EmbeddedSagas"]:
    """Orchestrator, broker, store and participants in this process, on a virtual clock."""
    from orchestrator.testing.embedded import EmbeddedSagas  # noqa: PLC0415  # only when asked for

    async with EmbeddedSagas() as kit:
        yield kit
