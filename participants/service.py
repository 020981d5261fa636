"""One participant at work: its queue's commands, decoded, executed, answered, acknowledged."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final, Self

from chassis.facts import Noticed, Observe
from messaging.errors import ProtocolError
from messaging.port import Broker, Consumer, Delivery
from messaging.topology import Names
from participants import batching
from participants.assignment import Assignment, cut_off, rejection_of
from participants.batching import Batching, Exits
from participants.execution import Answer, Executor
from participants.holding import Holding
from participants.outcome import text_of
from participants.participant import Participant
from participants.settling import Settlement, Settler
from participants.together import BatchExecutor
from participants.underway import Underway

PREFETCH_FOR_BATCHES: Final = 500
_PAUSE_AFTER_SURPRISE: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all participants of one program share."""

    broker: Broker
    names: Names
    executor: Executor
    batches: BatchExecutor
    observe: Observe
    report_inbox: Callable[[str | None], None]  # a problem, or None when it works again
    concurrency: int
    prefetch: int | None  # None: enough for either way to handle commands

    def prefetch_for(self, participant: Participant) -> int:
        """A batch is at work and the next one is on its way, or each handler has a successor."""
        if self.prefetch is not None:
            return self.prefetch
        fitting = 2 * self.concurrency
        return max(fitting, PREFETCH_FOR_BATCHES) if participant.has_batches else fitting


class Service:
    """Executes the commands of one participant: those that allow it in batches, the others
    each in a task, at most `concurrency` at a time."""

    def __init__(
        self,
        participant: Participant,
        surroundings: Surroundings,
        consumer: Consumer,
        stopping: asyncio.Event,
    ) -> None:
        self._participant = participant
        self._around = surroundings
        self._consumer = consumer
        self._stopping = stopping
        self._settler = Settler(surroundings.broker, consumer, surroundings.observe)
        self._holding = Holding(surroundings.report_inbox, stopping)
        self._room = asyncio.Semaphore(surroundings.concurrency)
        self._tasks = asyncio.TaskGroup()
        self._underway = Underway(self._tasks, most=surroundings.concurrency)
        self._batching = Batching(
            surroundings.batches,
            self._holding,
            surroundings.names,
            surroundings.observe,
            Exits(settle=self._settler.put, alone=self._begin),
        )

    @classmethod
    async def open(
        cls, participant: Participant, surroundings: Surroundings, stopping: asyncio.Event
    ) -> Self:
        """Begin to consume the participant's queue; `run` does the rest."""
        queue = surroundings.names.commands_for(participant.name)
        prefetch = surroundings.prefetch_for(participant)
        consumer = await surroundings.broker.consume(queue, prefetch=prefetch)
        return cls(participant, surroundings, consumer, stopping)

    async def run(self) -> None:
        """Work until `stopping` is set, then finish what has begun."""
        name = self._participant.name
        try:
            async with self._tasks as group:
                settling = group.create_task(self._settler.run(), name=f"replies of {name}")
                receiving = group.create_task(self._receive(), name=f"commands of {name}")
                batches = group.create_task(self._batching.run(), name=f"batches of {name}")
                await self._stopping.wait()
                receiving.cancel()
                self._batching.stop()
                await asyncio.wait({batches})
                await self._underway.ended()
                await self._settler.drain()
                settling.cancel()
        finally:
            await self._consumer.close()

    async def _receive(self) -> None:
        while True:
            for delivery in await self._consumer.receive(await self._limit()):
                self._take(delivery)

    async def _limit(self) -> int:
        """Without batches, only what can begin at once; the rest waits with the broker."""
        if self._participant.has_batches:
            return batching.LARGEST
        return await self._underway.room()

    def _take(self, delivery: Delivery) -> None:
        try:
            assignment = Assignment.of(delivery, self._participant)
        except ProtocolError as error:
            self._settler.put(rejection_of(self._around.names, delivery, error))
        except Exception as error:
            self._underway.begin(self._give_back(delivery, error))
        else:
            if assignment.handler.is_batched:
                self._batching.put(assignment)
            else:
                self._begin(assignment)

    def _begin(self, assignment: Assignment) -> None:
        self._underway.begin(self._deal_with(assignment))

    async def _deal_with(self, assignment: Assignment) -> None:
        """Sorts whatever can happen: settle it, leave it, or give it back."""
        async with self._room:
            if self._stopping.is_set():
                return  # it has not begun, and comes again
            try:
                with assignment.span():
                    settlement = await self._settlement_of(assignment)
                if settlement is not None:
                    self._settler.put(settlement)
            except asyncio.CancelledError:
                self._around.observe(cut_off("command", assignment.delivery))
                raise
            except Exception as error:
                await self._give_back(assignment.delivery, error)

    async def _settlement_of(self, assignment: Assignment) -> Settlement | None:
        """What is owed for the command; None if it is left to come again."""
        now = asyncio.get_running_loop().time
        began = now()
        executor = self._around.executor
        execute = partial(executor.execute, assignment.command, assignment.handler)
        answer: Answer | None = await self._holding.until_available(execute)
        if answer is None:
            return None
        took = timedelta(seconds=now() - began)
        return assignment.settlement(self._around.names, assignment.addressed(answer), took)

    async def _give_back(self, delivery: Delivery, error: Exception) -> None:
        """After a fault of ours; the delivery limit bounds it."""
        self._around.observe(_surprise(delivery, error))
        await asyncio.sleep(_PAUSE_AFTER_SURPRISE)
        await self._consumer.release([delivery])


def _surprise(delivery: Delivery, error: Exception) -> Noticed:
    return Noticed(
        level="error",
        message="a command could not be dealt with and is given back",
        details={
            "queue": delivery.queue,
            "routing_key": delivery.routing_key,
            "saga_id": delivery.correlation_id,
            "error": text_of(error),
        },
    )
