"""A saga, its participants behind guards, a broker without order, and a database that forgets.

Drawn from a seed. The database goes back to any of its earlier states, or to none at all, in
which case the client, who cannot find its saga, starts it again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from saga_stories import MINUTE, NOON, pause, plan, step

from messaging import contract
from messaging.contract import Direction as Way
from orchestrator.saga import decide as core
from orchestrator.saga.flow import is_forward_exhausted
from orchestrator.saga.plan import OnTimeout, PlannedStep, RetryPolicy
from orchestrator.saga.start import begin, requested
from orchestrator.saga.state import (
    CancelRequested,
    CompensationCompleted,
    CompensationFailed,
    Decision,
    Direction,
    Event,
    Outbound,
    OutboundKind,
    Published,
    Reply,
    ResolveRequested,
    RetryRequested,
    Saga,
    SagaState,
    StepCompleted,
    StepFailed,
    StepStatus,
    TimeReached,
)
from participants.guard import Bury, Entry, Execute, Refuse, State, verdict_on

MANY = RetryPolicy(max_attempts=3)
STEP: dict[str, Any] = {"retry": MANY, "compensation_retry": MANY}
AGAIN: dict[str, Any] = {**STEP, "on_timeout": OnTimeout.RESEND}
PLANS: dict[str, Sequence[PlannedStep]] = {
    "in a row": plan(step("a", **STEP), step("b", **STEP), step("c", **STEP)),
    "in parallel": plan([step("a", **STEP), step("b", **STEP)], step("c", **AGAIN)),
    "not all undone": plan(step("a", **STEP), step("b", **AGAIN), step("c", undo=False, **STEP)),
    "with a pivot": plan(
        step("a", **STEP), step("p", undo=False, pivot=True, **STEP), step("z", undo=False, **STEP)
    ),
}
FAULTS = 40  # happenings before everybody behaves
PATIENCE = 2000


@dataclass(slots=True)
class Book:
    """What one step's participant knows and has done."""

    entry: Entry | None = None
    epoch: str | None = None  # in which it first heard of the step
    stands: bool = False
    times_done: int = 0


@dataclass(frozen=True, slots=True)
class Sent:
    """A command under way."""

    step: str
    direction: Direction
    attempt: int
    epoch: str | None


