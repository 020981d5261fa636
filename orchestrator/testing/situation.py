"""Where a scenario stands: a saga's course, what of it was expected, what is answered next."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

from orchestrator.saga.state import Direction, Outbound, Reply
from orchestrator.testing.checks import check_refusal, check_sent
from orchestrator.testing.course import ByHand, Course, asked, heard, passed
from orchestrator.testing.failures import HIDDEN, failure
from orchestrator.testing.replies import completion_of
from orchestrator.testing.selecting import unseen

__tracebackhide__ = HIDDEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """One moment of a scenario. Every method gives the moment after it."""

    course: Course
    seen: frozenset[Outbound] = frozenset()  # commands that were expected
    selected: tuple[Outbound, ...] = ()  # commands that the next answer is for
    implied: tuple[Outbound, ...] = ()  # compensations that succeed unless something is said
    answers: tuple[Reply, ...] = ()  # the last ones
    replies: int = 0  # so far

    @property
    def unseen(self) -> tuple[Outbound, ...]:
        """Commands that have been sent and not expected yet."""
        return unseen(self.course, self.seen)

    def chosen(self, verb: str) -> tuple[Outbound, ...]:
        """The commands that `verb` is about."""
        if not self.selected:
            missing = f"a command that .{verb}() is about"
            remedy = "say .expects(…), .step(…) or .late(…) before it"
            raise failure(missing, f"none is selected: {remedy}", self.course)
        return self.selected

    def settled(self) -> Self:
        """With every compensation completed of which nothing else was said."""
        if not self.implied:
            return self
        return self.answered(self.implied, [completion_of(each, {}) for each in self.implied])

    def saying_nothing_of(self, commands: Sequence[Outbound]) -> Self:
        """Settled, but for these commands."""
        rest = tuple(each for each in self.implied if each not in commands)
        return replace(self, implied=rest).settled()

    def seeing(self, steps: Sequence[str], direction: Direction | None) -> Self:
        """Exactly these commands have been sent since the last look; they are answered next."""
        sent = self.unseen
        check_sent(self.course, sent, steps, direction)
        return replace(self, seen=self.seen | frozenset(sent), selected=sent, implied=())

    def answered(self, commands: Sequence[Outbound], replies: Sequence[Reply]) -> Self:
        """These commands have got these replies."""
        rest = tuple(each for each in self.implied if each not in commands)
        return replace(self.hearing(replies), implied=rest)

    def hearing(self, replies: Sequence[Reply], *, again: bool = False) -> Self:
        """Each reply comes as a message of its own, or `again` as the one that it was before."""
        situation, told = self, []
        for reply in replies:
            number = situation.replies + 1
            cause = reply.cause if again else f"reply-{number}"
            told.append(replace(reply, cause=cause, redelivered=again))
            course = heard(situation.course, told[-1])
            situation = replace(situation, course=course, replies=number)
        return replace(situation, answers=tuple(told), selected=())

    def asked(self, event: ByHand, refused: str | None) -> Self:
        """A person has asked for something; it is refused with these words, or not at all."""
        course = asked(self.course, event)
        check_refusal(course, refused)
        return replace(self, course=course, selected=())

    def passed(self, until: datetime) -> Self:
        """So much time has passed."""
        return replace(self, course=passed(self.course, until), selected=())
