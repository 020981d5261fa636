"""The sagas of one transaction, as a batch of arrivals moves them. Pure: no I/O."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, NamedTuple

from messaging.contract import StartRequest, participant_of
from messaging.definitions import DLQ_WORKER
from messaging.errors import DefinitionError, ProtocolError
from messaging.port import Delivery
from orchestrator.backoff import retry_delay
from orchestrator.ids import digest_of
from orchestrator.registry import Registry
from orchestrator.saga.decide import decide
from orchestrator.saga.locking import Standing
from orchestrator.saga.start import requested
from orchestrator.saga.state import (
    CompensationCompleted,
    CompensationFailed,
    Decision,
    Saga,
    StartRepeated,
    StepCompleted,
    StepFailed,
    Verdict,
)
from orchestrator.worker.intake import Arrival, cause_of, comes_again, id_for_start, saga_id_of
from orchestrator.worker.locking import begun

REPLIES: Final = (StepCompleted, StepFailed, CompensationCompleted, CompensationFailed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Senders:
    """Who may answer for a participant, where the broker's word on users is required."""

    required: bool = False
    users: Mapping[str, str] = field(default_factory=dict)

    def check(self, delivery: Delivery, participant: str) -> None:
        """Raise ProtocolError if somebody else has sent it."""
        allowed = {self.users.get(participant, participant), DLQ_WORKER}
        if delivery.user_id not in allowed:
            said = delivery.user_id or "nobody"
            raise ProtocolError("unauthorised", f"a reply for {participant} was sent by {said}")


class Judgement(NamedTuple):  # one for each delivery: a tuple costs a quarter of a dataclass
    """What a delivery led to: a decision, or a rejection, or both."""

    delivery: Delivery
    decision: Decision | None = None
    step: str | None = None
    rejection: ProtocolError | None = None


class Ledger:
    """Applies arrivals in order, each to the saga as the one before has left it."""

    def __init__(
        self,
        registry: Registry,
        senders: Senders,
        *,
        now: datetime,
        sagas: Mapping[str, Saga],
        epoch: str | None = None,
        standings: Mapping[str, Standing] | None = None,
    ) -> None:
        self._registry = registry
        self._senders = senders
        self._now = now
        self._epoch = epoch
        self._sagas = dict(sagas)
        self._standings = standings or {}
        self._is_new: set[str] = set()
        self._merged: dict[str, Decision] = {}
        self.judgements: list[Judgement] = []

    @property
    def new(self) -> Sequence[Decision]:
        """Sagas that have begun, each with all of its transitions."""
        return [merged for saga_id, merged in self._merged.items() if saga_id in self._is_new]

    @property
    def changed(self) -> Sequence[Decision]:
        """Sagas that were there before and have moved."""
        return [merged for saga_id, merged in self._merged.items() if saga_id not in self._is_new]

    @property
    def merged(self) -> Mapping[str, Decision]:
        return self._merged

    def is_new(self, saga_id: str) -> bool:
        return saga_id in self._is_new

    def keep_only(self, saga_ids: Collection[str], applied: Sequence[Arrival]) -> None:
        """Nothing has become of the other sagas, nor of what was applied to them."""
        self._merged = {each: self._merged[each] for each in self._merged if each in saga_ids}
        self.judgements = [
            judgement
            for arrival, judgement in zip(applied, self.judgements, strict=True)
            if saga_id_of(arrival) in saga_ids
        ]

    def apply(self, arrival: Arrival) -> None:
        """Judge one arrival. A fault in deciding is its rejection, never ours."""
        try:
            decision = self._decide(arrival)
        except ProtocolError as error:
            self.judgements.append(Judgement(delivery=arrival.delivery, rejection=error))
            return
        if decision.transitions or decision.must_save:
            self._merge(decision)
        step: str | None = getattr(arrival.event, "step", None)
        self.judgements.append(Judgement(arrival.delivery, decision, step, _rejection_of(decision)))

    def _decide(self, arrival: Arrival) -> Decision:
        if arrival.rejection is not None:
            raise arrival.rejection
        if arrival.start is not None:
            return self._start(arrival, arrival.start)
        saga = self._sagas.get(arrival.saga_id or "")
        if saga is None:
            raise ProtocolError(
                "unknown_saga", f"there is no saga {arrival.saga_id}: never started here, or purged"
            )
        if arrival.event is None:
            raise ProtocolError("unknown_type", "the message says nothing that a saga understands")
        if self._senders.required and isinstance(arrival.event, REPLIES):
            self._check_sender(saga, arrival)
        return decide(saga, arrival.event, now=self._now, delay=retry_delay)

    def _check_sender(self, saga: Saga, arrival: Arrival) -> None:
        name = getattr(arrival.event, "step", None)
        plan = next((step.plan for step in saga.steps if step.name == name), None)
        if plan is not None:
            back = isinstance(arrival.event, CompensationCompleted | CompensationFailed)
            asked = plan.compensation if back and plan.compensation else plan.action
            self._senders.check(arrival.delivery, participant_of(asked))

    def _start(self, arrival: Arrival, start: StartRequest) -> Decision:
        delivery = arrival.delivery
        saga_id = arrival.saga_id or id_for_start(delivery)
        cause = cause_of(delivery)
        digest = digest_of(start.saga_type, start.data)
        known = self._sagas.get(saga_id)
        if known is not None:
            return self._start_again(known, digest, cause, redelivered=comes_again(delivery))
        if start.saga_type not in self._registry:
            raise ProtocolError("unknown_saga_type", f"no definition of {start.saga_type!r} here")
        saga = requested(
            saga_id=saga_id,
            saga_type=start.saga_type,
            data=start.data,
            input_digest=digest,
            now=self._now,
            traceparent=start.traceparent,
            epoch=self._epoch,
        )
        actor = delivery.user_id or delivery.app_id
        self._is_new.add(saga_id)
        return self._begin(saga, cause=cause, actor=actor)

    def _start_again(self, known: Saga, digest: str, cause: str, *, redelivered: bool) -> Decision:
        if known.input_digest != digest:
            raise ProtocolError(
                "start_conflict",
                f"saga {known.saga_id} was started before, with another type or other data",
            )
        again = StartRepeated(cause=cause, redelivered=redelivered)
        return decide(known, again, now=self._now, delay=retry_delay)

    def _begin(self, saga: Saga, *, cause: str, actor: str | None) -> Decision:
        standing = self._standings.get(saga.saga_id)
        try:
            return begun(self._registry, saga, standing, now=self._now, cause=cause, actor=actor)
        except DefinitionError as error:
            self._is_new.discard(saga.saga_id)
            raise ProtocolError("start_refused", str(error)) from error

    def _merge(self, decision: Decision) -> None:
        saga_id = decision.saga.saga_id
        self._sagas[saga_id] = decision.saga
        before = self._merged.get(saga_id)
        if before is not None:
            decision = replace(
                decision,
                transitions=(*before.transitions, *decision.transitions),
                send=(*before.send, *decision.send),
                must_save=True,
            )
        self._merged[saga_id] = decision


def _rejection_of(decision: Decision) -> ProtocolError | None:
    match decision.verdict:
        case Verdict.ADVANCED:
            return None
        case Verdict.OUT_OF_SEQUENCE:
            return ProtocolError("out_of_sequence", "it fits nothing that its saga waits for")
        case Verdict.REFUSED:
            return ProtocolError("refused", decision.refusal or "not in this state")
        case _:
            return None
