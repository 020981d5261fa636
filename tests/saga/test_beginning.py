"""A saga begins with a plan, or fails at once for want of one."""

from saga_stories import MINUTE, NOON, pause, plan

from orchestrator.saga.decide import decide
from orchestrator.saga.plan import OnExhausted
from orchestrator.saga.start import begin, refuse, requested
from orchestrator.saga.state import CancelRequested, Published, Saga, SagaState, TimeReached


def asked() -> Saga:
    return requested(
        saga_id="saga-1",
        saga_type="Order",
        data={"order_id": "42"},
        input_digest="digest",
        now=NOON,
        traceparent="00-1-2-01",
    )


def test_a_saga_that_is_asked_for_is_due_at_once() -> None:
    saga = asked()
    assert (saga.state, saga.version, saga.steps) == (SagaState.STARTED, 0, ())
    assert saga.wake_at == NOON
    assert saga.traceparent == "00-1-2-01"


def test_a_saga_begun_by_a_message_is_guarded_by_its_redelivery() -> None:
    decision = begin(
        asked(),
        plan("a"),
        on_exhausted=OnExhausted.CONTINUE,
        now=NOON,
        delay=pause,
        cause="m0",
        actor="shop",
    )
    assert decision.must_save
    assert decision.saga.resend_at is None
    assert decision.saga.on_exhausted is OnExhausted.CONTINUE
    assert [line.version for line in decision.transitions] == [1, 2]
    assert {line.actor for line in decision.transitions} == {"shop"}
    assert {owed.cause for owed in decision.send} == {"m0"}


def test_a_saga_that_cannot_be_planned_fails_with_the_reason() -> None:
    decision = refuse(asked(), "Order.define_steps raised KeyError: 'items'", now=NOON, delay=pause)
    saga = decision.saga
    assert saga.state is SagaState.FAILED
    assert saga.first_failure is not None
    assert saga.first_failure.step is None
    assert "KeyError" in saga.first_failure.error
    assert [owed.destination for owed in decision.send] == ["OrderFailed"]
    assert [line.after for line in decision.transitions] == ["started", "compensating", "failed"]


def test_the_failure_of_a_saga_without_a_plan_is_announced_until_it_has_left() -> None:
    saga = refuse(asked(), "no plan", now=NOON, delay=pause).saga
    again = decide(saga, TimeReached(), now=NOON + MINUTE, delay=pause)
    assert [owed.destination for owed in again.send] == ["OrderFailed"]
    settled = decide(again.saga, Published(version=saga.version), now=NOON + MINUTE, delay=pause)
    assert settled.saga.outbound == ()
    assert settled.saga.wake_at is None


def test_a_cancel_before_the_plan_ends_the_saga() -> None:
    event = CancelRequested(reason="called off", actor="anna")
    decision = decide(asked(), event, now=NOON, delay=pause)
    assert decision.saga.state is SagaState.FAILED
    assert [owed.destination for owed in decision.send] == ["OrderFailed"]
    assert decision.saga.wake_at == NOON
