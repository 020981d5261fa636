"""A running participant in any language, asked command by command whether it keeps a contract."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from messaging.codec import decode_reply, encode_command
from messaging.contract import (
    RESERVED_KEYS,
    Command,
    Direction,
    ReplyType,
    command_id_for,
)
from messaging.errors import NotFound, Refused
from messaging.port import Delivery
from messaging.rabbit_probe import Probe
from messaging.topology import Names, installation
from orchestrator.contracts.agreements import Agreement, Use, schema_for
from orchestrator.contracts.bodies import Breach
from orchestrator.contracts.hearing import same_but_for_its_id, wrong_with
from orchestrator.contracts.schemas import sample_of
from orchestrator.contracts.verification import Finding, Level
from orchestrator.contracts.written import Document, agreements_in

PREFIX: Final = "verify-"
_COMPLETED: Final = (ReplyType.STEP_COMPLETED,)
_FAILED: Final = (ReplyType.STEP_FAILED,)
_UNDONE: Final = (ReplyType.COMPENSATION_COMPLETED,)
_EPOCH: Final = "verify"
_NONSENSE: Final = b'{"saga_id": nonsense'

Examples = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of the participant's: its action, and what undoes it."""

    use: Use
    action: Agreement
    compensation: Agreement | None
    data: Mapping[str, Any]


def steps_of(participant: str, document: Document, examples: Examples) -> tuple[Step, ...]:
    """The steps whose action this participant executes. Raises NotFound if there is none."""
    by_name = {each.destination: each for each in agreements_in(document)}
    found = tuple(_steps(participant, by_name, examples))
    if not found:
        known = ", ".join(sorted({each.participant for each in by_name.values()}))
        raise NotFound(f"the contract has no command for {participant}; it has some for {known}")
    return found


def _steps(
    participant: str, by_name: Mapping[str, Agreement], examples: Examples
) -> Iterator[Step]:
    for action in by_name.values():
        if action.participant != participant or action.direction is not Direction.ACTION:
            continue
        for use in action.uses:
            undoing = by_name.get(use.counterpart) if use.counterpart else None
            ours = undoing if undoing and undoing.participant == participant else None
            data = _data_for(action, examples)
            yield Step(use=use, action=action, compensation=ours, data=data)


def _data_for(action: Agreement, examples: Examples) -> Mapping[str, Any]:
    """What somebody gave, the contract's first example, or the plainest data that fit."""
    if action.destination in examples:
        return examples[action.destination]
    if action.examples:
        return action.examples[0]
    return sample_of(schema_for(action.carries))  # type: ignore[no-any-return]


