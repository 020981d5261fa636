"""The mistakes of participants by name, and which of them a broken rule points to. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from messaging.contract import Direction
from orchestrator.testing.drill.judging import Breach, Rule
from orchestrator.testing.drill.running import Run
from orchestrator.testing.drill.story import Event, Kind


@dataclass(frozen=True, slots=True)
class Told:
    """A mistake in words: its name, what it does, and what to do about it."""

    name: str
    cause: str
    remedy: str


class Mistake(Enum):
    """The most telling first."""

    ACTION_AFTER_COMPENSATION = Told(
        "action accepted after its compensation",
        "the action was carried out although its compensation had been there before: nothing"
        " will ever undo it",
        "run it behind the guard, or keep a note of each compensation, also of one that found"
        " nothing, and refuse the action that comes after it",
    )
    FAILURE_NOT_STICKY = Told(
        "failure not sticky",
        "it has said no for good, the saga went back, and then the same command was carried out",
        "run it behind the guard, or keep each no by its saga-command-id, and give it again",
    )
    NO_IDEMPOTENCY = Told(
        "no idempotency",
        "the command was carried out more than once, and each time it had its effect",
        "run it behind the guard with its effect in context.session; hand"
        " context.idempotency_key to whatever has its effects elsewhere",
    )
    UNDOES_WHAT_WAS_NOT_DONE = Told(
        "compensation undoes what was not done",
        "the compensation was carried out without an effect of the action, and had one itself",
        "look first what this saga has done; where there is nothing, raise NotFound",
    )
    COMPENSATION_NOT_IDEMPOTENT = Told(
        "compensation not idempotent",
        "the compensation was carried out twice, and did its work twice or failed for ever",
        "run it behind the guard with its effect in context.session; what is undone already is"
        " NotFound, which is success",
    )
    COMPENSATION_NEEDS_RESULT = Told(
        "compensation needs the action's result",
        "the action's reply was not heard, so that original_result is null: the compensation"
        " has not undone what the action did",
        "find what is to be undone by context.saga_id and step, not by the result",
    )
    NO_WAY_BACK = Told(
        "no way back",
        "the step has an effect and no compensation: if its reply is not heard, the saga fails"
        " and the effect stands",
        "give it a compensation; where nothing can undo it, make it the pivot, or put it after",
    )
    EFFECT_OF_A_FAILURE = Told(
        "effect of a failure",
        "the action has said that it failed without effect, and its effect stands",
        'do it in context.session, which is undone; else answer effect="unknown"',
    )
    COMPENSATION_LEAVES_EFFECT = Told(
        "compensation leaves the effect",
        "the compensation has said that it is done, and the effect stands",
        "undo in it all that the action does, by the same books",
    )
    DONE_WITHOUT_EFFECT = Told(
        "done without effect",
        "the action has said that it is done, and the books know nothing of it",
        "commit the effect before the answer, in context.session; or mend the ledger",
    )
    COMPENSATION_FAILS = Told(
        "compensation fails",
        "the compensation failed at all its attempts, and nobody made it fail",
        "a compensation must succeed in the end; what cannot be undone belongs after the pivot",
    )
    BOOKS_DO_NOT_ADD_UP = Told(
        "books do not add up",
        "every effect is in its place, and yet the audit has something against the sums",
        "compare what the action and its compensation write, amount by amount",
    )
    UNEXPLAINED = Told(
        "unexplained",
        "no known mistake looks like this",
        "read the story; if the services are right, this is a defect of countermand: report it",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A broken rule, and the mistake that it points to."""

    breach: Breach
    mistake: Mistake


def finding_of(run: Run, breaches: Sequence[Breach]) -> Finding | None:
    """The most telling of them; None if nothing was broken."""
    findings = [Finding(breach=each, mistake=mistake_of(run, each)) for each in breaches]
    order = list(Mistake)
    return min(findings, key=lambda each: order.index(each.mistake), default=None)


