"""deploy/rabbitmq: the definitions are what the code says, and each user may do its work only."""

import asyncio
import base64
import hashlib
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import AMQPError, ChannelAccessRefused, ChannelPreconditionFailed
from checkers import DEPLOY, prepare_script
from pamqp.commands import Basic
from servers.rabbit import PrivateRabbit

from messaging.definitions import (
    CLIENT,
    DLQ_WORKER,
    OPERATOR,
    ORCHESTRATOR,
    definitions,
    grants,
    password_hash,
)
from messaging.topology import Names, installation
from orchestrator.examples.order_fulfillment import OrderFulfillmentSaga

NAMES = Names()
PREPARE = prepare_script()
PARTICIPANTS = PREPARE.PARTICIPANTS
PASSWORD = "a password for trials"

Act = Callable[[AbstractChannel], Awaitable[object]]


def consume(queue: str) -> Act:
    async def act(channel: AbstractChannel) -> None:
        consumer_queue = await channel.get_queue(queue, ensure=False)
        tag = await consumer_queue.consume(_ignore)
        await consumer_queue.cancel(tag)

    return act


async def _ignore(_: object) -> None:
    """What is not settled goes back when the channel closes."""


def publish(exchange: str, key: str, *, user_id: str | None = None) -> Act:
    async def act(channel: AbstractChannel) -> None:
        target = (
            await channel.get_exchange(exchange, ensure=False)
            if exchange
            else channel.default_exchange
        )
        message = aio_pika.Message(b"{}", user_id=user_id)
        receipt = await target.publish(message, key, mandatory=exchange != NAMES.events, timeout=10)
        assert isinstance(receipt, Basic.Ack)

    return act


def declare(queue: str) -> Act:
    async def act(channel: AbstractChannel) -> None:
        await channel.declare_queue(queue, durable=True, arguments={"x-queue-type": "quorum"})

    return act


PAY = "PaymentService"
PAY_QUEUE = NAMES.commands_for(PAY)
STOCK_QUEUE = NAMES.commands_for("InventoryService")
ALLOWED = {
    "the orchestrator reads starts": (ORCHESTRATOR, consume(NAMES.starts)),
    "the orchestrator reads replies": (ORCHESTRATOR, consume(NAMES.replies)),
    "the orchestrator sends commands": (
        ORCHESTRATOR,
        publish(NAMES.commands, f"{PAY}.ProcessPayment", user_id=ORCHESTRATOR),
    ),
    "the orchestrator tells events": (ORCHESTRATOR, publish(NAMES.events, "OrderCompleted")),
    "the orchestrator writes dead letters": (ORCHESTRATOR, publish(NAMES.dead, "compensation")),
    "a participant reads its commands": (PAY, consume(PAY_QUEUE)),
    "a participant answers": (PAY, publish(NAMES.replies, "SagaStepCompleted", user_id=PAY)),
    "a participant rejects a command": (PAY, publish(NAMES.dead, f"rejected.{PAY_QUEUE}")),
    "the dlq worker reads dead letters": (DLQ_WORKER, consume(NAMES.dead_letters)),
    "the dlq worker replays starts": (DLQ_WORKER, publish(NAMES.starts, "StartSaga")),
    "the dlq worker replays commands": (DLQ_WORKER, publish(NAMES.commands, f"{PAY}.Refund")),
    "the dlq worker replays replies": (DLQ_WORKER, publish(NAMES.replies, NAMES.replies)),
    "a client starts sagas": (CLIENT, publish(NAMES.starts, "StartSaga", user_id=CLIENT)),
    "the operator declares the queue of a new service": (
        OPERATOR,
        declare(NAMES.commands_for("NewService")),
    ),
}
FORBIDDEN = {
    "the orchestrator declares": (ORCHESTRATOR, declare("saga.commands.NewService")),
    "the orchestrator answers itself": (ORCHESTRATOR, publish(NAMES.replies, NAMES.replies)),
    "the orchestrator reads commands": (ORCHESTRATOR, consume(PAY_QUEUE)),
    "a participant declares": (PAY, declare(f"{PAY_QUEUE}.mine")),
    "a participant reads another's commands": (PAY, consume(STOCK_QUEUE)),
    "a participant reads replies": (PAY, consume(NAMES.replies)),
    "a participant sends commands": (PAY, publish(NAMES.commands, "InventoryService.ReserveItems")),
    "a participant starts sagas": (PAY, publish(NAMES.starts, "StartSaga")),
    "a participant tells events": (PAY, publish(NAMES.events, "OrderFulfillmentCompleted")),
    "a participant buries a compensation": (PAY, publish(NAMES.dead, "compensation")),
    "a participant rejects for another": (PAY, publish(NAMES.dead, f"rejected.{STOCK_QUEUE}")),
    "a participant goes by the default exchange": (PAY, publish("", STOCK_QUEUE)),
    "the dlq worker reads replies": (DLQ_WORKER, consume(NAMES.replies)),
    "the dlq worker tells events": (DLQ_WORKER, publish(NAMES.events, "OrderCompleted")),
    "a client sends commands": (CLIENT, publish(NAMES.commands, f"{PAY}.ProcessPayment")),
    "a client reads starts": (CLIENT, consume(NAMES.starts)),
    "the operator declares elsewhere": (OPERATOR, declare("somebody.elses")),
}