@dataclass(slots=True)
class World:
    """Everything, and what has happened to it."""

    plan: Sequence[PlannedStep]
    draw: Random
    epoch: int = 1
    saga: Saga | None = None
    kept: list[Saga | None] = field(default_factory=lambda: [None])
    books: dict[str, Book] = field(default_factory=dict)
    under_way: list[Sent | Reply] = field(default_factory=list)
    letters: list[str] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    now: Any = NOON
    messages: int = 0
    doubts: bool = True

    # --- the database

    def forget(self) -> None:
        """A standby without the last commits takes over."""
        self.epoch += 1
        survives = self.draw.randrange(len(self.kept))
        del self.kept[survives + 1 :]
        known = self.kept[-1]
        self.saga = known
        if known is not None:
            is_open = bool(known.steps) and not known.state.is_final
            epochs = (*known.epochs, str(self.epoch))
            self.saga = replace(known, epochs=epochs, in_doubt=is_open and self.doubts)
        self._tell(f"-- the database forgets; it knows {self.saga and self.saga.state}")

    def _commit(self, decision: Decision) -> None:
        if decision.must_save:
            self.saga = decision.saga
            self.kept.append(decision.saga)

    # --- the orchestrator

    def start(self) -> None:
        """The client repeats its start until the saga is there."""
        asked = requested(saga_id="s", saga_type="T", data={}, input_digest="d", now=self.now)
        asked = replace(asked, epochs=(str(self.epoch),))
        if self.draw.random() < 0.5:  # through the database: a worker plans it later
            self.saga = replace(asked, resend_at=self.now)
            self.kept.append(replace(asked, epochs=()))
        else:
            self._begin(asked, cause="m")

    def _begin(self, asked: Saga, *, cause: str | None) -> None:
        begun = begin(
            asked,
            self.plan,
            on_exhausted=asked.on_exhausted,
            now=self.now,
            delay=pause,
            cause=cause,
        )
        self._commit(replace(begun, must_save=True))
        self._send(begun.send)

    def happens(self, event: Event) -> None:
        if self.saga is None:
            self._tell(f"{event} for a saga that nobody knows")
            return
        decision = core.decide(self.saga, event, now=self.now, delay=pause)
        self._tell(f"{type(event).__name__} {getattr(event, 'step', '')}", decision)
        self._commit(decision)
        self._send(decision.send)
        if isinstance(event, TimeReached) and decision.send:
            self.happens(Published(version=decision.saga.version))

    def _send(self, owed: Sequence[Outbound]) -> None:
        assert self.saga is not None
        for each in owed:
            if each.kind is OutboundKind.COMMAND:
                assert each.step
                assert each.direction
                sent = Sent(each.step, each.direction, each.attempt or 1, self.saga.epoch)
                self.under_way.append(sent)
            elif each.kind is OutboundKind.DEAD_LETTER:
                self.letters.append(each.reason or "")

    def time_passes(self) -> None:
        if self.saga is not None and self.saga.wake_at is not None:
            self.now = max(self.now + MINUTE, self.saga.wake_at)
        elif self.saga is None or not self.saga.in_doubt:
            return
        if self.saga is not None and not self.saga.steps and not self.saga.state.is_final:
            self._begin(self.saga, cause=None)
            self.happens(Published(version=self.saga.version))
        else:
            self.happens(TimeReached())

    # --- participants

    def arrives(self, *, faults: bool) -> None:
        """One message out of those under way, in any order, perhaps not for the last time."""
        if not self.under_way:
            return
        number = self.draw.randrange(len(self.under_way))
        message = self.under_way[number]
        if not faults or self.draw.random() > 0.2:
            del self.under_way[number]
        if isinstance(message, Sent):
            self._handle(message, faults=faults)
        else:
            self.happens(message)

    def _handle(self, sent: Sent, *, faults: bool) -> None:
        book = self.books.setdefault(sent.step, Book())
        go_wrong = faults and self.draw.random() < 0.3
        self.messages += 1
        origin: dict[str, Any] = {
            "step": sent.step,
            "attempt": sent.attempt,
            "cause": f"m{self.messages}",
            "epoch": sent.epoch,
        }
        known = book.entry
        if sent.direction is Direction.ACTION:
            reply = self._act(book, go_wrong, origin)
        else:
            reply = self._undo(book, go_wrong, origin)
        if known is None and book.entry is not None:
            book.epoch = sent.epoch
        epochs = dict.fromkeys(filter(None, (book.epoch, sent.epoch)))
        reply = replace(reply, epoch=" ".join(epochs))
        self._tell(f"   {sent.step} is asked: {sent.direction}; {type(reply).__name__}, {book}")
        self.under_way.append(reply)

    def _act(self, book: Book, go_wrong: bool, origin: dict[str, Any]) -> Reply:
        match verdict_on(Way.ACTION, book.entry):
            case Execute():
                pass
            case Refuse():
                return StepFailed(**origin, error="refused")
            case _:
                is_done = book.entry is not None and book.entry.state is State.DONE
                return StepCompleted(**origin) if is_done else StepFailed(**origin, error="no")
        kind = self.draw.choice(["for good", "for now", "unknown"]) if go_wrong else "well"
        if kind == "for good":
            state = State.FAILED if book.entry is None else State.UNKNOWN
            book.entry = Entry(state=state, action_reply=NO_REPLY)
            return StepFailed(**origin, error="no")
        if kind == "for now":
            return StepFailed(**origin, error="not now", retryable=True)
        if kind == "unknown" and self.draw.random() < 0.5:
            book.entry = Entry(state=State.UNKNOWN)
            return StepFailed(**origin, error="who knows", retryable=True, effect_unknown=True)
        book.times_done += not book.stands
        book.stands = True
        book.entry = Entry(state=State.UNKNOWN if kind == "unknown" else State.DONE)
        book.entry = replace(book.entry, action_reply=None if kind == "unknown" else NO_REPLY)
        if kind == "unknown":
            return StepFailed(**origin, error="who knows", retryable=True, effect_unknown=True)
        return StepCompleted(**origin)

    def _undo(self, book: Book, go_wrong: bool, origin: dict[str, Any]) -> Reply:
        match verdict_on(Way.COMPENSATION, book.entry):
            case Execute() if go_wrong:
                return CompensationFailed(**origin, error="cannot")
            case Execute():
                book.stands = False
                book.entry = Entry(state=State.COMPENSATED, compensation_reply=NO_REPLY)
            case Bury():
                book.entry = Entry(state=State.TOMBSTONE, compensation_reply=NO_REPLY)
            case _:
                pass
        return CompensationCompleted(**origin)

    # --- what came of it

    def _tell(self, what: str, decision: Decision | None = None) -> None:
        told = "" if decision is None else f" -> {decision.saga.state}, {decision.verdict}"
        self.story.append(what + told)

    @property
    def has_ended(self) -> bool:
        return self.saga is not None and self.saga.state.is_final and not self.under_way