def mistake_of(run: Run, breach: Breach) -> Mistake:
    """By what had happened to the step when the rule was broken."""
    step = breach.step
    match breach.rule:
        case Rule.ONCE | Rule.NEVER_AGAIN:
            return _of_rise(run.events[: breach.at], breach)
        case Rule.UNDONE_ONCE:
            was_done = _has(run.events[: breach.at], step, Direction.ACTION, Kind.COMMITTED)
            is_repeated = was_done or _times_undone(run.events[: breach.at], step) > 1
            return (
                Mistake.COMPENSATION_NOT_IDEMPOTENT
                if is_repeated
                else Mistake.UNDOES_WHAT_WAS_NOT_DONE
            )
        case Rule.NOTHING_LEFT:
            return _of_remains(run, breach)
        case Rule.WHOLE:
            return Mistake.DONE_WITHOUT_EFFECT
        case Rule.ENDS:
            return _of_halt(run, step)
        case Rule.BALANCED:
            return Mistake.BOOKS_DO_NOT_ADD_UP
        case Rule.AS_IT_SAYS:
            return Mistake.UNEXPLAINED


def _of_rise(events: Sequence[Event], breach: Breach) -> Mistake:
    """The last thing that happened is an effect that should not have been."""
    if _has(events, breach.step, Direction.COMPENSATION, Kind.SAID_DONE):
        return Mistake.ACTION_AFTER_COMPENSATION
    if _has(events, breach.step, Direction.ACTION, Kind.SAID_NO):
        return Mistake.FAILURE_NOT_STICKY
    return Mistake.NO_IDEMPOTENCY


def _of_remains(run: Run, breach: Breach) -> Mistake:
    """The saga has failed, and the effect of a step stands."""
    step, events = breach.step, run.events
    rise = _last_rise(events, step)
    if rise is not None:
        if _has(events[:rise], step, Direction.COMPENSATION, Kind.SAID_DONE):
            return Mistake.ACTION_AFTER_COMPENSATION
        if _has(events[:rise], step, Direction.ACTION, Kind.SAID_NO):
            return Mistake.FAILURE_NOT_STICKY
    if _has(events, step, Direction.COMPENSATION, Kind.CALLED_BLINDLY):
        return Mistake.COMPENSATION_NEEDS_RESULT
    if any(each.name == step and each.compensation is None for each in run.cell.plan):
        return Mistake.NO_WAY_BACK
    if _has(events, step, Direction.ACTION, Kind.SAID_NO):
        return Mistake.EFFECT_OF_A_FAILURE
    if _has(events, step, Direction.COMPENSATION, Kind.SAID_DONE):
        return Mistake.COMPENSATION_LEAVES_EFFECT
    return Mistake.UNEXPLAINED


def _of_halt(run: Run, step: str | None) -> Mistake:
    """A person is called."""
    if not _has(run.events, step, Direction.COMPENSATION, Kind.REFUSED):
        return Mistake.UNEXPLAINED
    if _has(run.events, step, Direction.COMPENSATION, Kind.COMMITTED):
        return Mistake.COMPENSATION_NOT_IDEMPOTENT
    if _has(run.events, step, Direction.COMPENSATION, Kind.CALLED_BLINDLY):
        return Mistake.COMPENSATION_NEEDS_RESULT
    return Mistake.COMPENSATION_FAILS


def _has(events: Sequence[Event], step: str | None, direction: Direction, kind: Kind) -> bool:
    return any(
        each.kind is kind and each.step == step and each.direction is direction for each in events
    )


def _times_undone(events: Sequence[Event], step: str | None) -> int:
    undone = [each for each in events if each.kind is Kind.COMMITTED and each.step == step]
    return sum(each.direction is Direction.COMPENSATION for each in undone)


def _last_rise(events: Sequence[Event], step: str | None) -> int | None:
    """Where the ledger of the step rose last."""
    before, found = 0, None
    for at, event in enumerate(events):
        if event.kind is Kind.LEDGER and event.step == step:
            found = at if event.count > before else found
            before = event.count
    return found