def test_the_definitions_in_deploy_are_what_the_code_makes() -> None:
    written = (DEPLOY / "rabbitmq" / "definitions.json").read_text()
    assert written == PREPARE.rendered({}), "run: python3 deploy/prepare.py --definitions"


def test_the_definitions_serve_every_participant_of_the_order_example() -> None:
    steps = OrderFulfillmentSaga().define_steps({"order_id": "1", "items": []})
    flat = [step for stage in steps for step in (stage if isinstance(stage, list) else [stage])]
    assert {step.action.partition(".")[0] for step in flat} == set(PARTICIPANTS)


def test_the_definitions_hold_the_whole_installation() -> None:
    made = definitions(NAMES, PARTICIPANTS)
    topology = installation(NAMES, PARTICIPANTS)
    assert [each["name"] for each in made["queues"]] == [each.name for each in topology.queues]
    assert [each["name"] for each in made["exchanges"]] == [
        each.name for each in topology.exchanges
    ]
    assert len(made["bindings"]) == len(topology.bindings)


def test_no_program_may_configure_anything() -> None:
    assert {each.user for each in grants(NAMES, PARTICIPANTS) if each.configure != "^$"} == {
        OPERATOR
    }


def test_another_namespace_has_other_patterns() -> None:
    made = definitions(Names("eu-1"), ["A"], max_queue_bytes=1)
    patterns = [each[act] for each in made["permissions"] for act in ("configure", "write", "read")]
    assert not [pattern for pattern in patterns if "saga" in pattern]
    assert made["policies"][0]["pattern"].startswith(r"^eu\-1\.")


def test_a_limit_is_never_put_on_the_dead_letters() -> None:
    import re

    policy = definitions(NAMES, PARTICIPANTS, max_queue_bytes=1)["policies"][0]
    queues = [queue.name for queue in installation(NAMES, PARTICIPANTS).queues]
    unlimited = [queue for queue in queues if not re.search(policy["pattern"], queue)]
    assert unlimited == [NAMES.dead_letters]


def test_a_password_hash_is_salt_and_digest() -> None:
    salt = b"\x01\x02\x03\x04"
    raw = base64.b64decode(password_hash("secret", salt))
    assert raw == salt + hashlib.sha256(salt + b"secret").digest()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRabbit]:
    """A broker started with deploy's rabbitmq.conf on definitions with passwords.

    The sample file itself is for RabbitMQ 4; the queue arguments are those of the version here.
    """
    file = tmp_path_factory.mktemp("definitions") / "definitions.json"
    settings = _settings(DEPLOY / "rabbitmq" / "rabbitmq.conf")
    settings["definitions.local.path"] = str(file)
    settings["disk_free_limit.absolute"] = "50MB"
    server = PrivateRabbit(settings=settings)
    file.write_text(json.dumps(_definitions_for(server)))
    with server:
        yield server


