"""What operators do to an installation, and what their machines do: deploys, stops, limits."""

import asyncio
import resource
import signal
import time
from collections.abc import Sequence

import aio_pika
import psycopg

from chassis.failpoints import Failpoint
from tests.chaos.dying import dies_at
from tests.chaos.orders import changing_orders, frail_orders
from tests.chaos.scenario import Needs, scenario
from tests.chaos.world import World
from tests.product import audit
from tests.product.installation import DRAIN_SECONDS, Daemon

FLOOD = 3000  # messages
WRITTEN = 400  # lines about them in one log
FEW_FILES = 4
CALLED_AT_ONCE = {"SAGA_REPLAY_LIMIT": "0", "SAGA_ALERT_TIMEOUT": "1s"}


@scenario(
    9,
    "kill9-dlq-worker",
    "the DLQ worker dies before and after it stores, calls a person, and has called",
    needs=Needs(orders=frail_orders, settings=CALLED_AT_ONCE),
)
def dlq_worker_dies(world: World) -> None:
    with world.under_load(per_second=3):
        dies_at(
            world,
            world.dlq_worker,
            Failpoint.DLQ_INTAKE_AFTER_COMMIT,
            Failpoint.DLQ_LOOK_BEFORE_COMMIT,
            Failpoint.DLQ_LOOK_AFTER_COMMIT,
            Failpoint.DLQ_ROUND_AFTER_COMMIT,
            Failpoint.DLQ_AFTER_ALERT,
        )


@scenario(52, "replica-churn", "two orchestrators become four, then one, then three", short=True)
def churn(world: World) -> None:
    with world.under_load():
        first, second, third, fourth = (*world.orchestrators, joins(world, 3), joins(world, 4))
        third.wait_ready()
        world.reach_any_moment()
        leaves(world, first, signal.SIGTERM)
        leaves(world, fourth, signal.SIGKILL)
        leaves(world, second, signal.SIGTERM)
        world.reach_any_moment()
        joins(world, 5)
        joins(world, 6)
        world.reach_any_moment()


def joins(world: World, number: int) -> Daemon:
    daemon = world.installation.orchestrator(
        world.needs.definitions, name=f"orchestrator-{number}", **world.needs.settings
    )
    world.play(f"{daemon.name} joins", daemon.start)
    return daemon


def leaves(world: World, daemon: Daemon, number: signal.Signals) -> None:
    world.play(f"{daemon.name} leaves, {number.name}", lambda: daemon.send(number))
    code = daemon.ended()
    assert code == (0 if number is signal.SIGTERM else -number), f"{daemon.name} ended with {code}"
    world.installation.daemons.remove(daemon)


@scenario(
    53,
    "deploy-mid-saga",
    "another order of steps and other payloads are deployed while sagas are under way",
    needs=Needs(definitions="changing_orders", orders=changing_orders),
)
def deploy(world: World) -> None:
    first, second = world.orchestrators
    with world.under_load(per_second=4):
        world.reach_any_moment()
        dies_at(world, first, Failpoint.AFTER_COMMIT)
        first.kill()
        before = plans(world)
        world.play("release 2, beside release 1", lambda: first.start(SAGA_TEST_RELEASE="2"))
        first.wait_ready()
        world.reach_any_moment()
        world.play("release 1 ends", second.terminate)
        second.start(SAGA_TEST_RELEASE="2")
        world.reach_any_moment()
    audit.Progress(world.place).wait_until_ended(list(before), seconds=world.needs.still_seconds)
    after = plans(world)
    assert {name: after[name] for name in before} == before, "a deploy has changed a plan"
    assert len(set(after.values())) == 2, "the two releases do not differ"
    assert list(astray(world)) == []


def plans(world: World) -> dict[str, str]:
    """The stored plan of every saga that has one, to the letter."""
    query = "SELECT saga_id, plan::text FROM sagas WHERE plan IS NOT NULL"
    with psycopg.connect(world.place.saga_database) as connection:
        return dict(connection.execute(query).fetchall())


def astray(world: World) -> Sequence[str]:
    """Sagas whose steps did not begin in the order of their plan."""
    query = """
        SELECT saga_id, array_agg(step ORDER BY version) FROM saga_history
        WHERE after = 'executing' AND before = 'pending' GROUP BY saga_id
    """
    with psycopg.connect(world.place.saga_database) as connection:
        begun = connection.execute(query).fetchall()
    stored = plans(world)
    assert begun, "no step has begun"
    return [
        f"{saga_id} went {steps}"
        for saga_id, steps in begun
        if sorted(steps, key=lambda step, plan=stored[saga_id]: plan.index(f'"{step}"')) != steps
    ]


