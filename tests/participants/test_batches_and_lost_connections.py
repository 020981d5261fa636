"""Commands that wait for their batch while the connection to the broker comes and goes."""

import asyncio

import pytest

from chassis.facts import BatchCommitted
from tests.conformance.worlds import eventually
from tests.participants.conftest import ON_MEMORY, Stage
from tests.participants.desk import command, running
from tests.participants.test_batches import Counter

WAITING = 20
LOSSES = 5


@pytest.fixture
def counter() -> Counter:
    return Counter()


@ON_MEMORY
async def test_what_comes_again_does_not_pile_up(stage: Stage, counter: Counter) -> None:
    counter.opened.clear()
    asked = [command("TestService.Act", f"order-{number}") for number in range(WAITING + 1)]
    queue = stage.server.queues[stage.names.commands_for("TestService")]
    async with running(stage.runner(counter.service)):
        await stage.desk.send(asked[0])
        await eventually(lambda: len(counter.calls) == 1)
        await stage.desk.send(*asked[1:])
        for _ in range(LOSSES):
            await eventually(lambda: queue.unsettled == len(asked))
            await asyncio.sleep(0)  # what was handed over is taken
            stage.server.drop_connections()
        await eventually(lambda: queue.unsettled == len(asked))
        counter.opened.set()
        answered = set[str]()
        while len(answered) < len(asked):
            answered.add((await stage.desk.reply()).saga_id)
    handled = sum(fact.size for fact in stage.facts_of(BatchCommitted))
    assert handled <= len(asked) + 1  # the first was begun twice
