"""The safety rules, each removed by hand, to see that the simulator notices."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, Final
from unittest.mock import patch

from chassis.pacing import Pace
from dlq_worker.intake import Intake
from messaging import codec
from messaging.errors import Conflict, Unavailable
from messaging.port import Consumer, Delivery
from orchestrator.saga import decide, flow, rules
from orchestrator.saga.draft import Draft
from orchestrator.saga.state import Decision, Saga, SagaState, Step, StepStatus
from orchestrator.worker import pipeline
from orchestrator.worker.batches import Batches
from orchestrator.worker.committed import Committed
from orchestrator.worker.intake import Arrival
from orchestrator.worker.ledger import Ledger
from participants import execution, guard, together
from participants.guard import Bury, Entry, Execute, Repeat, State
from tests.simulation.database import Transaction
from tests.simulation.recalled import SimulatedRecalled, mark_of
from tests.simulation.store import HISTORY, SAGAS, StoreTransaction

Removal = Callable[[], AbstractContextManager[Any]]


def _row(status: StepStatus, place: int, rule: Callable[..., Any]) -> AbstractContextManager[Any]:
    """The table of the rules with another one in one cell."""
    cells: list[Any] = list(decide.TABLE[status])
    cells[place] = rule
    table: Any = decide.TABLE
    return patch.dict(table, {status: tuple(cells)})


def timed_out_step_is_compensated() -> AbstractContextManager[Any]:
    def timed_out(draft: Draft, step: Step) -> None:
        rules._attempt_failed(draft, step, "no reply", unknown=False, retryable=False)

    return _row(StepStatus.EXECUTING, 4, timed_out)


def late_success_is_compensated() -> AbstractContextManager[Any]:
    return _row(StepStatus.FAILED, 0, rules.duplicate)


def compensation_before_its_action_leaves_a_tombstone() -> AbstractContextManager[Any]:
    real = execution.answer_without_handler

    async def answer(command: Any, claim: Any, verdict: Any) -> Any:
        answer = await real(command, claim, verdict)
        if isinstance(verdict, Bury):
            claim.saved = None
        return answer

    return _patched("answer_without_handler", answer)


def repeated_command_gets_the_stored_reply() -> AbstractContextManager[Any]:
    def verdict_on(*args: Any, **more: Any) -> Any:
        verdict = guard.verdict_on(*args, **more)
        return Execute() if isinstance(verdict, Repeat) else verdict

    return _patched("verdict_on", verdict_on)


def _without_failures(keeps: Callable[[Entry], bool]) -> AbstractContextManager[Any]:
    def entry_after(*args: Any, **more: Any) -> Any:
        entry = guard.entry_after(*args, **more)
        reply = entry.action_reply if entry else None
        if entry is None or reply is None or reply.error is None or keeps(entry):
            return entry
        return None if entry.state is State.FAILED else replace(entry, action_reply=None)

    return _patched("entry_after", entry_after)


def failed_outcome_is_sticky() -> AbstractContextManager[Any]:
    return _without_failures(lambda entry: bool(entry.action_reply and entry.action_reply.attempt))


def retryable_failure_holds_for_its_attempt() -> AbstractContextManager[Any]:
    return _without_failures(lambda entry: not (entry.action_reply and entry.action_reply.attempt))


@contextmanager
def rows_are_locked_while_decided() -> Iterator[None]:
    hold, holds_at_once = Transaction.hold, Transaction.holds_at_once

    async def pass_over(rows: Transaction, key: Any, *more: Any) -> None:
        if key[0] != SAGAS:
            await hold(rows, key, *more)

    with (
        patch.object(Transaction, "hold", pass_over),
        patch.object(
            Transaction,
            "holds_at_once",
            lambda rows, key: key[0] == SAGAS or holds_at_once(rows, key),
        ),
        _history_has_no_key(),
    ):
        yield


@contextmanager
def what_is_saved_at_once_is_as_remembered() -> Iterator[None]:
    with (
        patch.object(SimulatedRecalled, "is_same", lambda *_: True),
        _history_has_no_key(),
    ):
        yield


def what_is_saved_at_once_is_not_locked() -> AbstractContextManager[Any]:
    def may_save(self: SimulatedRecalled, transaction: StoreTransaction, saga_id: str) -> bool:
        mark, _ = self._known[saga_id]
        return self.is_same(mark, mark_of(transaction, saga_id))

    return patch.object(SimulatedRecalled, "_may_save", may_save)


def what_was_not_stored_at_once_is_decided_again() -> AbstractContextManager[Any]:
    real = SimulatedRecalled.save

    async def save(
        self: SimulatedRecalled, new: Sequence[Decision], changed: Sequence[Decision]
    ) -> Collection[str]:
        await real(self, new, changed)
        return {each.saga.saga_id for each in (*new, *changed)}

    return patch.object(SimulatedRecalled, "save", save)


def what_may_be_stored_at_once_is_asked_again() -> AbstractContextManager[Any]:
    real = SimulatedRecalled.save

    async def save(
        self: SimulatedRecalled, new: Sequence[Decision], changed: Sequence[Decision]
    ) -> Collection[str]:
        try:
            return await real(self, new, changed)
        except Unavailable:
            return {each.saga.saga_id for each in (*new, *changed)}

    return patch.object(SimulatedRecalled, "save", save)


def _history_has_no_key() -> AbstractContextManager[Any]:
    """A fork of the history is stored, whatever it was that should have kept it from arising."""

    def put(transaction: StoreTransaction, decision: Decision) -> None:
        transaction.rows.write(SAGAS, decision.saga.saga_id, decision.saga)
        for line in decision.transitions:
            key = (decision.saga.saga_id, line.version)
            transaction.rows.write(HISTORY, key, line)
        transaction.saved.append(decision.saga)

    return patch.object(StoreTransaction, "put", put)


@contextmanager
def messages_leave_after_the_commit() -> Iterator[None]:
    make = pipeline.Pipeline.__init__

    def init(self: pipeline.Pipeline, **parts: Any) -> None:
        make(self, **parts)
        parts["batches"].publisher = parts["publisher"]

    async def transact(self: Any, arrivals: Sequence[Arrival]) -> Committed:
        async with self._store.transaction() as transaction:
            ids = {arrival.saga_id for arrival in arrivals if arrival.saga_id}
            sagas = await transaction.lock(ids)
            ledger = Ledger(self._registry, self._senders, now=transaction.now, sagas=sagas)
            for arrival in arrivals:
                self._apply(ledger, arrival)
            posts = [post for each in ledger.judgements for post in self._posts(each)]
            await self.publisher._publish(posts)
            if await transaction.insert(ledger.new):
                raise Conflict("taken")
            await transaction.save(ledger.changed)
        deliveries = [each.delivery for each in ledger.judgements]
        return Committed(deliveries=deliveries, posts=())

    with (
        patch.object(pipeline.Pipeline, "__init__", init),
        patch.object(Batches, "_transact", transact),
    ):
        yield


def what_only_the_clock_guards_is_sent_again() -> AbstractContextManager[Any]:
    return patch.object(Draft, "guard", lambda draft, sent_by: draft.change(resend_at=None))


def acknowledged_after_publishing() -> AbstractContextManager[Any]:
    real = pipeline.Pipeline._settle

    async def settle(
        self: pipeline.Pipeline, consumer: Consumer, committed: Committed, stopping: Any
    ) -> None:
        await consumer.ack(committed.deliveries)
        await real(self, consumer, committed, stopping)

    return patch.object(pipeline.Pipeline, "_settle", settle)


def undone_in_strict_reverse_order() -> AbstractContextManager[Any]:
    def undo_all(draft: Draft) -> None:
        for step in draft.saga.steps:
            if flow._needs_undoing(step):
                flow.send_compensation(draft, step)
        busy = {StepStatus.COMPENSATING, StepStatus.COMPENSATION_FAILED}
        if not any(step.status in busy for step in draft.saga.steps):
            draft.turn(SagaState.FAILED)
            draft.owe(flow.failed_event(draft.saga, draft.message))

    return patch.object(flow, "_undo_next", undo_all)


def command_id_is_the_same_for_every_attempt() -> AbstractContextManager[Any]:
    real = codec.command_message

    def command_message(names: Any, **parts: Any) -> Any:
        step, attempt = parts["step_name"], parts["attempt"]
        own = f"{parts['saga_id']}|{step}|{parts['direction']}|{attempt}"
        return real(names, **parts, command_id=own)

    return patch.object(codec, "command_message", command_message)


def cause_is_recognised_and_its_messages_sent_again() -> AbstractContextManager[Any]:
    def not_again(saga: Saga, event: Any) -> None:
        return None

    return patch.object(decide, "_send_again", not_again)


@contextmanager
def _patched(name: str, instead: Callable[..., Any]) -> Iterator[None]:
    """For commands that are executed alone, and for those in batches."""
    with patch.object(execution, name, instead), patch.object(together, name, instead):
        yield


def doubtful_commit_is_taken_as_done() -> AbstractContextManager[Any]:
    return patch("orchestrator.worker.batches.doubtful", lambda arrival: arrival)


def dead_letter_is_stored_before_it_is_acknowledged() -> AbstractContextManager[Any]:
    real = Intake._take

    async def take(self: Any, deliveries: Sequence[Delivery], pace: Pace) -> bool:
        async def store() -> None:
            await real(self, deliveries, pace)

        self.storing = asyncio.create_task(store())
        return True

    return patch.object(Intake, "_take", take)


RULES: Final[Mapping[str, Removal]] = {
    rule.__name__.replace("_", " "): rule
    for rule in (
        timed_out_step_is_compensated,
        late_success_is_compensated,
        compensation_before_its_action_leaves_a_tombstone,
        repeated_command_gets_the_stored_reply,
        failed_outcome_is_sticky,
        retryable_failure_holds_for_its_attempt,
        rows_are_locked_while_decided,
        what_is_saved_at_once_is_as_remembered,
        what_is_saved_at_once_is_not_locked,
        what_was_not_stored_at_once_is_decided_again,
        what_may_be_stored_at_once_is_asked_again,
        messages_leave_after_the_commit,
        what_only_the_clock_guards_is_sent_again,
        acknowledged_after_publishing,
        undone_in_strict_reverse_order,
        command_id_is_the_same_for_every_attempt,
        cause_is_recognised_and_its_messages_sent_again,
        doubtful_commit_is_taken_as_done,
        dead_letter_is_stored_before_it_is_acknowledged,
    )
}
