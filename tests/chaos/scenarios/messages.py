"""What befalls messages on their way, and services that are late, stubborn, silent or slow."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from random import Random

import psycopg
from aio_pika.abc import AbstractIncomingMessage

from tests.chaos.middleman import (
    AS_IT_CAME,
    LOST,
    Way,
    between,
    is_action,
    way_of_commands,
    way_of_replies,
)
from tests.chaos.scenario import Needs, scenario
from tests.chaos.world import World
from tests.product import audit
from tests.product.installation import Daemon, Installation, Place
from tests.product.orders import HASTY, PROMPT, STEPS, Asked, mixed_orders, order
from tests.product.poison_storm import Storm, brew
from tests.soak.faults import drawn
from tests.soak.orders import ends_by_itself
from tests.soak.orders import mixed_orders as endless_orders
from tests.soak.site import MORTAL, STEADY, Site, employ
from tests.soak.vitals import vitals_of

PARTICIPANTS = ("InventoryService", "PaymentService", "ShippingService", "NotificationService")
FEW_REPLAYS = {"SAGA_REPLAY_BASE": "1s", "SAGA_REPLAY_LIMIT": "2"}
TRIES = 5  # of a compensation, as trial_orders says, before it is a dead letter
TRIES_AND_REPLAYS = TRIES + 2
MEBI = 2**20


def all_ways(world: World) -> list[Way]:
    return [way_of_replies(world.place.names), *ways_of_commands(world)]


def ways_of_commands(world: World) -> list[Way]:
    return [way_of_commands(world.place.names, each) for each in PARTICIPANTS]


def hasty_orders(number: int, chance: Random) -> Iterator[Asked]:
    """Nobody is waited for longer than a second."""
    for asked in mixed_orders(number, chance):
        yield replace(asked, saga_type=HASTY, ends=None)


HASTY_ONES = Needs(orders=hasty_orders, settings=FEW_REPLAYS)


@scenario(43, "duplicate-all", "every reply arrives three times, every command twice", short=True)
def duplicate_all(world: World) -> None:
    names = world.place.names
    with (
        between(world, "each reply three times", [way_of_replies(names)], lambda _: (0, 0, 0)),
        between(world, "each command twice", ways_of_commands(world), lambda _: (0, 0.2)),
        world.under_load(),
    ):
        world.last(15)


@scenario(44, "reorder", "replies and commands are held for up to 5 s each: their order is lost")
def reorder(world: World) -> None:
    def held(_: AbstractIncomingMessage) -> tuple[float, ...]:
        return (world.chance.uniform(0, 5),) if world.chance.random() < 0.5 else AS_IT_CAME

    with between(world, "held", all_ways(world), held), world.under_load(per_second=5):
        world.last(25)


@scenario(
    45,
    "drop-10%",
    "of all commands and replies, every tenth is lost for good",
    needs=Needs(definitions="resent_orders"),
)
def drop_some(world: World) -> None:
    def dropped(_: AbstractIncomingMessage) -> tuple[float, ...]:
        return LOST if world.chance.random() < 0.1 else AS_IT_CAME

    with between(world, "lost", all_ways(world), dropped), world.under_load(per_second=5):
        world.last(25)


@scenario(
    46,
    "late-reply-after-timeout",
    "half of the replies to actions come after everybody has ceased to wait",
    needs=HASTY_ONES,
)
def late_replies(world: World) -> None:
    def late(message: AbstractIncomingMessage) -> tuple[float, ...]:
        is_late = message.type == "SagaStepCompleted" and world.chance.random() < 0.5
        return (world.chance.uniform(1.2, 4),) if is_late else AS_IT_CAME

    ways = [way_of_replies(world.place.names)]
    with between(world, "late", ways, late), world.under_load(per_second=5):
        world.last(20)
        undone = "SELECT count(*) FROM saga_history WHERE before = 'failed' AND note IS NULL"
        timed_out = "SELECT count(*) FROM saga_history WHERE note = 'timed out'"
        for query in (undone, timed_out):
            world.wait_for(lambda query=query: _asked(world.place.saga_database, query) > 0, query)


@scenario(
    47,
    "comp-before-action",
    "actions are held for 2.5 s, and the compensations overtake them",
    needs=HASTY_ONES,
)
def compensation_first(world: World) -> None:
    def overtaken(message: AbstractIncomingMessage) -> tuple[float, ...]:
        return (2.5,) if is_action(message) and world.chance.random() < 0.6 else AS_IT_CAME

    with (
        between(world, "overtaken", ways_of_commands(world), overtaken),
        world.under_load(per_second=5),
    ):
        world.last(20)
        tombstones = "SELECT count(*) FROM saga_inbox WHERE state = 'tombstone'"
        world.wait_for(lambda: _asked(world.place.shop_database, tombstones) > 0, tombstones)
        world.wait_for(lambda: _refused(world.participants) > 0, "an action comes too late")


def stubborn_orders(number: int, chance: Random) -> Iterator[Asked]:
    """A compensation fails a few times, or until a person has been called."""
    for each in range(number):
        failing = chance.randrange(1, len(STEPS))
        failures = {STEPS[chance.randrange(failing)]: (1, 2, 3, TRIES_AND_REPLAYS)[each % 4]}
        data = order(each, fail_at=STEPS[failing], fail_compensation=failures)
        yield Asked(saga_id=f"order-{each}", saga_type=PROMPT, data=data, ends="failed")


@scenario(
    48,
    "comp-fails-N-then-ok",
    "compensations fail 1, 2 or 3 times, or until a person is called",
    needs=Needs(orders=stubborn_orders, settings=FEW_REPLAYS),
)
def stubborn_compensations(world: World) -> None:
    with world.under_load(at_once=world.sagas):
        world.play("compensations that fail")
        calling = [each for each in world.load.asked if _is_given_up(each)]
        alerts = "SELECT count(*) FROM alerts WHERE status = 'open' AND key LIKE 'saga|order-%'"
        world.faults.count += len(world.load.asked)
        world.wait_for(
            lambda: _asked(world.place.saga_database, alerts) == len(calling),
            f"a person is called for {len(calling)} sagas",
            seconds=120,
        )
    twice = """
        SELECT count(*) FROM (SELECT FROM dead_letters WHERE reason = 'compensation_exhausted'
        GROUP BY saga_id, step_name HAVING count(*) > 1) AS told
    """
    assert _asked(world.place.saga_database, twice) == 0, "more than one letter about one thing"
    assert not (early := _too_early(world.place)), f"tried again before its time: {early}"


@scenario(
    49,
    "participant-never-answers",
    "no command reaches the shipping service, and nobody says so",
    needs=HASTY_ONES,
)
def black_hole(world: World) -> None:
    ways = [way_of_commands(world.place.names, "ShippingService")]
    with between(world, "swallowed", ways, lambda _: LOST), world.under_load(per_second=3):
        alerts = "SELECT count(*) FROM alerts WHERE status = 'open' AND key LIKE 'saga|order-%'"
        world.wait_for(
            lambda: _asked(world.place.saga_database, alerts) > 0, "a person is called", seconds=120
        )


def slow_orders(number: int, chance: Random) -> Iterator[Asked]:
    for asked in mixed_orders(number, chance):
        slow = {"delay": dict.fromkeys(STEPS, 0.2)}
        yield replace(asked, saga_type=PROMPT, data=asked.data | slow, ends=_end_of(asked))


def _end_of(asked: Asked) -> str:
    """Without anybody who ceases to wait."""
    return "failed" if "fail_at" in asked.data else "completed"


COPIES = 12
MOST_GROWTH = 32 * MEBI


@scenario(
    50,
    "slow-consumer",
    f"two commands at a time, 0.2 s each, every one {COPIES} times in the queue",
    needs=Needs(orders=slow_orders, settings={"SAGA_CONCURRENCY": "2"}, still_seconds=120.0),
)
def slow_consumer(world: World) -> None:
    before = _resident(world)
    queue = world.place.names.commands_for("InventoryService")

    def backlog() -> int:
        return asyncio.run(audit.messages_in(world.place, queue))

    copies = between(
        world, "multiplied", ways_of_commands(world), lambda _: tuple(0.0 for _ in range(COPIES))
    )
    with copies, world.under_load(at_once=world.sagas):
        world.wait_for(lambda: backlog() > 10 * COPIES, "a backlog")
        world.last(20)
        grown = {name: now - before[name] for name, now in _resident(world).items()}
    assert max(grown.values()) < MOST_GROWTH, f"memory follows the backlog: {grown}"


def with_examples(installation: Installation) -> None:
    for number in (1, 2):
        name = f"orchestrator-{number}"
        example = "orchestrator.examples.order_fulfillment"
        installation.orchestrator("trial_orders", example, name=name)
    installation.participants(name="participants-1")
    installation.dlq_worker(SAGA_REPLAY_BASE="1s")


STORM = brew(Place(amqp_url="", saga_database="", shop_database="", namespace="saga"))
# What was put among the dead letters has no reason of its own.
FATES = frozenset({*STORM.reasons, "dead_lettered", "rejected", "unknown"})


@scenario(
    54,
    "poison-storm",
    "the whole corpus of bad input, into every queue, while sagas run",
    needs=Needs(build=with_examples, letters=FATES),
)
def poison_storm(world: World) -> None:
    storm = brew(world.place)
    with world.under_load():
        world.reach_any_moment()
        world.play("the storm", lambda: asyncio.run(storm.publish(world.place)))
        world.faults.count += len(storm.bad) + len(storm.malformed) + len(storm.dead)
        _wait_for_fates(world, storm)


def _wait_for_fates(world: World, storm: Storm) -> None:
    """As long as more and more of it is dealt with."""
    left = len(storm.missing(world.place))
    while left:
        fewer = f"of the bad messages, fewer than {left} have not met their fate"
        world.wait_for(lambda left=left: len(storm.missing(world.place)) < left, fewer)
        left = len(storm.missing(world.place))


CARDS = 10


def steady_and_mortal(installation: Installation) -> None:
    for fate in (STEADY, MORTAL):
        employ(installation, fate, installation.place)


def soak_orders(number: int, chance: Random) -> Iterator[Asked]:
    endless = endless_orders(chance.randrange(2**32))
    return islice(filter(ends_by_itself, endless), number)


@scenario(
    51,
    "soak",
    f"{CARDS} random faults; in full, 100,000 sagas and 250 faults, it is `make soak`",
    needs=Needs(build=steady_and_mortal, orders=soak_orders, still_seconds=120.0),
)
def soak(world: World) -> None:
    site = Site(
        rabbit=world.rabbit,
        postgres=world.postgres,
        place=world.place,
        installation=world.installation,
        broker_wire=world.broker_wire,
        database_wire=world.database_wire,
    )
    with world.under_load(per_second=5):
        for card in drawn(world.chance.randrange(2**32), CARDS):
            world.reach_any_moment()
            world.play(card.fault.name)
            world.mend(card.play(site))


def _asked(database: str, query: str) -> int:
    with psycopg.connect(database) as there:
        row = there.execute(query).fetchone()
        assert row is not None
        return int(row[0])


def _refused(participants: list[Daemon]) -> float:
    """Actions that came after their compensation."""
    pages = [daemon.asked("/metrics")[1] for daemon in participants]
    return sum(
        float(line.rpartition(" ")[2])
        for page in pages
        for line in page.splitlines()
        if line.startswith("saga_commands_handled_total") and 'outcome="refused"' in line
    )


def _is_given_up(asked: Asked) -> bool:
    return TRIES_AND_REPLAYS in asked.data["fail_compensation"].values()


def _too_early(place: Place) -> list[str]:
    """Compensations that were sent again sooner than nine tenths of the pause they are due."""
    query = """
        SELECT saga_id, step, failed.attempt, again.at - failed.at
        FROM saga_history AS failed JOIN saga_history AS again USING (saga_id, step)
        WHERE failed.note = 'failed' AND failed.after = 'compensating'
        AND again.note = 'sent again' AND again.attempt = failed.attempt + 1
        AND again.at - failed.at < interval '0.09 s' * 2 ^ (failed.attempt - 1)
    """
    with psycopg.connect(place.saga_database) as there:
        return [str(row) for row in there.execute(query).fetchall()]


def _resident(world: World) -> dict[str, int]:
    vitals = {name: vitals_of(pid) for name, pid in world.installation.pids().items()}
    return {name: each.resident for name, each in vitals.items() if each is not None}
