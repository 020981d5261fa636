"""An order completes, or is undone in strict reverse, wherever it fails: by the command line."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestrator import SagaClient
from tests.product import audit
from tests.product.customers import start_by_client, start_by_message
from tests.product.installation import Installation, Place, installed, saga
from tests.product.orders import ORDER, STEPS, Asked, order

FAILED = 3  # the exit code of `saga start --wait` for a saga that failed

pytestmark = [pytest.mark.rabbitmq, pytest.mark.postgres, pytest.mark.slow]


def test_an_order_completes_or_is_undone_in_strict_reverse(place: Place, tmp_path: Path) -> None:
    by_client = [_asked(f"client-{step}", fail_at=step) for step in STEPS[:2]]
    by_message = [_asked(f"message-{step}", fail_at=step) for step in STEPS[2:]]
    with installed(place, tmp_path) as installation:
        installation.orchestrator("orchestrator.examples.order_fulfillment")
        installation.participants()
        installation.dlq_worker()
        installation.start()
        asyncio.run(start_by_client(place, by_client))
        asyncio.run(start_by_message(place, by_message))
        completed = _started(installation, order(42), "completed", 0)
        failed = _started(installation, order(43, fail_at=STEPS[-1]), "failed", FAILED)
        ids = [each.saga_id for each in (*by_client, *by_message)]
        audit.Progress(place).wait_until_ended(ids, seconds=30)
    assert _words(completed, "completed") == list(STEPS)
    _was_undone_in_strict_reverse(failed, STEPS[-1])
    for shown, step in zip(asyncio.run(_all_shown(place, ids)), STEPS, strict=True):
        _was_undone_in_strict_reverse(shown, step)
    states = audit.states(place)
    books = asyncio.run(audit.books(place))
    assert list(books.problems) == []
    assert list(audit.disagreements(books, states)) == []
    assert audit.history_gaps(place) == []
    assert audit.broken_chains(place) == []


def _asked(name: str, **trial: object) -> Asked:
    return Asked(saga_id=name, saga_type=ORDER, data=order(1, **trial), ends="failed")


def _started(
    installation: Installation, data: Mapping[str, Any], state: str, code: int
) -> Mapping[str, Any]:
    """`saga start --wait` as the README has it, and then `saga show` of that saga."""
    (installation.folder / "order.json").write_text(json.dumps(data))
    command = ("start", ORDER, "--data", "@order.json", "--wait", "--timeout", "30")
    said = saga(installation, *command)
    saga_id, ended = said.out.split()
    assert (said.code, ended) == (code, state), said
    said = saga(installation, "show", saga_id, "-o", "json")
    assert said.code == 0, said
    shown: Mapping[str, Any] = json.loads(said.out)
    return shown


async def _all_shown(place: Place, ids: Sequence[str]) -> list[Mapping[str, Any]]:
    async with SagaClient(place.saga_database) as client:
        views = [await client.show(saga_id) for saga_id in ids]
    return [view.to_json() for view in views if view is not None]


def _was_undone_in_strict_reverse(shown: Mapping[str, Any], failed: str) -> None:
    """Every step before the failed one, the last first, each sent after the one before was done."""
    assert shown["state"] == "failed"
    undone = list(reversed(STEPS[: STEPS.index(failed)]))
    moves = [
        (line["step"], line["to"])
        for line in shown["history"]
        if line["step"] and line["to"] in {"compensating", "compensated"}
    ]
    assert moves == [(step, to) for step in undone for to in ("compensating", "compensated")]
    assert _is_ascending([line["at"] for line in shown["history"]])
    failure = shown["first_failure"]
    assert (failure["step"], failure["error"]) == (failed, f"{failed} was asked to fail")


def _words(shown: Mapping[str, Any], word: str) -> list[str]:
    """The steps that entered this status, in order."""
    return [line["step"] for line in shown["history"] if line["step"] and line["to"] == word]


def _is_ascending(times: Sequence[str]) -> bool:
    return list(times) == sorted(times)
