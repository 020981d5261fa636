"""Both programs delete, beside their work, what is kept no longer."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from sqlalchemy import text

from chassis.facts import Fact, Noticed, Observe, Purged
from chassis.settings import DlqSettings, OrchestratorSettings, load
from dlq_worker import run as dlq_program
from orchestrator.examples.order_fulfillment import OrderFulfillmentSaga
from orchestrator.registry import Registry
from orchestrator.store.database import DatabaseStore
from orchestrator.store.queries import state_of
from orchestrator.worker import run as program
from tests.cli.cli_stories import COMPLETED, REFUND_EXHAUSTED, letter_of, stored
from tests.store.test_purging import closed

pytest_plugins = ["conformance.store_fixtures"]

DAY = timedelta(days=1)
Serve = Callable[[asyncio.Event, Observe], Awaitable[None]]


async def _served(serve: Serve) -> list[Fact]:
    """What a program tells until it has purged for the first time."""
    stopping = asyncio.Event()
    facts: list[Fact] = []

    def observe(fact: Fact) -> None:
        facts.append(fact)
        if isinstance(fact, Purged):
            stopping.set()

    async with asyncio.timeout(30):
        await serve(stopping, observe)
    return facts


def _deleted(facts: list[Fact]) -> dict[str, int]:
    (told,) = [fact for fact in facts if isinstance(fact, Purged)]
    return dict(told.deleted)


async def test_the_orchestrator_purges_sagas(
    store: DatabaseStore, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGA_RETENTION_COMPLETED", "7d")
    await stored(store, "old", COMPLETED, began=8 * DAY)
    await stored(store, "new", COMPLETED, began=6 * DAY)
    urls = {"amqp_url": "memory://", "database_url": database_url}
    settings = load(OrchestratorSettings, **urls, http_port=0)
    registry = Registry([OrderFulfillmentSaga()])
    facts = await _served(lambda *how: program.serve(registry, settings, *how))
    assert _deleted(facts) == {"completed": 1, "failed": 0}
    assert [await state_of(store, name) for name in ("old", "new")] == [None, "completed"]


async def test_the_dlq_worker_purges_letters_and_alerts(
    store: DatabaseStore, database_url: str
) -> None:
    saga = await stored(store, "order-1", REFUND_EXHAUSTED)
    await closed(store, await letter_of(store, saga, is_alerted=True), 181 * DAY)
    urls = {"amqp_url": "memory://", "database_url": database_url}
    settings = load(DlqSettings, **urls, http_port=0)
    facts = await _served(lambda *how: dlq_program.serve(settings, *how))
    assert _deleted(facts) == {"alert": 1, "dead_letter": 1}


async def test_what_cannot_be_deleted_is_told_and_the_work_goes_on(
    store: DatabaseStore, database_url: str
) -> None:
    await stored(store, "old", COMPLETED, began=31 * DAY)
    async with store.transaction() as transaction:
        await transaction.execute(text("DROP TABLE purges"))
    urls = {"amqp_url": "memory://", "database_url": database_url}
    settings = load(OrchestratorSettings, **urls, http_port=0)
    registry = Registry([OrderFulfillmentSaga()])
    facts = await _served(lambda *how: program.serve(registry, settings, *how))
    warnings = [each for each in facts if isinstance(each, Noticed) and each.level == "warning"]
    assert any("could not be purged" in each.message for each in warnings)
    assert await state_of(store, "old") == "completed"
