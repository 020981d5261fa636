"""What the demo counts while its programs work, and how it looks."""

from datetime import UTC, datetime

from rich.console import Console

from chassis.facts import (
    CommandHandled,
    DeadLettered,
    Fact,
    LateReply,
    MessageRejected,
    Noticed,
    SagaAdvanced,
)
from dlq_worker.notices import Notice
from dlq_worker.statuses import Severity
from orchestrator.demo.live import picture
from orchestrator.demo.tally import Tally
from orchestrator.saga.state import SagaState


def advanced(saga_id: str, state: str, *retries: str) -> SagaAdvanced:
    return SagaAdvanced(
        saga_id=saga_id,
        saga_type="OrderFulfillment",
        state=state,
        moves=(),
        compensation_retries=retries,
    )


def shown(tally: Tally) -> str:
    console = Console(width=80, color_system=None)
    with console.capture() as captured:
        console.print(picture(tally, 3.25))
    return captured.get()


def tally_of(*facts: Fact, placed: int, expected: int) -> Tally:
    tally = Tally(expected)
    tally.placed = placed
    for fact in facts:
        tally.observe(fact)
    return tally


def alert_about(saga_id: str) -> Notice:
    now = datetime.now(UTC)
    return Notice(
        alert_id=1,
        key=f"saga|{saga_id}|process_payment",
        round=1,
        is_resolved=False,
        severity=Severity.CRITICAL,
        title="a refund fails",
        summary="it still fails",
        reason="compensation_exhausted",
        signature="refund",
        saga_id=saga_id,
        saga_type="OrderFulfillment",
        step_name="process_payment",
        error=None,
        letter_id=1,
        letters=1,
        created_at=now,
        sent_at=now,
        closed_at=None,
        commands=(),
        link=None,
    )


def test_a_saga_counts_in_its_latest_state_only() -> None:
    facts = [advanced("a", "started"), advanced("a", "pending"), advanced("a", "completed")]
    tally = tally_of(*facts, advanced("b", "compensating", "process_payment"), placed=2, expected=9)
    assert (tally.begun, tally.ended, tally.under_way, tally.retries) == (2, 1, 1, 1)
    assert tally.count(SagaState.PENDING) == 0
    picture_of_it = shown(tally)
    assert "1 of 9 ended  3.2 s" in picture_of_it
    assert "completed 1   failed 0   compensating 1   going forward 0" in picture_of_it


def test_before_the_first_order_it_says_that_the_programs_are_starting() -> None:
    assert "the programs are starting" in shown(Tally(5))


def test_when_only_a_dead_letter_is_left_it_says_who_is_at_work() -> None:
    letter = DeadLettered(reason="compensation_exhausted", saga_id="a")
    tally = tally_of(advanced("a", "compensating"), letter, letter, placed=1, expected=1)
    assert "a refund is a dead letter" in shown(tally)


async def test_a_saga_for_which_a_person_was_called_is_not_waited_for() -> None:
    tally = tally_of(advanced("a", "compensating"), placed=1, expected=1)
    await tally.send(alert_about("a"))
    assert tally.under_way == 0
    assert await tally.wait_while(lambda: tally.under_way > 0, patience=0.01)


async def test_waiting_ends_when_nothing_moves_or_somebody_stops_it() -> None:
    tally = Tally(1)
    assert not await tally.wait_while(lambda: True, patience=0.01)
    tally.stop()
    assert not await tally.wait_while(lambda: True, patience=60)


def test_only_what_nobody_expects_is_remarked() -> None:
    handled = CommandHandled(
        participant="PaymentService",
        command="RefundPayment",
        direction="compensation",
        outcome="failed",
        saga_id="a",
        step="process_payment",
        attempt=1,
        took=datetime.now(UTC) - datetime.now(UTC),
        error="asked to fail",
    )
    expected = [
        handled,
        LateReply(saga_id="a", saga_type="T", step=None, kind="duplicate"),
        Noticed(level="info", message="started"),
    ]
    odd = [
        LateReply(saga_id="a", saga_type="T", step=None, kind="late_success"),
        MessageRejected(queue="saga.replies", reason="bad_json", detail="no object"),
        Noticed(level="error", message="on fire"),
    ]
    tally = tally_of(*expected, *odd, placed=1, expected=1)
    assert len(tally.remarks) == len(odd)
    assert "late_success" in tally.remarks[0]
    assert "bad_json" in tally.remarks[1]
    assert "on fire" in tally.remarks[2]
