"""Telling sagas that what they owed has left, or that nobody is bound for it."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

from orchestrator.backoff import retry_delay
from orchestrator.saga.decide import decide
from orchestrator.saga.state import Published, Saga
from orchestrator.store.errors import StatementRejected
from orchestrator.store.port import Store
from orchestrator.worker.publisher import Post


async def confirm_published(store: Store, sent: Sequence[Saga], returned: Sequence[Post]) -> None:
    """Tell these sagas that what they owed has left, but for what came back."""
    unroutable: dict[str, set[str]] = {}
    epochs: dict[str, str | None] = {}
    for post in returned:
        if post.saga_id is not None and post.step is not None:
            unroutable.setdefault(post.saga_id, set()).add(post.step)
            epochs[post.saga_id] = post.epoch
    events = {
        saga_id: Published(version=None, unroutable=frozenset(steps), epoch=epochs[saga_id])
        for saga_id, steps in unroutable.items()
    }
    for saga in sent:
        steps = frozenset(unroutable.get(saga.saga_id, ()))
        events[saga.saga_id] = Published(version=saga.version, unroutable=steps, epoch=saga.epoch)
    try:
        await _confirm(store, events)
    except StatementRejected:
        for saga_id, event in events.items():
            with suppress(StatementRejected):  # the clock comes back to it, and says so
                await _confirm(store, {saga_id: event})


async def _confirm(store: Store, events: Mapping[str, Published]) -> None:
    async with store.transaction() as transaction:
        sagas = await transaction.lock(events.keys())
        decisions = [
            decide(saga, events[saga_id], now=transaction.now, delay=retry_delay)
            for saga_id, saga in sagas.items()
        ]
        await transaction.save(decisions)
