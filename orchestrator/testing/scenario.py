"""The scenario language: a saga is told what happens, and must do what is expected of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from messaging.limits import check_result
from orchestrator.definition import SagaOrchestrator
from orchestrator.saga.state import (
    CancelRequested,
    Direction,
    ResolveRequested,
    RetryRequested,
    Saga,
    Transition,
)
from orchestrator.testing.checks import (
    check_announcement,
    check_body,
    check_end,
    check_kind,
    check_letter,
    check_pause,
    check_state,
    check_statuses,
)
from orchestrator.testing.course import begun
from orchestrator.testing.failures import HIDDEN, failure, story
from orchestrator.testing.replies import completion_of, failure_of
from orchestrator.testing.selecting import deadline_of, late_command, open_command
from orchestrator.testing.situation import Situation

__tracebackhide__ = HIDDEN

BEGINNING: Final = datetime(2030, 1, 1, tzinfo=UTC)
"""When a scenario's clock begins."""

_TESTER: Final = "the test"


def given(
    definition: type[SagaOrchestrator] | SagaOrchestrator,
    data: Mapping[str, Any] | None = None,
    *,
    saga_id: str = "saga-1",
) -> "Scenario":
    """A saga that has just started with this data. Its first commands wait to be expected.

    Raises DefinitionError for a definition, or a plan, that the orchestrator would refuse, and
    ProtocolError for data that cannot cross the network.
    """
    made = definition() if isinstance(definition, type) else definition
    course = begun(made, data or {}, saga_id=saga_id, now=BEGINNING)
    return Scenario(Situation(course=course))


