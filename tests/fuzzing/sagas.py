"""Targets: what the orchestrator makes of replies and starts, one after the other."""

import json
from datetime import UTC, datetime
from typing import Any, Final

from hypothesis import strategies as st

from messaging.port import Delivery
from orchestrator import SagaOrchestrator, SagaStep
from orchestrator.registry import Registry
from orchestrator.store.rows import row_of
from orchestrator.worker.batches import posts_of
from orchestrator.worker.intake import read_reply, read_start
from orchestrator.worker.ledger import Ledger, Senders
from tests.fuzzing.inputs import deliveries
from tests.fuzzing.messages import NAMES, assert_can_leave
from tests.fuzzing.target import target

NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
STEPS: Final = ("first", "left", "right", "last", "nowhere")


class FuzzedSaga(SagaOrchestrator):
    """A step, two at a time, and a last one."""

    saga_type = "Fuzzed"

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        return [
            SagaStep("first", "A.First", "A.UndoFirst"),
            [SagaStep("left", "A.Left", "A.UndoLeft"), SagaStep("right", "B.Right")],
            SagaStep("last", "B.Last", "B.UndoLast", pivot=bool(data.get("pivot"))),
        ]


REGISTRY: Final = Registry([FuzzedSaga()])
VALUES: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(width=16) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
FIELDS: Final = st.fixed_dictionaries(
    {"saga_id": st.just("s-1")},
    optional={
        "step_name": st.sampled_from(STEPS),
        "saga_type": st.just("Fuzzed"),
        "data": st.dictionaries(st.text() | st.just("pivot"), VALUES, max_size=3),
        "result": st.dictionaries(st.text(), VALUES, max_size=3) | VALUES,
        "error": st.text() | VALUES,
        "retryable": st.booleans(),
        "effect": st.sampled_from(["none", "unknown"]),
        "reason": st.text(),
    },
)
ABOUT_IT: Final = FIELDS.map(lambda fields: json.dumps(fields).encode())
ARRIVALS: Final = st.lists(deliveries(ABOUT_IT) | deliveries(), max_size=8)


@target(ARRIVALS, examples=60)
def whatever_arrives_is_judged(arrivals: list[Delivery]) -> None:
    """Each has a decision or a rejection, and what follows can be stored and sent."""
    ledger = Ledger(REGISTRY, Senders(), now=NOW, sagas={})
    start = {"saga_id": "s-1", "saga_type": "Fuzzed", "data": {}}
    ledger.apply(read_start(_first(json.dumps(start).encode())))
    for delivery in arrivals:
        reads = read_start if delivery.queue == "saga.starts" else read_reply
        ledger.apply(reads(delivery))
    assert len(ledger.judgements) == len(arrivals) + 1
    for judgement in ledger.judgements:
        assert judgement.decision is not None or judgement.rejection is not None
        if judgement.decision is not None:
            for post in posts_of(NAMES, judgement.decision):
                assert_can_leave(post.message)
    for merged in ledger.merged.values():
        for value in row_of(merged.saga):
            assert not isinstance(value, str) or ("\0" not in value and value.encode())
        versions = [line.version for line in merged.transitions]
        assert versions == list(range(1, merged.saga.version + 1))


def _first(body: bytes) -> Delivery:
    return Delivery(
        queue="saga.starts",
        exchange="saga.starts",
        routing_key="StartSaga",
        body=body,
        tag=1,
        session=1,
    )
