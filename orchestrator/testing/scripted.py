"""Participants that answer by a script, over the broker, as a service in any language would."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal, Self

from messaging.codec import decode_command, encode_reply
from messaging.contract import Command, Direction, Effect
from messaging.limits import check_result
from messaging.port import Broker, Consumer, Delivery
from messaging.topology import Names
from orchestrator.testing.failures import ScenarioFailed
from orchestrator.testing.virtual_time import VirtualTime
from participants.guard import addressed, final_reply_to
from participants.outcome import Completed, Failed

Result = Mapping[str, Any] | Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""A result, or what computes it from the data that the command carries."""

_ROOM: Final = 10_000
_AT_ONCE: Final = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One command that a scripted participant has got."""

    saga_id: str
    step: str
    command: str  # "PaymentService.ProcessPayment"
    direction: Direction
    attempt: int
    data: Mapping[str, Any]
    original_result: Mapping[str, Any] | None
    at: datetime


@dataclass(slots=True, kw_only=True)
class _Line:
    """What is answered to a command, and how often; `times` None: for ever."""

    outcome: Callable[[Command], Completed | Failed] | None  # None: no answer
    times: int | None
    delay: timedelta = _AT_ONCE
    copies: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What all scripted participants of one installation share."""

    broker: Broker
    names: Names
    time: VirtualTime
    calls: list[Call] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class ScriptedParticipant:
    """A participant of which a test says what it answers.

    Each verb adds a line to the script of a command; lines are used in their order, each
    `times` times, the last one for ever. `after` is how long the answer takes. Compensations
    of which nothing is said complete; an action of which nothing is said fails the test.
    """

    def __init__(self, name: str, stage: Stage) -> None:
        self.name: Final = name
        self._stage = stage
        self._scripts: dict[str, list[_Line]] = {}

    @property
    def calls(self) -> Sequence[Call]:
        """The commands that it has got so far, repetitions included."""
        own = f"{self.name}."
        return [call for call in self._stage.calls if call.command.startswith(own)]

    def completes(
        self,
        command: str,
        result: Result | None = None,
        *,
        times: int | None = None,
        after: timedelta = _AT_ONCE,
        copies: int = 1,
    ) -> Self:
        """It succeeds with this result. `copies`: so many replies come."""

        def outcome(asked: Command) -> Completed:
            found = result(asked.data) if callable(result) else result
            check_result(found or {})
            return Completed(result=dict(found or {}))

        return self._add(command, _Line(outcome=outcome, times=times, delay=after, copies=copies))

    def fails(
        self,
        command: str,
        error: str,
        *,
        retryable: bool | None = None,
        effect: Literal["none", "unknown"] = "none",
        times: int | None = None,
        after: timedelta = _AT_ONCE,
    ) -> Self:
        """It fails. Not said, a failed action is not retryable and a failed compensation is."""
        failed = Failed(error=error, retryable=retryable, effect=Effect(effect))
        return self._add(command, _Line(outcome=lambda _: failed, times=times, delay=after))

    def never_answers(self, command: str, *, times: int | None = None) -> Self:
        """It takes the command, and nothing is ever heard of it."""
        return self._add(command, _Line(outcome=None, times=times))

    async def serve(self, consumer: Consumer) -> None:
        """Answer until cancelled."""
        async with asyncio.TaskGroup() as answering:
            while True:
                for delivery in await consumer.receive(_ROOM):
                    answering.create_task(self._answer(delivery, consumer))

    def _add(self, command: str, line: _Line) -> Self:
        if line.times is not None and line.times < 1:
            raise ScenarioFailed(f"{self.name}.{command}: times is {line.times}; use 1 or more")
        if not line.copies >= 1:
            raise ScenarioFailed(f"{self.name}.{command}: copies is {line.copies}; use 1 or more")
        lines = self._scripts.setdefault(command, [])
        if lines and lines[-1].times is None:
            raise ScenarioFailed(
                f"{self.name} answers {command} for ever by the line before this one; "
                "give that one its times="
            )
        lines.append(line)
        return self

    async def _answer(self, delivery: Delivery, consumer: Consumer) -> None:
        command = decode_command(delivery)
        self._stage.calls.append(_call(command, self._stage.time.now()))
        line = self._next_line(command)
        if line is not None and line.outcome is not None:
            await self._reply(command, line)
        await consumer.ack([delivery])

    async def _reply(self, command: Command, line: _Line) -> None:
        if line.delay:
            await self._stage.time.sleep(line.delay)
        try:
            outcome = line.outcome(command) if line.outcome else Completed()
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            self._stage.problems.append(f"the result of {command.destination} raised {said}")
            return
        reply = addressed(final_reply_to(command, outcome), command, None)
        await self._stage.broker.publish([encode_reply(self._stage.names, reply)] * line.copies)

    def _next_line(self, command: Command) -> _Line | None:
        lines = self._scripts.get(command.name, [])
        for line in lines:
            if line.times is None:
                return line
            if line.times > 0:
                line.times -= 1
                return line
        if not lines and command.direction is Direction.COMPENSATION:
            return _Line(outcome=lambda _: Completed(), times=None)
        self._stage.problems.append(self._unscripted(command, was_scripted=bool(lines)))
        return None

    def _unscripted(self, command: Command, *, was_scripted: bool) -> str:
        asked = f"{command.destination} was asked for by step {command.step_name}"
        if was_scripted:
            return f"{asked} more often than its script says; leave out the last line's times="
        known = ", ".join(sorted(self._scripts)) or "nothing"
        remedy = f'kit.participant("{self.name}").completes("{command.name}", …)'
        return f"{asked}, and no line is about it: say {remedy}; {self.name} has {known}"


def _call(command: Command, now: datetime) -> Call:
    return Call(
        saga_id=command.saga_id,
        step=command.step_name,
        command=command.destination,
        direction=command.direction,
        attempt=command.attempt,
        data=command.data,
        original_result=command.original_result,
        at=now,
    )