@dataclass(frozen=True, slots=True)
class Scenario:
    """A saga at one moment of its story. Each verb gives the scenario after it.

    A scenario is a value: two stories may go on from the same one. Verbs in the third person
    (`expects`, `completes`, `ends`) are what the saga or a participant does; imperatives
    (`cancel`, `retry`, `resolve`) are a person's. All raise ScenarioFailed.
    """

    at: Situation

    # --- what the saga must have done ---------------------------------------------------

    def expects(self, *steps: str) -> "Scenario":
        """Exactly these steps' actions have been sent since the last look; they are answered
        next. Several steps are a parallel stage, in any order."""
        return Scenario(self.at.settled().seeing(steps, Direction.ACTION))

    def compensates(self, *steps: str) -> "Scenario":
        """The same for compensations. Without another answer they complete."""
        undoing = self.at.settled().seeing(steps, Direction.COMPENSATION)
        return Scenario(replace(undoing, implied=undoing.selected))

    def retries(self, *steps: str, after: timedelta | None = None) -> "Scenario":
        """The pause passes, and the command is sent once more, in the direction the step is
        going. With `after` the pause must be of that length; it has no jitter here."""
        at = self.at.settled()
        due = check_pause(at.course, at.unseen, steps, after)
        return Scenario(at.passed(due).seeing(steps, None))

    def carrying(self, data: Mapping[str, Any]) -> "Scenario":
        """The commands that were just expected carry these values, among others."""
        check_body(self.at.course, self.at.chosen("carrying"), data)
        return self

    def sends_nothing(self) -> "Scenario":
        """No command has been sent since the last look."""
        return Scenario(self.at.settled().seeing((), None))

    def announces(self, event: str, data: Mapping[str, Any] | None = None) -> "Scenario":
        """This event has been sent, with these values among others."""
        at = self.at.settled()
        check_announcement(at.course, event, data or {})
        return Scenario(at)

    def calls_person(self, reason: str) -> "Scenario":
        """A dead letter has been sent for this reason, such as `compensation_exhausted`."""
        at = self.at.settled()
        check_letter(at.course, reason)
        return Scenario(at)

    def counts_as(self, kind: str) -> "Scenario":
        """The last reply came late, or again, and counts as that: `duplicate`, `late_success`,
        `conflict`, `out_of_sequence`, … as in the metric of late replies."""
        check_kind(self.at.course, kind)
        return self

    def steps(self, **statuses: str) -> "Scenario":
        """These steps have these statuses now: `.steps(flight="compensated")`."""
        at = self.at.settled()
        check_statuses(at.course, statuses)
        return Scenario(at)

    def is_now(self, state: str) -> "Scenario":
        """The saga is in this state, and need not have ended."""
        at = self.at.settled()
        check_state(at.course, state)
        return Scenario(at)

    def ends(
        self, state: Literal["completed", "failed"], *, error: str | None = None
    ) -> "Scenario":
        """The saga has ended so, and every command that it sent was expected. With `error`,
        its first failure says that."""
        at = self.at.settled()
        check_end(at.course, at.unseen, state, error)
        return Scenario(at)

    # --- what participants answer -------------------------------------------------------

    def step(self, name: str) -> "Scenario":
        """What is said next is about this one of the steps that were expected."""
        command = open_command(self.at.course, self.at.seen, name)
        return Scenario(replace(self.at, selected=(command,)))

    def late(self, name: str) -> "Scenario":
        """What is said next is the answer to this step's action, for which nobody waits."""
        at = self.at.settled()
        return Scenario(replace(at, selected=(late_command(at.course, name),)))

    def completes(self, result: Mapping[str, Any] | None = None) -> "Scenario":
        """Every step that was just expected succeeds, with this result. Raises ProtocolError
        for a result that cannot cross the network."""
        check_result(result or {})
        commands = self.at.chosen("completes")
        replies = [completion_of(each, result or {}) for each in commands]
        return Scenario(self.at.answered(commands, replies))

    def fails(
        self,
        error: str,
        *,
        retryable: bool | None = None,
        effect: Literal["none", "unknown"] = "none",
    ) -> "Scenario":
        """Every step that was just expected fails. Not said, a failed action is not retryable
        and a failed compensation is, as on the wire."""
        commands = self.at.chosen("fails")
        unknown = effect == "unknown"
        replies = [failure_of(each, error, retryable, unknown=unknown) for each in commands]
        return Scenario(self.at.answered(commands, replies))

    def repeats(self, *, redelivered: bool = False) -> "Scenario":
        """The last answers come once more, as new messages; `redelivered`: as the same ones."""
        at = self.at.settled()
        if not at.answers:
            raise failure("an answer to repeat", "none has been given yet", at.course)
        return Scenario(at.hearing(at.answers, again=redelivered))

    # --- time ---------------------------------------------------------------------------

    def after(
        self, time: timedelta = timedelta(0), *, minutes: float = 0, seconds: float = 0
    ) -> "Scenario":
        """So much time passes: pauses end and deadlines pass, each at its moment."""
        at = self.at.settled()
        passing = time + timedelta(minutes=minutes, seconds=seconds)
        return Scenario(at.passed(at.course.now + passing))

    def times_out(self) -> "Scenario":
        """Nobody answers what was just expected: time passes until its deadline."""
        commands = self.at.chosen("times_out")
        at = self.at.saying_nothing_of(commands)
        return Scenario(at.passed(max(deadline_of(at.course, each) for each in commands)))

    # --- what people do -----------------------------------------------------------------

    def cancel(self, reason: str = "cancelled", *, refused: str | None = None) -> "Scenario":
        """Somebody cancels the saga. `refused`: that is refused, with these words in it."""
        request = CancelRequested(reason=reason, actor=_TESTER)
        return Scenario(self.at.settled().asked(request, refused))

    def retry(self, step: str, *, reason: str = "again", refused: str | None = None) -> "Scenario":
        """An operator has the step's command sent once more, with a fresh retry budget."""
        request = RetryRequested(step=step, reason=reason, actor=_TESTER)
        return Scenario(self.at.settled().asked(request, refused))

    def resolve(
        self,
        step: str,
        *,
        result: Mapping[str, Any] | None = None,
        reason: str = "done by hand",
        refused: str | None = None,
    ) -> "Scenario":
        """An operator says that it is done: a compensation, or a step past the pivot."""
        request = ResolveRequested(step=step, reason=reason, actor=_TESTER, result=result)
        return Scenario(self.at.settled().asked(request, refused))

    # --- to look at ---------------------------------------------------------------------

    @property
    def saga(self) -> Saga:
        """The saga as a value: `state`, `data`, `steps`, `first_failure`, …"""
        return self.at.settled().course.saga

    @property
    def history(self) -> Sequence[Transition]:
        """Every transition so far, as the database would keep it."""
        return self.at.settled().course.history

    @property
    def now(self) -> datetime:
        """The scenario's clock."""
        return self.at.course.now

    def story(self) -> str:
        """The saga's steps and its history as a table, as failures show it."""
        return story(self.at.settled().course)