@scenario(
    55,
    "dlq-worker-absent",
    "there is no DLQ worker for 20 s in which sagas need it",
    needs=Needs(orders=frail_orders, settings=CALLED_AT_ONCE),
)
def absent(world: World) -> None:
    with world.under_load(per_second=5):
        world.play("the DLQ worker is stopped", world.dlq_worker.terminate)
        known = len(audit.letters(world.place))
        world.last(20)
        assert len(audit.letters(world.place)) == known
        waiting = asyncio.run(audit.messages_in(world.place, world.place.names.dead_letters))
        assert waiting > 0, "nobody needed it"
        world.mend("the DLQ worker starts", world.dlq_worker.start)
        world.reach_any_moment()


@scenario(56, "sigterm-under-load", "every daemon in turn is stopped at work, and started")
def stopped_at_work(world: World) -> None:
    with world.under_load(per_second=6):
        for daemon in world.installation.daemons:
            world.reach_any_moment()
            world.play(f"SIGTERM {daemon.name}", lambda each=daemon: ends_well(each))
            daemon.start()
            daemon.wait_ready()


@scenario(57, "sigterm-in-outage", "all are stopped while the broker, then the database, is silent")
def stopped_in_outage(world: World) -> None:
    with world.under_load(per_second=4):
        for wire in (world.broker_wire, world.database_wire):
            world.reach_any_moment()
            wire.freeze()
            world.last(1)
            world.play("SIGTERM to all", lambda: end_in_time(world.installation.daemons))
            wire.heal()
            world.installation.start()


def ends_well(daemon: Daemon) -> None:
    end_in_time([daemon])
    assert daemon.exit_code == 0, f"{daemon.name} was asked to stop: {daemon.exit_code}"


def end_in_time(daemons: Sequence[Daemon]) -> None:
    """Exit code 0; or 1 from those that said so: a transaction hung, and comes again."""
    for daemon in daemons:
        daemon.send(signal.SIGTERM)
    deadline = time.monotonic() + DRAIN_SECONDS
    for daemon in daemons:
        code = daemon.ended(seconds=max(0.1, deadline - time.monotonic()))
        is_told = code == 1 and "has not drained" in daemon.log
        assert code == 0 or is_told, f"{daemon.name} was asked to stop: {code}"


@scenario(58, "log-flood", f"{FLOOD} messages without sense, as fast as they can be sent")
def flood(world: World) -> None:
    with world.under_load(per_second=4):
        world.reach_any_moment()
        before = {each.name: len(each.log.splitlines()) for each in world.orchestrators}
        world.play("the flood", lambda: asyncio.run(_flood(world)))
        known = audit.letters
        world.wait_for(lambda: len(known(world.place)) >= FLOOD, "all of it is kept", seconds=90)
    for daemon in world.orchestrators:
        lines = [
            line for line in daemon.log.splitlines()[before[daemon.name] :] if "bad_json" in line
        ]
        assert 0 < len(lines) < WRITTEN, f"{daemon.name} has written {len(lines)} lines about it"


async def _flood(world: World) -> None:
    async with await aio_pika.connect(world.place.amqp_url, timeout=10) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        exchange = await channel.get_exchange(world.place.names.replies, ensure=False)
        for first in range(0, FLOOD, 500):
            await asyncio.gather(
                *(
                    exchange.publish(_nonsense(number), "SagaStepCompleted")
                    for number in range(first, first + 500)
                )
            )


def _nonsense(number: int) -> aio_pika.Message:
    return aio_pika.Message(
        b"{flood", type="SagaStepCompleted", delivery_mode=2, message_id=f"flood-{number}"
    )


@scenario(59, "fd-limit", "no daemon may open another file for 15 s, and its connections are reset")
def no_files(world: World) -> None:
    """Whoever ends over it is started again, as a supervisor would."""
    daemons = world.installation.daemons
    with world.under_load(per_second=3):
        world.reach_any_moment()
        for daemon in daemons:
            world.play(f"{daemon.name}: no more files", lambda each=daemon: files(each, FEW_FILES))
        world.broker_wire.cut()
        world.database_wire.cut()
        until = time.monotonic() + 15
        while time.monotonic() < until:
            for daemon in daemons:
                if not daemon.is_running:
                    world.mend(f"{daemon.name} ended with {daemon.exit_code}", daemon.start)
            world.last(0.5)
        for daemon in daemons:
            world.mend(f"{daemon.name}: files again", lambda each=daemon: files(each, None))


def files(daemon: Daemon, most: int | None) -> None:
    """How many files it may have open from now on; None: as many as the machine allows."""
    if daemon.is_running:
        _, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        soft = hard if most is None else most
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (soft, hard))
