"""A RabbitMQ definitions file: the topology, and for each program a user that may do its work.

The programs need no configure permission with it: they run with SAGA_TOPOLOGY=ignore.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from messaging.topology import (
    Names,
    Topology,
    declared_arguments,
    installation,
    joined,
    listening,
    recording,
)

ORCHESTRATOR: Final = "orchestrator"
DLQ_WORKER: Final = "dlq-worker"
CLIENT: Final = "client"
OPERATOR: Final = "operator"
RECORDER: Final = "recorder"

Listeners = Mapping[str, Iterable[str]]
"""The types of events that each choreographed service listens to."""

_NOTHING: Final = "^$"
_HASHING: Final = "rabbit_password_hashing_sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What one user may do; regular expressions over names, as RabbitMQ has them."""

    user: str
    configure: str = _NOTHING
    write: str = _NOTHING
    read: str = _NOTHING
    tags: tuple[str, ...] = ()
    dead_letter_keys: str | None = None  # the routing keys it may write to the dead exchange
    event_keys: str | None = None  # the same of the exchange for events; None: any


def grants(
    names: Names, participants: Iterable[str], listeners: Listeners | None = None
) -> tuple[Grant, ...]:
    """The users of an installation, each with the least that its program needs.

    A participant's user has the participant's name: replies are accepted by it when
    SAGA_REQUIRE_USER_ID is on. It may write dead letters about its own queue only.
    """
    everything = f"^{re.escape(names.namespace)}\\."
    services = {name: [names.commands_for(name)] for name in participants}
    for name in listeners or {}:
        services.setdefault(name, []).append(names.choreography_of(name))
    return (
        Grant(
            user=ORCHESTRATOR,
            write=_one_of(names.commands, names.events, names.dead),
            read=_one_of(names.starts, names.replies),
        ),
        Grant(
            user=DLQ_WORKER,
            write=_one_of(names.starts, names.commands, names.replies, names.events, names.dead),
            read=_one_of(names.dead_letters),
            # An event is sent again to the one service that could not take it.
            event_keys=rf"^{re.escape(names.choreography_of(''))}.+$",
        ),
        Grant(user=CLIENT, write=_one_of(names.starts)),
        Grant(
            user=OPERATOR,
            configure=everything,
            write=everything,
            read=everything,
            tags=("management",),
        ),
        *([_recorder_grant(names)] if listeners else []),
        *(_service_grant(names, name, queues) for name, queues in sorted(services.items())),
    )


def password_hash(password: str, salt: bytes) -> str:
    """RabbitMQ's salted SHA-256 of a password; `salt` is four random bytes."""
    digest = hashlib.sha256(salt + password.encode()).digest()
    return base64.b64encode(salt + digest).decode()


def definitions(
    names: Names,
    participants: Iterable[str],
    *,
    vhost: str = "/",
    broker_major: int = 4,
    password_hashes: Mapping[str, str] | None = None,
    max_queue_bytes: int | None = None,
    listeners: Listeners | None = None,
) -> dict[str, Any]:
    """What `rabbitmqctl import_definitions` and `definitions.import_backend` take, as a dict.

    A user without an entry in `password_hashes` cannot log in by password: it needs a
    certificate (SASL EXTERNAL) or `rabbitmqctl change_password`. With `max_queue_bytes` a
    policy bounds every work queue; a full queue refuses publishes and loses nothing.
    """
    services = sorted(set(participants))
    users = grants(names, services, listeners)
    topology = installation_with(names, services, listeners)
    return {
        "vhosts": [{"name": vhost}],
        "users": [_user(grant, password_hashes or {}) for grant in users],
        "permissions": [_permission(grant, vhost) for grant in users],
        "topic_permissions": list(_topic_permissions(users, names, vhost)),
        "policies": list(_policies(names, vhost, max_queue_bytes)),
        "exchanges": _exchanges(topology, vhost),
        "queues": _queues(topology, vhost, broker_major),
        "bindings": _bindings(topology, vhost),
    }


def installation_with(
    names: Names, participants: Iterable[str], listeners: Listeners | None = None
) -> Topology:
    """All of an installation, with what choreographed services add."""
    topology = installation(names, participants)
    if not listeners:
        return topology
    return joined(topology, listening(names, listeners), recording(names))


def _recorder_grant(names: Names) -> Grant:
    return Grant(
        user=RECORDER,
        write=_one_of(names.events, names.dead),
        read=_one_of(names.event_log),
        dead_letter_keys=_one_of("quiet"),
    )


def _service_grant(names: Names, service: str, queues: Sequence[str]) -> Grant:
    """A service that executes commands, reacts to events, or both."""
    targets = {names.commands_for(service): names.replies}
    written = [targets.get(queue, names.events) for queue in queues]
    return Grant(
        user=service,
        write=_one_of(*written, names.dead),
        read=_one_of(*queues),
        dead_letter_keys=_one_of(*(f"rejected.{queue}" for queue in queues)),
    )


def _one_of(*names: str) -> str:
    """A pattern for exactly these names."""
    return f"^({'|'.join(re.escape(name) for name in names)})$"


def _user(grant: Grant, password_hashes: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": grant.user,
        "password_hash": password_hashes.get(grant.user, ""),
        "hashing_algorithm": _HASHING,
        "tags": list(grant.tags),
    }


def _permission(grant: Grant, vhost: str) -> dict[str, Any]:
    return {
        "user": grant.user,
        "vhost": vhost,
        "configure": grant.configure,
        "write": grant.write,
        "read": grant.read,
    }


def _topic_permissions(
    users: Sequence[Grant], names: Names, vhost: str
) -> Iterator[dict[str, Any]]:
    for grant in users:
        keys = {names.dead: grant.dead_letter_keys, names.events: grant.event_keys}
        for exchange, written in keys.items():
            if written is not None:
                yield {
                    "user": grant.user,
                    "vhost": vhost,
                    "exchange": exchange,
                    "write": written,
                    "read": _NOTHING,
                }


def _policies(names: Names, vhost: str, max_bytes: int | None) -> Iterator[dict[str, Any]]:
    """Never for the dead letters: nothing may push one out."""
    if max_bytes is None:
        return
    namespace = re.escape(names.namespace)
    yield {
        "vhost": vhost,
        "name": f"{names.namespace}-work-queues",
        "pattern": rf"^{namespace}\.(starts|replies|commands\..+|choreography\..+)$",
        "apply-to": "queues",
        "priority": 0,
        "definition": {"max-length-bytes": max_bytes},
    }


def _exchanges(topology: Topology, vhost: str) -> list[dict[str, Any]]:
    return [
        {
            "name": exchange.name,
            "vhost": vhost,
            "type": exchange.type,
            "durable": True,
            "auto_delete": False,
            "internal": False,
            "arguments": {},
        }
        for exchange in topology.exchanges
    ]


def _queues(topology: Topology, vhost: str, broker_major: int) -> list[dict[str, Any]]:
    return [
        {
            "name": queue.name,
            "vhost": vhost,
            "durable": True,
            "auto_delete": False,
            "arguments": dict(declared_arguments(queue, broker_major)),
        }
        for queue in topology.queues
    ]


def _bindings(topology: Topology, vhost: str) -> list[dict[str, Any]]:
    return [
        {
            "source": binding.exchange,
            "vhost": vhost,
            "destination": binding.queue,
            "destination_type": "queue",
            "routing_key": binding.routing_key,
            "arguments": {},
        }
        for binding in topology.bindings
    ]
