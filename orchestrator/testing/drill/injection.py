"""Brings one fault about, once, wherever the programs of a run pass by; and tells the story."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from messaging.contract import Direction
from messaging.errors import SagaError
from messaging.port import Outgoing
from orchestrator.saga.state import Decision, StepStatus
from orchestrator.testing.drill.definition import Change, Obstacle
from orchestrator.testing.drill.faults import (
    ONCE,
    Copies,
    Fault,
    HandlerFault,
    Moment,
    OrchestratorPoint,
    ServicePoint,
)
from orchestrator.testing.drill.matrix import Cell
from orchestrator.testing.drill.story import Kind, Story, named
from orchestrator.testing.drill.telling import (
    fate_of,
    tell_of_arrival,
    tell_of_call,
    tell_of_message,
)
from orchestrator.testing.drill.wire import MessageKind, Subject, subject_of
from participants import Context, StepFailed

ORCHESTRATOR: Final = "orchestrator"
KIT: Final = "kit"  # clients, and people who answer

Crash = Callable[[str], Awaitable[None]]
Cancel = Callable[[], Awaitable[None]]
MakeChange = Callable[[Change], Awaitable[None]]

_UNDER_WAY: Final = {
    Direction.ACTION: StepStatus.EXECUTING,
    Direction.COMPENSATION: StepStatus.COMPENSATING,
}


class Broken(RuntimeError):
    """What a handler raises that the drill breaks."""


class Interrupted(SagaError):
    """Whoever gave an answer has crashed, and does it again."""


class Injection:
    """The fault of one cell. `crash` ends a program and never returns; `cancel` asks for it;
    `change` changes something in the services' database."""

    def __init__(
        self, cell: Cell, story: Story, *, crash: Crash, cancel: Cancel, change: MakeChange
    ) -> None:
        self.has_struck = False
        self.held: list[tuple[Moment, Outgoing]] = []
        self._cell = cell
        self._fault: Final[Fault] = cell.fault
        self._story = story
        self._crash = crash
        self._cancel = cancel
        self._change = change
        self._obstacle: Obstacle | None = None  # that is in the way now
        self._was_obstructed = False
        self._has_cancelled = False
        self._has_harmed = False  # a handler
        self._has_crashed = False
        self._is_moved = False  # the orchestrator has saved what it crashes on
        self._has_relented = False
        self._copied: set[MessageKind] = set()

    # --- handlers ------------------------------------------------------------------------

    async def handle(self, context: Context, call: Callable[[], Awaitable[object]]) -> object:
        """Around each call of a handler."""
        step, direction = context.step_name, context.direction
        tell_of_call(self._story, context)
        if step == self._cell.step and direction is Direction.ACTION and self._fault.is_cancelled:
            await self._cancel_once()
        is_mine = self._is_mine(step, direction)
        if is_mine and not self._was_obstructed:
            self._refuse(context)
        try:
            returned = await call()
        except Exception as error:
            is_no = is_mine and self._obstacle is not None and isinstance(error, StepFailed)
            self.has_struck = self.has_struck or is_no
            self._story.tell(Kind.REFUSED, f"its handler raises {error!r}", step, direction)
            raise
        if is_mine:
            await self._break(context)
        return returned

    def relent(self) -> bool:
        """A compensation that fails for ever succeeds from now on; False if none does."""
        is_stubborn = self._fault.handler is HandlerFault.SAYS_NO_FOR_EVER
        was_stubborn = is_stubborn and not self._has_relented
        self._has_relented = True
        return was_stubborn

    async def _put_obstacle(self) -> None:
        """What the author has given, for which the step says no by itself."""
        known = self._cell.drill.obstacles.get(self._cell.step or "")
        is_wanted = self._fault.handler is HandlerFault.SAYS_NO and not self._was_obstructed
        if known is not None and is_wanted:
            self._obstacle, self._was_obstructed = known, True
            self._story.tell(Kind.FAULT, f"an obstacle is put in the way of {self._cell.step}")
            await self._change(known.put)

    async def remove_obstacle(self) -> None:
        if self._obstacle is not None:
            obstacle, self._obstacle = self._obstacle, None
            self._story.tell(Kind.FAULT, "the obstacle is removed")
            await self._change(obstacle.remove)

    async def _cancel_once(self) -> None:
        if not self._has_cancelled:
            self._has_cancelled = True
            self._strikes("somebody cancels the saga", is_it=self._fault.about is Direction.ACTION)
            await self._cancel()

    def _refuse(self, context: Context) -> None:
        """Say no before anything is done, if that is the fault."""
        match self._fault.handler:
            case HandlerFault.SAYS_NO:
                says_no = not self._has_harmed
            case HandlerFault.SAYS_NO_BUT_LAST:
                planned = self._cell.planned
                last = planned.compensation_retry.max_attempts if planned else 1
                says_no = context.attempt < last
            case HandlerFault.SAYS_NO_FOR_EVER:
                says_no = not self._has_relented
            case _:
                return
        if says_no:
            self._has_harmed = True
            self._strikes(f"{named(context.step_name, context.direction)} says no, nothing is done")
            raise StepFailed("the drill has it say no")

    async def _break(self, context: Context) -> None:
        """Break after the work, if that is the fault."""
        fault = self._fault
        stumbles = fault.handler is HandlerFault.STUMBLES and not self._has_harmed
        if stumbles or (fault.handler is HandlerFault.BREAKS and context.attempt == 1):
            self._has_harmed = True
            self._strikes("the handler has done its work, and breaks")
            raise Broken("the drill breaks it after its work")
        if fault.service is ServicePoint.BEFORE_COMMIT:
            await self._crash_service(context.command.participant, "before its commit")

    # --- messages ------------------------------------------------------------------------

    async def publishing(self, program: str, messages: Sequence[Outgoing]) -> Sequence[int]:
        """How many copies of each leave now. Does not return if the program crashes before."""
        is_reply = program != ORCHESTRATOR and self._has_mine(messages, MessageKind.REPLY)
        if is_reply and self._fault.service is ServicePoint.BEFORE_REPLY:
            await self._crash_before_reply(program)
        if self._has_mine(messages, MessageKind.COMMAND):
            await self._put_obstacle()
        copies = []
        for each in messages:
            tell_of_message(self._story, each)
            copies.append(self._copies_of(each))
        return copies

    async def published(self, program: str, messages: Sequence[Outgoing]) -> Sequence[Outgoing]:
        """What was held back and arrives now. Does not return if the program crashes after."""
        if program == ORCHESTRATOR and self._is_moved:
            await self._crash_orchestrator_at(OrchestratorPoint.AFTER_PUBLISH)
        if self._is_undone_by(messages):
            return self.released(Moment.UNDOING)
        return ()

    def released(self, moment: Moment) -> Sequence[Outgoing]:
        """What was held back until this moment; at rest, all of it."""
        is_over = moment is Moment.AT_REST
        due = [message for until, message in self.held if is_over or until is moment]
        self.held = [each for each in self.held if each[1] not in due]
        for message in due:
            tell_of_arrival(self._story, message)
        return due

    def _copies_of(self, message: Outgoing) -> int:
        """Only the first message of its kind is tampered with."""
        subject = subject_of(message)
        if subject is None or not self._is_about(subject) or subject.kind in self._copied:
            return 1
        copies = self._wanted(subject.kind)
        if copies == ONCE:
            return 1
        self._copied.add(subject.kind)
        if copies.later is not None:
            self.held.append((copies.later, message))
        self._strikes(fate_of(copies, subject), is_it=self._fault.handler is None)
        return copies.now

    def _wanted(self, kind: MessageKind) -> Copies:
        match kind:
            case MessageKind.START:
                return self._fault.start
            case MessageKind.COMMAND:
                return self._fault.command
            case MessageKind.REPLY:
                return self._fault.reply

    def _is_undone_by(self, messages: Sequence[Outgoing]) -> bool:
        """The step's compensation is among them."""
        subjects = [each for each in map(subject_of, messages) if each is not None]
        return any(
            each.kind is MessageKind.COMMAND
            and each.step == self._cell.step
            and each.direction is Direction.COMPENSATION
            for each in subjects
        )

    # --- crashes -------------------------------------------------------------------------

    async def acking(self, program: str, messages: Sequence[Subject | None]) -> None:
        """Before deliveries are acknowledged."""
        if program == ORCHESTRATOR:
            await self._crash_orchestrator_at(OrchestratorPoint.BEFORE_ACK)
            return
        is_mine = any(each is not None and self._is_about(each) for each in messages)
        if is_mine and self._fault.service is ServicePoint.BEFORE_ACK:
            await self._crash_service(program, "after its reply, before its ack")

    async def acked(self, program: str) -> None:
        """After deliveries were acknowledged."""
        if program == ORCHESTRATOR:
            await self._crash_orchestrator_at(OrchestratorPoint.AFTER_ACK)

    async def committing(self, decisions: Sequence[Decision]) -> None:
        """Before the orchestrator commits."""
        if self._fault.orchestrator is not None and self._is_moved_by(decisions):
            self._is_moved = True
            await self._crash_orchestrator_at(OrchestratorPoint.BEFORE_COMMIT)

    async def committed(self) -> None:
        """After the orchestrator has committed."""
        await self._crash_orchestrator_at(OrchestratorPoint.AFTER_COMMIT)

    async def _crash_orchestrator_at(self, point: OrchestratorPoint) -> None:
        if self._is_moved and self._fault.orchestrator is point and not self._has_crashed:
            self._has_crashed = True
            self._strikes(f"the orchestrator crashes, {point.value.replace('-', ' ')}")
            await self._crash(ORCHESTRATOR)

    async def _crash_before_reply(self, program: str) -> None:
        """The service, or whoever answers in its stead: people have no program to end."""
        if program != KIT:
            await self._crash_service(program, "after its commit, before its reply")
        elif not self._has_crashed:
            self._has_crashed = True
            self._strikes("whoever answers crashes when the answer is stored, before it is sent")
            raise Interrupted("the drill ends it before its reply")

    async def _crash_service(self, program: str, when: str) -> None:
        if not self._has_crashed:
            self._has_crashed = True
            self._strikes(f"{program} crashes {when}, and is started again")
            await self._crash(program)

    # --- what is meant -------------------------------------------------------------------

    def _is_moved_by(self, decisions: Sequence[Decision]) -> bool:
        moves = [move for decision in decisions for move in decision.transitions]
        if self._fault.about is None:
            return any(move.version == 1 for move in moves)
        before = _UNDER_WAY[self._fault.about]
        return any(move.step == self._cell.step and move.before == before for move in moves)

    def _is_mine(self, step: str, direction: Direction) -> bool:
        return step == self._cell.step and direction is self._fault.about

    def _is_about(self, subject: Subject) -> bool:
        if subject.kind is MessageKind.START:
            return self._fault.about is None
        return subject.direction is not None and self._is_mine(subject.step, subject.direction)

    def _has_mine(self, messages: Sequence[Outgoing], kind: MessageKind) -> bool:
        subjects = [each for each in map(subject_of, messages) if each is not None]
        return any(each.kind is kind and self._is_about(each) for each in subjects)

    def _strikes(self, told: str, *, is_it: bool = True) -> None:
        """The fault has come to be; a cancel may only prepare it."""
        self.has_struck = self.has_struck or is_it
        self._story.tell(Kind.FAULT, told)
