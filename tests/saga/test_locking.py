"""Who gets a lock, who waits, who is refused; and every reachable state of small lines."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import product

import pytest
from saga_stories import MINUTE, NOON, SECOND, pause, plan

from orchestrator.saga.decide import decide
from orchestrator.saga.locking import (
    QUEUE,
    REFUSE,
    REFUSED,
    TIMED_OUT,
    WAIT,
    Admission,
    Line,
    LockPolicy,
    LockRequest,
    Standing,
    begin_under_locks,
    has_let_go,
    standings,
)
from orchestrator.saga.plan import OnExhausted
from orchestrator.saga.start import requested
from orchestrator.saga.state import CancelRequested, Decision, Saga, SagaState, TimeReached, Verdict

NONE: frozenset[str] = frozenset()


def wish(saga_id: str, *names: str, place: int = 9, policy: LockPolicy = WAIT) -> LockRequest:
    return LockRequest(
        saga_id=saga_id,
        saga_type="Order",
        names=tuple(sorted(names)),
        policy=policy,
        asked_at=NOON,
        place=place,
    )


def stand(request: LockRequest, *, undecided: frozenset[str] = NONE, **lines: Line) -> Standing:
    known = {name: lines.get(name, Line()) for name in request.names}
    [standing] = standings([request], known, undecided=undecided, now=NOON)
    return standing


def test_free_names_are_granted() -> None:
    assert stand(wish("me", "a", "b")).admission is Admission.GRANTED


def test_one_taken_name_is_enough_to_wait_for_all() -> None:
    standing = stand(wish("me", "a", "b"), b=Line(holder="you"))
    assert (standing.admission, standing.name, standing.behind) == (Admission.WAITING, "b", "you")


def test_whoever_came_earlier_goes_first_though_nobody_holds_it() -> None:
    assert stand(wish("me", "a"), a=Line(first=(3, "you"))).admission is Admission.WAITING
    assert stand(wish("me", "a", place=2), a=Line(first=(3, "you"))).admission is Admission.GRANTED
    assert stand(wish("me", "a", place=3), a=Line(first=(3, "you"))).admission is Admission.GRANTED
    assert stand(wish("you", "a", place=3), a=Line(first=(3, "me"))).admission is Admission.WAITING


def test_a_name_over_which_somebody_else_decides_is_left_open() -> None:
    standing = stand(wish("me", "a", "b", policy=REFUSE), undecided=frozenset("b"))
    assert (standing.admission, standing.name) == (Admission.UNDECIDED, "b")


def test_of_one_batch_the_first_gets_it_and_the_second_waits() -> None:
    lines = {"a": Line(), "b": Line(), "c": Line()}
    requests = [wish("one", "a"), wish("two", "a", "b"), wish("three", "b"), wish("four", "c")]
    decided = standings(requests, lines, undecided=NONE, now=NOON)
    assert [each.admission for each in decided] == [
        Admission.GRANTED,
        Admission.WAITING,
        Admission.GRANTED if requests[2].rank < requests[1].rank else Admission.WAITING,
        Admission.GRANTED,
    ]


@pytest.mark.parametrize(("waiting", "admission"), [(0, Admission.WAITING), (2, Admission.REFUSED)])
def test_a_line_is_full_when_so_many_wait(waiting: int, admission: Admission) -> None:
    line = Line(holder="you", waiting=waiting, first=(1, "her") if waiting else None)
    request = wish("me", "a", policy=LockPolicy(limit=2))
    assert stand(request, a=line).admission is admission
    assert stand(replace(request, is_in_line=True), a=line).admission is Admission.WAITING


def test_the_three_words_are_three_policies() -> None:
    taken = {"a": Line(holder="you", waiting=100)}
    found = {name: stand(wish("me", "a", policy=name), **taken).admission for name in (WAIT, QUEUE)}
    assert found == {WAIT: Admission.WAITING, QUEUE: Admission.REFUSED}
    refused = stand(wish("me", "a", policy=REFUSE), a=Line(holder="you"))
    assert refused.admission is Admission.REFUSED


# --- what becomes of the saga ----------------------------------------------------------


def asked_for() -> Saga:
    return requested(saga_id="me", saga_type="Order", data={"order": 1}, input_digest="x", now=NOON)


def begin(
    admission: Admission, *, saga: Saga | None = None, policy: LockPolicy = WAIT, after: int = 0
) -> Decision:
    request = wish("me", "a", policy=policy)
    standing = Standing(request=request, admission=admission, name="a", behind="you")
    return begin_under_locks(
        saga or asked_for(),
        plan("one", "two"),
        standing,
        on_exhausted=OnExhausted.HALT,
        now=NOON + after * SECOND,
        delay=pause,
        cause="start",
    )


def test_granted_it_begins_and_its_plan_knows_of_its_locks() -> None:
    decision = begin(Admission.GRANTED)
    assert [owed.step for owed in decision.send] == ["one"]
    assert [step.plan.locked for step in decision.saga.steps] == [True, None]


def test_in_line_it_owes_nothing_and_the_clock_looks_again() -> None:
    decision = begin(Admission.WAITING)
    saga = decision.saga
    assert (saga.state, saga.steps, decision.send) == (SagaState.STARTED, (), ())
    assert saga.wake_at == NOON + MINUTE
    assert [line.note for line in decision.transitions] == ["waits for a, behind saga you"]
    again = begin(Admission.WAITING, saga=saga, after=60)
    assert (again.transitions, again.saga.wake_at) == ((), NOON + 2 * MINUTE)
    assert decide(saga, TimeReached(), now=NOON, delay=pause).verdict is Verdict.NOTHING


def test_it_looks_at_the_end_of_its_patience_and_fails_then() -> None:
    policy = LockPolicy(timeout=10 * SECOND)
    saga = begin(Admission.WAITING, policy=policy).saga
    assert saga.wake_at == NOON + 10 * SECOND
    request = replace(wish("me", "a", policy=policy), is_in_line=True)
    [standing] = standings(
        [request], {"a": Line(holder="you")}, undecided=NONE, now=NOON + 10 * SECOND
    )
    assert standing.admission is Admission.TIMED_OUT
    failed = begin(Admission.TIMED_OUT, saga=saga, policy=policy, after=10)
    assert failed.saga.state is SagaState.FAILED
    assert failed.saga.first_failure is not None
    assert failed.saga.first_failure.error.startswith("waited 10 s for the lock 'a', behind saga")
    assert TIMED_OUT in [line.note for line in failed.transitions]


def test_refused_it_has_failed_and_tells_whoever_listens() -> None:
    decision = begin(Admission.REFUSED, policy=REFUSE)
    assert decision.saga.state is SagaState.FAILED
    assert [owed.destination for owed in decision.send] == ["OrderFailed"]
    assert REFUSED in [line.note for line in decision.transitions]
    assert decision.saga.wake_at is None


def test_undecided_it_is_due_again_at_once_and_nothing_is_told() -> None:
    decision = begin(Admission.UNDECIDED)
    assert (decision.transitions, decision.must_save) == ((), True)
    assert decision.saga.wake_at is not None
    assert NOON < decision.saga.wake_at < NOON + timedelta(milliseconds=100)


def test_cancelled_in_line_it_fails_at_once_and_lets_go() -> None:
    saga = begin(Admission.WAITING).saga
    decision = decide(saga, CancelRequested(reason="no", actor="me"), now=NOON, delay=pause)
    assert decision.saga.state is SagaState.FAILED
    assert has_let_go(decision.saga)
    assert not has_let_go(saga)
    assert not has_let_go(begin(Admission.GRANTED).saga)


# --- every line of three sagas ---------------------------------------------------------


@dataclass(frozen=True)
class World:
    """What the table of locks says, and who has ended."""

    wishes: tuple[LockRequest, ...]
    holding: frozenset[str] = frozenset()
    waiting: frozenset[str] = frozenset()
    ended: frozenset[str] = frozenset()

    def lines(self) -> dict[str, Line]:
        lines = {name: Line() for name in "abc"}
        for each in self.wishes:
            for line in (lines[name] for name in each.names):
                if each.saga_id in self.holding:
                    assert line.holder is None, "a name is held by two"
                    line.holder = each.saga_id
                elif each.saga_id in self.waiting:
                    line.waiting += 1
                    line.first = min(line.first or each.rank, each.rank)
        return lines

    def after_asking(self, wish: LockRequest) -> "World":
        again = replace(wish, is_in_line=wish.saga_id in self.waiting)
        [standing] = standings([again], self.lines(), undecided=NONE, now=NOON)
        others = self.waiting - {wish.saga_id}
        if standing.is_granted:
            earlier = [
                each
                for each in self.wishes
                if each.saga_id in others
                and each.rank < wish.rank
                and set(each.names) & set(wish.names)
            ]
            assert not earlier, "somebody who waits was overtaken"
            return replace(self, holding=self.holding | {wish.saga_id}, waiting=others)
        return replace(self, waiting=others | {wish.saga_id})

    def nexts(self) -> Iterator["World"]:
        for wish in self.wishes:
            me = {wish.saga_id}
            if wish.saga_id in self.holding:
                yield replace(self, holding=self.holding - me, ended=self.ended | me)
            elif wish.saga_id not in self.ended:
                yield self.after_asking(wish)
                if wish.saga_id in self.waiting:  # cancelled in line
                    yield replace(self, waiting=self.waiting - me, ended=self.ended | me)

    @property
    def identity(self) -> tuple[frozenset[str], ...]:
        return self.holding, self.waiting, self.ended


@pytest.mark.parametrize(
    "names", list(product(["a", "b", "ab", "bc", "abc"], repeat=3)), ids="-".join
)
def test_nothing_is_held_by_two_nobody_is_overtaken_and_somebody_can_always_go_on(
    names: tuple[str, ...],
) -> None:
    wishes = tuple(wish(f"s{i}", *each, place=i) for i, each in enumerate(names))
    start = World(wishes)
    seen, left = {start.identity}, [start]
    while left:
        world = left.pop()
        if world.waiting and not world.holding:
            first = min(each.rank for each in wishes if each.saga_id in world.waiting)
            [its] = [each for each in wishes if each.rank == first]
            assert first[1] in world.after_asking(its).holding, "all wait, and none may go"
        for after in world.nexts():
            after.lines()
            if after.identity not in seen:
                seen.add(after.identity)
                left.append(after)
    assert any(len(ended) == 3 for _, _, ended in seen)
