"""`saga participants run MODULE[:ATTR]...`: from names to running participants."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from types import ModuleType
from typing import Any, Final

from chassis import logs, systemd
from chassis.facts import ConnectionChanged, Observe
from chassis.health import Health
from chassis.launch import launch
from chassis.lifecycle import report
from chassis.metrics import Metrics
from chassis.modules import imported
from chassis.observers import fan_out
from chassis.settings import ParticipantSettings
from messaging.brokers import broker_for
from messaging.errors import ConfigurationError, DefinitionError
from messaging.port import Broker
from messaging.topology import Names, Topology, installation, joined, listening
from participants.choreography.definition import Choreography
from participants.inbox import Inbox
from participants.participant import Participant
from participants.runner import Hosted, Runner, inbox_for, refuse_duplicates

NAME: Final = "participants"


def run(targets: Sequence[str], **flags: Any) -> int:
    """Run the participants that `targets` name, until a signal: the exit code.

    `flags` are settings from the command line; those that are None were not given.
    """

    async def main(settings: ParticipantSettings, stopping: asyncio.Event) -> None:
        metrics = Metrics()
        observe = fan_out(metrics.observe, logs.log_fact)
        await serve(participants, settings, stopping, observe, metrics)

    logs.configure()
    try:
        participants = load_participants(targets)
    except (ConfigurationError, DefinitionError) as error:
        return report(error)
    return launch(main, ParticipantSettings, name=NAME, **flags)


async def serve(
    participants: Sequence[Hosted],
    settings: ParticipantSettings,
    stopping: asyncio.Event,
    observe: Observe,
    metrics: Metrics | None = None,
) -> None:
    """Connect, answer probes and work until `stopping` is set. Waits for servers that are away.

    Raises ConfigurationError for what only the installation can repair: a refused login,
    another topology, participants that need a database and have none.
    """
    health = Health(NAME, metrics.registry if metrics else None)
    async with AsyncExitStack() as stack:
        broker = _broker(participants, settings, observe)
        inbox = _inbox(settings, len(participants))
        stack.push_async_callback(inbox.close)
        runner = _runner(participants, settings, broker, inbox, observe)
        health.register("broker", partial(_broker_problem, runner, broker))
        health.register("inbox", runner.inbox_problem)
        health.register("drain", lambda: "stopping" if stopping.is_set() else None)
        if metrics:
            metrics.follow("saga_consumer_up", lambda: float(not _broker_problem(runner, broker)))
        await stack.enter_async_context(health.serving(settings.http_host, settings.http_port))
        await stack.enter_async_context(broker)
        async with asyncio.TaskGroup() as group:
            # It also raises the ConfigurationError of a broker that refuses us.
            greeting = systemd.ready_after(
                partial(_consuming, runner, broker), "executing commands"
            )
            greeted = group.create_task(greeting, name="broker greeting")
            await runner.run(stopping)
            greeted.cancel()


def _broker(
    participants: Sequence[Hosted], settings: ParticipantSettings, observe: Observe
) -> Broker:
    names = Names(settings.namespace)

    def on_change(up: bool, detail: str) -> None:
        observe(ConnectionChanged(peer="broker", up=up, detail=detail))

    return broker_for(
        settings.amqp_url.get_secret_value(),
        names=names,
        topology=topology_of(names, participants),
        mode=settings.topology,
        app_id=NAME,
        on_change=on_change,
    )


def topology_of(names: Names, participants: Sequence[Hosted]) -> Topology:
    """What these participants and choreographed services use on the broker."""
    services = [each.name for each in participants if isinstance(each, Participant)]
    listeners = {
        each.name: each.reactions.keys() for each in participants if isinstance(each, Choreography)
    }
    return joined(installation(names, services), listening(names, listeners))


def _inbox(settings: ParticipantSettings, participants: int) -> Inbox:
    """With a connection for every command and batch that may run at a time, and one to look
    after it."""
    url = settings.inbox_url.get_secret_value() if settings.inbox_url else None
    return inbox_for(url, connections=(settings.concurrency + 1) * participants + 1)


def _runner(
    participants: Sequence[Hosted],
    settings: ParticipantSettings,
    broker: Broker,
    inbox: Inbox,
    observe: Observe,
) -> Runner:
    return Runner(
        *participants,
        broker=broker,
        inbox=inbox,
        names=Names(settings.namespace),
        observe=observe,
        concurrency=settings.concurrency,
        prefetch=settings.prefetch,
    )


def _broker_problem(runner: Runner, broker: Broker) -> str | None:
    return broker.obstacle() if runner.began.is_set() else "not consuming yet"


async def _consuming(runner: Runner, broker: Broker, timeout: float) -> None:
    """Wait until commands come; a broker that refuses us is known before the database is there."""
    await broker.wait_ready(timeout)
    await runner.began.wait()
    await broker.wait_ready(timeout)


def load_participants(targets: Sequence[str]) -> Sequence[Hosted]:
    """The participants named by `MODULE` (all that are defined in it) or `MODULE:ATTR`.

    Modules are imported with the current directory on the path. Raises ConfigurationError.
    """
    named = [participant for target in targets for participant in _in_target(target)]
    found = list(dict.fromkeys(named))
    refuse_duplicates(found)
    return found


def _in_target(target: str) -> Iterator[Hosted]:
    name, colon, attribute = target.partition(":")
    module = imported(name)
    if colon:
        yield _attribute(module, attribute, target)
        return
    everything = [
        each for each in vars(module).values() if isinstance(each, Participant | Choreography)
    ]
    if not everything:
        raise ConfigurationError(
            f'module {name!r} defines no participant; write `service = Participant("Name")`'
            ' or `service = Choreography("Name")` in it'
        )
    yield from everything


def _attribute(module: ModuleType, attribute: str, target: str) -> Hosted:
    found = getattr(module, attribute, None)
    if not isinstance(found, Participant | Choreography):
        kind = "nothing" if found is None else f"a {type(found).__name__}"
        raise ConfigurationError(f"{target!r} is {kind}, not a Participant or a Choreography")
    return found
