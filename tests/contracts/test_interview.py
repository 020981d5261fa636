"""Running participants asked over a real broker: kept, broken with the field named, or refused."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import aio_pika
import pytest
from contract_sagas import Charge, Receipt, define, document_of
from pydantic import BaseModel

from messaging.brokers import broker_for
from messaging.errors import NotFound, Refused
from messaging.rabbit_probe import probing
from messaging.topology import Names, TopologyMode, installation
from orchestrator.contracts.interview import Examples, Interview, leave, settle_in, steps_of
from orchestrator.contracts.verification import Finding, Level, is_kept
from orchestrator.contracts.written import resolved
from orchestrator.definition import SagaStep
from participants import Context, Participant, StepFailed
from participants.memory_inbox import MemoryInbox
from participants.runner import Runner

SERVICE = "TestService"  # its queue is removed after the test
STEP = SagaStep("charge", f"{SERVICE}.Charge", f"{SERVICE}.Refund", command=Charge, result=Receipt)
SOON = timedelta(seconds=8)


class Amount(BaseModel):
    amount: str


def service(answer: Callable[[], Any] = lambda: Receipt(receipt="R-1")) -> Participant:
    made = Participant(SERVICE)

    @made.action("Charge")
    async def charge(command: Charge, context: Context) -> Any:
        return answer()

    @made.compensation("Refund")
    async def refund(command: dict[str, Any], context: Context) -> None:
        return None

    return made


@asynccontextmanager
async def running(amqp_url: str, names: Names, participant: Participant) -> AsyncIterator[None]:
    broker = broker_for(
        amqp_url,
        names=names,
        topology=installation(names, [participant.name]),
        mode=TopologyMode.DECLARE,
        app_id="participants",
    )
    stopping = asyncio.Event()
    async with broker, asyncio.TaskGroup() as group:
        runner = Runner(
            participant, broker=broker, inbox=MemoryInbox(), names=names, observe=lambda _: None
        )
        work = group.create_task(runner.run(stopping))
        await runner.began.wait()
        await broker.wait_ready(10)
        try:
            yield
        finally:
            stopping.set()
            await work


async def asked(
    amqp_url: str,
    names: Names,
    *,
    examples: Examples | None = None,
    timeout: timedelta = SOON,
) -> list[Finding]:
    document = resolved(document_of(define(STEP)))
    steps = steps_of(SERVICE, document, examples or {})
    async with probing(amqp_url, names, "test") as probe:
        await settle_in(probe, names, SERVICE, is_declared=True)
        interview = Interview(probe, names, document, timeout)
        await interview.of_steps(steps)
        await leave(probe, names)
    return interview.findings


async def hear(_: aio_pika.abc.AbstractIncomingMessage) -> None:
    """As an orchestrator would."""


async def messages_in(amqp_url: str, queue: str) -> int:
    async with await aio_pika.connect(amqp_url, timeout=10) as connection:
        found = await (await connection.channel()).declare_queue(queue, passive=True)
        return found.declaration_result.message_count or 0


def problems(findings: list[Finding]) -> list[tuple[str, str | None]]:
    return [(each.check, each.field) for each in findings if each.level is Level.PROBLEM]


async def test_a_participant_with_the_sdk_keeps_the_contract(amqp_url: str, names: Names) -> None:
    async with running(amqp_url, names, service()):
        findings = await asked(amqp_url, names)
    assert is_kept(findings)
    assert [each.check for each in findings] == [
        "action",
        "the same action again",
        "compensation",
        "the same compensation again",
        "action after its compensation",
        "compensation before its action",
        "action that comes too late",
        "action without its data",
        "action after one that is no JSON",
        "and its compensation",
    ]


async def test_nothing_is_left_in_the_queues(amqp_url: str, names: Names) -> None:
    async with running(amqp_url, names, service()):
        await asked(amqp_url, names)
    assert await messages_in(amqp_url, names.replies) == 0
    assert await messages_in(amqp_url, names.dead_letters) == 0


async def test_a_result_without_its_field_is_refused(amqp_url: str, names: Names) -> None:
    async with running(amqp_url, names, service(lambda: Amount(amount="9"))):
        findings = await asked(amqp_url, names)
    assert problems(findings) == [("action", "body.result.receipt")]
    assert len(findings) == 1  # nothing more is asked of it


async def test_what_it_says_no_to_is_told_and_other_data_may_be_given(
    amqp_url: str, names: Names
) -> None:
    def refuse() -> Receipt:
        raise StepFailed("we are closed")

    async with running(amqp_url, names, service(refuse)):
        [finding] = await asked(amqp_url, names)
    assert "we are closed" in finding.detail
    odd: Examples = {STEP.action: {"order_id": ["no", "text"]}}
    async with running(amqp_url, names, service()):
        [finding] = await asked(amqp_url, names, examples=odd)
    assert "order_id: Input should be a valid string" in finding.detail


async def test_silence_is_told_and_why_it_may_be(amqp_url: str, names: Names) -> None:
    [finding] = await asked(amqp_url, names, timeout=timedelta(seconds=0.5))
    assert finding.field == "reply"
    assert f"running with SAGA_NAMESPACE={names.namespace}" in finding.detail


async def test_a_command_that_is_rejected_is_told_with_its_reason(
    amqp_url: str, names: Names
) -> None:
    other = Participant(SERVICE)

    @other.action("Something")
    async def something(command: dict[str, Any], context: Context) -> None:
        return None

    async with running(amqp_url, names, other):
        [finding] = await asked(amqp_url, names)
    assert finding.field == "command"
    assert "unknown_command" in finding.detail


async def test_a_namespace_in_use_is_refused(amqp_url: str, names: Names) -> None:
    async with running(amqp_url, names, service()):
        async with await aio_pika.connect(amqp_url, timeout=10) as connection:
            queue = await (await connection.channel()).get_queue(names.replies)
            await queue.consume(hear, no_ack=True)
            with pytest.raises(Refused, match=r"has 1 consumers: .* is a working installation"):
                await asked(amqp_url, names)
        async with await aio_pika.connect(amqp_url, timeout=10) as connection:
            exchange = await (await connection.channel()).get_exchange(names.replies)
            await exchange.publish(aio_pika.Message(b"{}"), "SagaStepCompleted")
        with pytest.raises(Refused, match=r"has 1 messages"):
            await asked(amqp_url, names)


def test_a_participant_that_the_contract_does_not_know_is_named() -> None:
    document = resolved(document_of(define(STEP)))
    with pytest.raises(NotFound, match="no command for Mail; it has some for TestService"):
        steps_of("Mail", document, {})


@asynccontextmanager
async def foreigner(amqp_url: str, names: Names, fault: str) -> AsyncIterator[None]:
    """A service without any SDK, which answers everything with success, wrong in one way."""
    async with await aio_pika.connect(amqp_url, timeout=10) as connection:
        channel = await connection.channel()
        for exchange in names.exchanges():
            kind = aio_pika.ExchangeType(exchange.type)
            await channel.declare_exchange(exchange.name, kind, durable=True)
        replies = await channel.get_exchange(names.replies)
        topology = installation(names, [SERVICE])
        [wanted] = [each for each in topology.queues if each.name == names.commands_for(SERVICE)]
        queue = await channel.declare_queue(
            wanted.name, durable=True, arguments=dict(wanted.arguments)
        )
        await queue.bind(names.commands, f"{SERVICE}.*")

        async def answer(command: aio_pika.abc.AbstractIncomingMessage) -> None:
            if b"nonsense" not in command.body:
                await replies.publish(*_wrong_reply(command, fault))

        await queue.consume(answer, no_ack=True)
        yield


def _wrong_reply(
    command: aio_pika.abc.AbstractIncomingMessage, fault: str
) -> tuple[aio_pika.Message, str]:
    body = json.loads(command.body)
    kind = "SagaStepCompleted"
    said = {"saga_id": body["saga_id"], "step_name": "charge", "result": {"receipt": "R-1"}}
    headers: dict[str, Any] = {
        name: command.headers[name] for name in ("saga-command-id", "saga-attempt")
    }
    properties: dict[str, Any] = {
        "type": kind,
        "content_type": "application/json",
        "correlation_id": body["saga_id"],
        "message_id": f"m-{command.message_id}",
        "delivery_mode": 2,
    }
    match fault:
        case "headers.saga-attempt":
            headers["saga-attempt"] += 1
        case "headers.saga-command-id":
            headers["saga-command-id"] = "another"
        case "body.saga_id":
            said["saga_id"] = "another"
        case "body.step_name":
            del said["step_name"]
        case "body.result":
            said["result"] = ["R-1"]
        case "delivery_mode":
            properties["delivery_mode"] = 1
        case "routing_key":
            return aio_pika.Message(_bytes(said), headers=headers, **properties), "SagaStepFailed"
        case "body":
            return aio_pika.Message(b"\xff", headers=headers, **properties), kind
        case _:
            wrong = {"content_type": "text/plain", "message_id": "m-1"}
            properties[fault] = wrong.get(fault, "")
    return aio_pika.Message(_bytes(said), headers=headers, **properties), kind


def _bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    "fault",
    [
        *("content_type", "correlation_id", "delivery_mode", "routing_key", "type"),
        *("headers.saga-attempt", "headers.saga-command-id"),
        *("body", "body.saga_id", "body.step_name", "body.result"),
    ],
)
async def test_a_wrong_reply_is_refused_with_the_field_named(
    fault: str, amqp_url: str, names: Names
) -> None:
    async with foreigner(amqp_url, names, fault):
        findings = await asked(amqp_url, names)
    assert problems(findings) == [("action", fault)]


async def test_a_service_without_a_guard_is_found_out(amqp_url: str, names: Names) -> None:
    """It answers as if everything were new, and a compensation as if it were an action."""
    async with foreigner(amqp_url, names, "message_id"):
        found = problems(await asked(amqp_url, names))
    assert found[0] == ("the same action again", "message_id")  # it is the same for ever
    assert ("compensation", "type") in found
    assert ("compensation before its action", "type") in found
