"""The broker: can it be reached, what may we do there, and is everything there."""

from collections.abc import Iterator, Sequence
from typing import Final

from chassis.settings import Settings
from messaging.errors import SagaError
from messaging.rabbit_permissions import Permissions, permissions
from messaging.rabbitmq import BrokerFacts, probe, verify
from messaging.topology import Names, Topology, TopologyMode
from orchestrator.cli.checkup.finding import (
    Finding,
    misconfigured,
    problem_of,
    unavailable,
    warning,
    well,
)
from orchestrator.cli.checkup.works import works

BROKER: Final = "broker"
PERMISSIONS: Final = "permissions"
TOPOLOGY: Final = "topology"
_REACH: Final = "start it, or set SAGA_AMQP_URL to where it is"
_MISSING: Final = " is missing"
_OLDEST: Final = (3, 10)


async def look_at_broker(
    settings: Settings, participants: Sequence[str], topology: Topology
) -> list[Finding]:
    url = settings.amqp_url.get_secret_value()
    if url.startswith("memory:"):
        return [well(BROKER, "the embedded broker, inside each process: nothing to look at")]
    names = Names(settings.namespace)
    try:
        facts = await probe(url)
        findings = list(_of_facts(facts))
        allowed = await _allowed(url, names, participants)
        findings += _of_permissions(facts.user, allowed, settings.topology, names, participants)
        differences = await verify(url, topology)
    except SagaError as error:
        return [problem_of(BROKER, error, _REACH)]
    may_declare = allowed.may_configure and settings.topology is TopologyMode.DECLARE
    return [*findings, *_of_topology(differences, participants, may_declare=may_declare)]


def _of_facts(facts: BrokerFacts) -> Iterator[Finding]:
    security = "TLS" if facts.is_tls else "no TLS"
    place = f"{facts.host}:{facts.port}, vhost {facts.vhost!r}, {security}"
    detail = f"{facts.product} {facts.version} at {place}, as {facts.user or 'its certificate'}"
    version = tuple(int(part) for part in facts.version.split(".")[:2] if part.isdecimal())
    if facts.product != "RabbitMQ":
        remedy = "Countermand is tested with RabbitMQ only; take that"
        yield warning(BROKER, detail, remedy)
    elif version < _OLDEST:
        yield misconfigured(BROKER, detail, "take RabbitMQ 3.10 or newer: older ones lose letters")
    else:
        yield well(BROKER, detail)


async def _allowed(url: str, names: Names, participants: Sequence[str]) -> Permissions:
    all_works = works(names, participants)
    reads = {queue for work in all_works for queue in work.reads}
    writes = {write for work in all_works for write in work.writes}
    return await permissions(
        url, names, reads=sorted(reads), writes=sorted(writes, key=lambda each: each.exchange)
    )


def _of_permissions(
    user: str,
    allowed: Permissions,
    mode: TopologyMode,
    names: Names,
    participants: Sequence[str],
) -> Iterator[Finding]:
    if allowed.is_blocked:
        detail = "the broker takes no messages: its memory or disk alarm has gone off"
        yield unavailable(BROKER, detail, "`rabbitmq-diagnostics alarms` tells which; free some")
        return
    able = [work.program for work in works(names, participants) if work.fits(allowed)]
    if mode is TopologyMode.DECLARE and not allowed.may_configure:
        yield misconfigured(
            PERMISSIONS,
            f"{user} may declare nothing, and SAGA_TOPOLOGY=declare",
            "run `saga topology declare` as a user who may, and set SAGA_TOPOLOGY=ignore here",
        )
    if able:
        yield well(PERMISSIONS, f"{user} may do the work of: {', '.join(able)}")
    else:
        yield misconfigured(
            PERMISSIONS,
            f"{user} may do the work of no program in namespace {names.namespace}",
            "give it the permissions that `saga topology definitions` prints",
        )


def _of_topology(
    differences: Sequence[str], participants: Sequence[str], *, may_declare: bool
) -> Iterator[Finding]:
    declare = f"saga topology declare{' MODULE' if participants else ''}"
    missing = [each for each in differences if each.endswith(_MISSING)]
    absent = f"missing: {', '.join(each.removesuffix(_MISSING) for each in missing)}"
    for difference in differences:
        if difference not in missing:
            remedy = f"drain and delete it, then run `{declare}`"
            yield misconfigured(TOPOLOGY, difference, remedy)
    if missing and may_declare:
        remedy = f"each program declares what it uses when it starts, or: {declare}"
        yield warning(TOPOLOGY, absent, remedy)
    elif missing:
        remedy = f"run `{declare}` as a user who may"
        yield misconfigured(TOPOLOGY, absent, remedy)
    if not differences:
        seen = "all exchanges and queues are as they should be"
        more = "" if participants else "; saga doctor MODULE looks at participants' queues, too"
        yield well(TOPOLOGY, f"{seen}{more}")
