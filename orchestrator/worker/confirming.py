"""Telling sagas that what they owed has left, or that nobody is bound for it."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
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
    for post in returned:
        if post.saga_id is not None and post.step is not None:
            unroutable.setdefault(post.saga_id, set()).add(post.step)
    versions = {saga.saga_id: saga.version for saga in sent}
    saga_ids = versions.keys() | unroutable.keys()
    try:
        await _confirm(store, saga_ids, versions, unroutable)
    except StatementRejected:
        for saga_id in saga_ids:
            with suppress(StatementRejected):  # the clock comes back to it, and says so
                await _confirm(store, {saga_id}, versions, unroutable)


async def _confirm(
    store: Store,
    saga_ids: AbstractSet[str],
    versions: Mapping[str, int],
    unroutable: Mapping[str, AbstractSet[str]],
) -> None:
    async with store.transaction() as transaction:
        sagas = await transaction.lock(saga_ids)
        decisions = []
        for saga_id, saga in sagas.items():
            event = Published(
                version=versions.get(saga_id),
                unroutable=frozenset(unroutable.get(saga_id, ())),
            )
            decisions.append(decide(saga, event, now=transaction.now, delay=retry_delay))
        await transaction.save(decisions)
