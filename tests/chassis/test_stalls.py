"""An event loop that stands still is told of, as soon as it turns again."""

import asyncio
import time

import pytest

from chassis import stalls


@pytest.mark.parametrize(("blocked", "told"), [(0.3, 1), (0.0, 0)])
async def test_a_loop_that_stood_still_is_a_warning(
    blocked: float, told: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stalls, "_TICK", 0.01)
    monkeypatch.setattr(stalls, "_NOTICED_AFTER", 0.25)
    watching = asyncio.create_task(stalls.watch_loop())
    await asyncio.sleep(0)
    time.sleep(blocked)  # what a handler must not do
    await asyncio.sleep(0.05)
    watching.cancel()
    assert [record.message.startswith("the event loop stood") for record in caplog.records] == (
        [True] * told
    )