class Interview:
    """Asks over a probe; the namespace must have no orchestrator. Findings are collected."""

    def __init__(self, probe: Probe, names: Names, document: Document, timeout: timedelta) -> None:
        self.findings: list[Finding] = []
        self._probe = probe
        self._names = names
        self._document = document
        self._seconds = timeout.total_seconds()

    async def of_steps(self, steps: Sequence[Step]) -> None:
        for step in steps:
            await self._of_step(step)

    async def _of_step(self, step: Step) -> None:
        action = _command(step, step.action)
        done = await self._asked("action", action, _COMPLETED)
        if done is None:
            return  # whoever does not answer the plainest command answers no other
        await self._asked("the same action again", action, _COMPLETED, like=done)
        if step.compensation is not None:
            undo = _command(step, step.compensation, of=action, result=_result_of(done))
            await self._of_undoing(action, undo)
            await self._of_wrong_order(step, step.compensation)
        await self._of_bad_body(step)
        await self._of_nonsense(step)

    async def _of_undoing(self, action: Command, undo: Command) -> None:
        undone = await self._asked("compensation", undo, _UNDONE)
        if undone is not None:
            await self._asked("the same compensation again", undo, _UNDONE, like=undone)
            late = replace(action, attempt=action.attempt + 1)
            await self._asked("action after its compensation", late, _FAILED)

    async def _of_wrong_order(self, step: Step, compensation: Agreement) -> None:
        """The compensation first: nothing to undo, and the action is refused from then on."""
        action = _command(step, step.action)
        undo = _command(step, compensation, of=action)
        if await self._asked("compensation before its action", undo, _UNDONE) is not None:
            await self._asked("action that comes too late", action, _FAILED)

    async def _of_bad_body(self, step: Step) -> None:
        """Without all that it carries: a failure, unless it can do without, and never silence."""
        command = replace(_command(step, step.action), data={})
        answer = await self._asked("action without its data", command, (*_FAILED, *_COMPLETED))
        if answer is not None and answer.type == ReplyType.STEP_COMPLETED:
            await self._cleared(step, command, answer)

    async def _of_nonsense(self, step: Step) -> None:
        """It is no reason to stop: the next command is answered."""
        nonsense = _command(step, step.action)
        message = replace(encode_command(self._names, nonsense), body=_NONSENSE)
        await self._probe.ask(message, message_id=str(uuid.uuid4()))
        action = _command(step, step.action)
        done = await self._asked("action after one that is no JSON", action, _COMPLETED)
        if done is not None:
            await self._cleared(step, action, done)

    async def _cleared(self, step: Step, action: Command, done: Delivery) -> None:
        if step.compensation is not None:
            undo = _command(step, step.compensation, of=action, result=_result_of(done))
            await self._asked("and its compensation", replace(undo, data=action.data), _UNDONE)

    async def _asked(
        self,
        check: str,
        command: Command,
        expected: Sequence[ReplyType],
        *,
        like: Delivery | None = None,
    ) -> Delivery | None:
        """The reply if it is as it should be, and the finding either way."""
        message = encode_command(self._names, command)
        await self._probe.ask(message, message_id=str(uuid.uuid4()))
        heard, found = await self._heard(command, expected)
        if heard is not None and like is not None:
            found = [*found, *same_but_for_its_id(like, heard)]
        for breach in found:
            self._note(command, check, f"{breach.field} {breach.detail}", breach.field)
        if not found:
            self._note(command, check, str(heard.type) if heard else "")
        return None if found else heard

    async def _heard(
        self, command: Command, expected: Sequence[ReplyType]
    ) -> tuple[Delivery | None, list[Breach]]:
        while True:
            heard = await self._probe.hear(self._seconds)
            if heard is None:
                detail = f"there is none within {self._seconds:g} s; is {command.participant} "
                namespace = self._names.namespace
                detail += f"running with SAGA_NAMESPACE={namespace}, and did it stop just now?"
                return None, [Breach(field="reply", detail=detail)]
            delivery = heard.delivery
            if delivery.exchange != self._names.dead:
                return delivery, [*wrong_with(heard, command, expected, self._document)]
            if delivery.correlation_id == command.saga_id:
                return None, [Breach(field="command", detail=_rejected(delivery))]

    def _note(self, command: Command, check: str, detail: str, field: str | None = None) -> None:
        level = Level.PROBLEM if field else Level.OK
        destination = command.destination
        self.findings.append(
            Finding(level=level, destination=destination, check=check, detail=detail, field=field)
        )


def _command(
    step: Step,
    agreement: Agreement,
    *,
    of: Command | None = None,
    result: Mapping[str, Any] | None = None,
) -> Command:
    """A first attempt: of a saga made for it, or of the one that a command belongs to."""
    saga_id = of.saga_id if of else f"{PREFIX}{uuid.uuid4()}"
    return Command(
        saga_id=saga_id,
        saga_type=step.use.saga_type,
        step_name=step.use.step_name,
        direction=agreement.direction,
        destination=agreement.destination,
        command_id=command_id_for(saga_id, step.use.step_name, agreement.direction),
        attempt=1,
        deadline=datetime.now(UTC) + timedelta(minutes=5),
        data={key: value for key, value in step.data.items() if key not in RESERVED_KEYS},
        original_result=result,
        epoch=_EPOCH,
    )


def _result_of(delivery: Delivery) -> Mapping[str, Any] | None:
    return decode_reply(delivery).result


def _rejected(delivery: Delivery) -> str:
    reason, why = (delivery.headers.get(name) for name in ("saga-reason", "saga-error"))
    return f"was rejected to {delivery.routing_key}: {reason}: {why}"


async def settle_in(probe: Probe, names: Names, participant: str, *, is_declared: bool) -> None:
    """Make sure that nobody else is at home, and listen. Raises Refused if somebody is."""
    for queue in (names.replies, names.dead_letters):
        stock = await probe.stock(queue)
        if stock is None or not (stock.consumers or stock.messages):
            continue
        has = f"{stock.consumers} consumers" if stock.consumers else f"{stock.messages} messages"
        raise Refused(
            f"the queue {queue} has {has}: {names.namespace} is a working installation, and "
            "replies to commands that its orchestrator never sent would be dead letters there. "
            "Run the service, and this, with a SAGA_NAMESPACE of its own"
        )
    if is_declared:
        await probe.declare(installation(names, [participant]))
    await probe.listen()


async def leave(probe: Probe, names: Names) -> None:
    """What our commands have left in the queues that were empty when we came."""
    for queue in (names.replies, names.dead_letters):
        if await probe.stock(queue) is not None:
            await probe.clear(queue)