# A stored reply; what it says, the entry's state says as well.
NO_REPLY = contract.Reply(type=contract.ReplyType.STEP_COMPLETED, saga_id="saga", step_name="step")


def play(world: World, *, losses: int) -> World:
    """Faults, commits lost at any time, and then quiet until the saga has ended."""
    moments = {world.draw.randrange(FAULTS) for _ in range(losses)}
    world.start()
    for number in range(FAULTS):
        if number in moments:
            world.forget()
        if world.saga is None:
            world.start()
        chance = world.draw.random()
        if chance < 0.8:
            world.arrives(faults=True)
        elif chance < 0.95:
            world.time_passes()
        elif world.draw.random() < 0.3 and world.saga is not None and world.saga.steps:
            # One that is cancelled before it is planned asks nobody: `saga reconcile` sees it.
            world.happens(CancelRequested(reason="called off", actor="anna"))
    _become_quiet(world)
    return world


def _become_quiet(world: World) -> None:
    for _ in range(PATIENCE):
        if world.has_ended:
            return
        if world.saga is None:
            world.start()
        if world.under_way:
            world.arrives(faults=False)
        else:
            _mend(world)
            world.time_passes()
    world.letters.append("STUCK")


def _mend(world: World) -> None:
    """A person sees to what waits for one."""
    assert world.saga is not None
    for each in world.saga.steps:
        asked: dict[str, Any] = {"step": each.name, "reason": "mended", "actor": "anna"}
        if each.status is StepStatus.COMPENSATION_FAILED:
            world.happens(RetryRequested(**asked))
        elif is_forward_exhausted(world.saga, each):
            world.books.setdefault(each.name, Book()).stands = True
            world.happens(ResolveRequested(**asked))


def problems_of(world: World) -> list[str]:
    """What is half done although nobody was told."""
    saga = world.saga
    assert saga is not None
    found = ["stuck"] if "STUCK" in world.letters else []
    for each in world.plan:
        book = world.books.get(each.name, Book())
        if saga.state is SagaState.COMPLETED and not book.stands:
            found.append(f"completed, and {each.name} is missing")
        if saga.state is SagaState.FAILED and book.stands and each.compensation:
            found.append(f"failed, and {each.name} stands")
        if saga.state is SagaState.FAILED and book.stands and each.pivot:
            found.append(f"failed, and its pivot {each.name} stands")
        if book.times_done > 1:
            found.append(f"{each.name} was done {book.times_done} times")
    is_told = {"in_doubt", "late_success"} & set(world.letters)
    return [] if is_told and "STUCK" not in world.letters else found