def _settings(file: Path) -> dict[str, str]:
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    pairs = (line.partition("=") for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _definitions_for(server: PrivateRabbit) -> dict[str, object]:
    version = server.rabbitmqctl("version")
    hashes = {
        grant.user: password_hash(PASSWORD, uuid.uuid4().bytes[:4])
        for grant in grants(NAMES, PARTICIPANTS)
        if grant.user != "ShippingService"
    }
    return definitions(
        NAMES,
        PARTICIPANTS,
        broker_major=int(version.partition(".")[0]),
        password_hashes=hashes,
        max_queue_bytes=PREPARE.MAX_QUEUE_BYTES,
    )


@asynccontextmanager
async def _channel_of(server: PrivateRabbit, user: str) -> AsyncIterator[AbstractChannel]:
    url = server.url_for(user, PASSWORD.replace(" ", "%20"))
    async with await aio_pika.connect(url, timeout=10) as connection:
        yield await connection.channel(publisher_confirms=True)


@pytest.mark.rabbitmq
@pytest.mark.parametrize(("user", "act"), ALLOWED.values(), ids=ALLOWED.keys())
async def test_a_user_may_do_its_work(guarded: PrivateRabbit, user: str, act: Act) -> None:
    async with asyncio.timeout(30), _channel_of(guarded, user) as channel:
        await act(channel)


@pytest.mark.rabbitmq
@pytest.mark.parametrize(("user", "act"), FORBIDDEN.values(), ids=FORBIDDEN.keys())
async def test_a_user_may_do_nothing_else(guarded: PrivateRabbit, user: str, act: Act) -> None:
    async with asyncio.timeout(30), _channel_of(guarded, user) as channel:
        with pytest.raises(ChannelAccessRefused):
            await act(channel)


@pytest.mark.rabbitmq
async def test_nobody_can_write_in_anothers_name(guarded: PrivateRabbit) -> None:
    async with asyncio.timeout(30), _channel_of(guarded, PAY) as channel:
        with pytest.raises(ChannelPreconditionFailed):
            await publish(NAMES.replies, NAMES.replies, user_id="InventoryService")(channel)


@pytest.mark.rabbitmq
async def test_a_user_without_a_hash_cannot_log_in_by_password(guarded: PrivateRabbit) -> None:
    with pytest.raises(AMQPError):
        async with _channel_of(guarded, "ShippingService"):
            pass


@pytest.mark.rabbitmq
async def test_a_rejected_command_reaches_the_dead_letters(guarded: PrivateRabbit) -> None:
    """The broker dead-letters by itself: no user needs a permission for it."""
    marker = uuid.uuid4().hex.encode()
    async with asyncio.timeout(30):
        async with _channel_of(guarded, ORCHESTRATOR) as channel:
            commands = await channel.get_exchange(NAMES.commands, ensure=False)
            await commands.publish(aio_pika.Message(marker), f"{PAY}.ProcessPayment")
        async with _channel_of(guarded, PAY) as channel:
            await _reject_all_up_to(channel, marker)
        async with _channel_of(guarded, DLQ_WORKER) as channel:
            queue = await channel.get_queue(NAMES.dead_letters, ensure=False)
            async with queue.iterator() as letters:
                async for letter in letters:
                    await letter.ack()
                    if letter.body == marker:
                        assert letter.routing_key == PAY_QUEUE
                        break


async def _reject_all_up_to(channel: AbstractChannel, marker: bytes) -> None:
    queue = await channel.get_queue(PAY_QUEUE, ensure=False)
    async with queue.iterator() as commands:
        async for command in commands:
            await command.reject(requeue=False)
            if command.body == marker:
                return
