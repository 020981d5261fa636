"""The course of one saga through the real rules, as a value: no rule is written here."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from messaging.limits import check_data
from orchestrator.backoff import retry_delay
from orchestrator.definition import SagaOrchestrator
from orchestrator.ids import digest_of
from orchestrator.registry import Registry
from orchestrator.saga.decide import decide
from orchestrator.saga.plan import RetryPolicy
from orchestrator.saga.start import begin, requested
from orchestrator.saga.state import (
    CancelRequested,
    Decision,
    Event,
    Outbound,
    Published,
    Reply,
    ResolveRequested,
    RetryRequested,
    Saga,
    TimeReached,
    Transition,
    Verdict,
)

ByHand = CancelRequested | RetryRequested | ResolveRequested


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A saga as it is at the moment `now`, and all that has led there."""

    saga: Saga
    now: datetime
    history: tuple[Transition, ...] = ()
    sent: tuple[Outbound, ...] = ()  # each once, however often it was sent again
    verdict: Verdict = Verdict.ADVANCED  # on the last thing that happened
    late: str | None = None
    refusal: str | None = None


def begun(
    definition: SagaOrchestrator, data: Mapping[str, Any], *, saga_id: str, now: datetime
) -> Course:
    """The saga has started, and its first commands are sent.

    Raises DefinitionError for what an orchestrator would refuse to register or to plan,
    ProtocolError for data that cannot cross the network.
    """
    check_data(data)
    registry = Registry([definition])
    saga_type = definition.saga_type
    saga = requested(
        saga_id=saga_id,
        saga_type=saga_type,
        data=dict(data),
        input_digest=digest_of(saga_type, data),
        now=now,
    )
    decision = begin(
        saga,
        registry.plan(saga_type, data),
        on_exhausted=registry.on_exhausted(saga_type),
        now=now,
        delay=steady_delay,
        cause="start",
    )
    return _sending(_followed(Course(saga=saga, now=now), decision), decision)


def heard(course: Course, reply: Reply) -> Course:
    """A participant's reply has come in, and what follows from it has left."""
    decision = _decided(course, reply)
    return _sending(_followed(course, decision), decision)


def asked(course: Course, event: ByHand) -> Course:
    """A person has asked for something: it is saved, and the clock sends what follows."""
    after = _followed(course, _decided(course, event))
    told = passed(after, after.now)
    return replace(told, verdict=after.verdict, late=after.late, refusal=after.refusal)


def passed(course: Course, until: datetime) -> Course:
    """Time has passed until then, and the clock has looked at each moment that was due."""
    while (due := course.saga.wake_at) is not None and due <= until:
        after = _looked_at(replace(course, now=max(course.now, due)))
        if after.saga == course.saga:
            break
        course = after
    return replace(course, now=max(course.now, until))


def steady_delay(policy: RetryPolicy, attempt: int, key: str) -> timedelta:
    """The orchestrator's own pauses, without their jitter: a test can name them."""
    return retry_delay(replace(policy, jitter=False), attempt, key)


def _looked_at(course: Course) -> Course:
    """One round of the clock: decide, send, and know that it has left."""
    decision = _decided(course, TimeReached())
    after = _sending(_followed(course, decision), decision)
    if not decision.send:
        return after
    confirmed = _decided(after, Published(version=after.saga.version))
    return replace(_followed(after, confirmed), verdict=decision.verdict, late=decision.late)


def _decided(course: Course, event: Event) -> Decision:
    return decide(course.saga, event, now=course.now, delay=steady_delay)


def _followed(course: Course, decision: Decision) -> Course:
    return replace(
        course,
        saga=decision.saga,
        history=(*course.history, *decision.transitions),
        verdict=decision.verdict,
        late=decision.late,
        refusal=decision.refusal,
    )


def _sending(course: Course, decision: Decision) -> Course:
    known = {_identity(each) for each in course.sent}
    fresh = [each for each in decision.send if _identity(each) not in known]
    return replace(course, sent=(*course.sent, *fresh))


def _identity(sent: Outbound) -> tuple[object, ...]:
    return sent.kind, sent.destination, sent.step, sent.direction, sent.attempt, sent.reason
