"""A RabbitMQ definitions file: the topology, and for each program a user that may do its work.

The programs need no configure permission with it: they run with SAGA_TOPOLOGY=ignore.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from messaging.topology import Names, Topology, declared_arguments, installation

ORCHESTRATOR: Final = "orchestrator"
DLQ_WORKER: Final = "dlq-worker"
CLIENT: Final = "client"
OPERATOR: Final = "operator"

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


def grants(names: Names, participants: Iterable[str]) -> tuple[Grant, ...]:
    """The users of an installation, each with the least that its program needs.

    A participant's user has the participant's name: replies are accepted by it when
    SAGA_REQUIRE_USER_ID is on. It may write dead letters about its own queue only.
    """
    everything = f"^{re.escape(names.namespace)}\\."
    return (
        Grant(
            user=ORCHESTRATOR,
            write=_one_of(names.commands, names.events, names.dead),
            read=_one_of(names.starts, names.replies),
        ),
        Grant(
            user=DLQ_WORKER,
            write=_one_of(names.starts, names.commands, names.replies, names.dead),
            read=_one_of(names.dead_letters),
        ),
        Grant(user=CLIENT, write=_one_of(names.starts)),
        Grant(
            user=OPERATOR,
            configure=everything,
            write=everything,
            read=everything,
            tags=("management",),
        ),
        *(_participant_grant(names, participant) for participant in sorted(set(participants))),
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
) -> dict[str, Any]:
    """What `rabbitmqctl import_definitions` and `definitions.import_backend` take, as a dict.

    A user without an entry in `password_hashes` cannot log in by password: it needs a
    certificate (SASL EXTERNAL) or `rabbitmqctl change_password`. With `max_queue_bytes` a
    policy bounds every work queue; a full queue refuses publishes and loses nothing.
    """
    services = sorted(set(participants))
    users = grants(names, services)
    topology = installation(names, services)
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


def _participant_grant(names: Names, participant: str) -> Grant:
    queue = names.commands_for(participant)
    return Grant(
        user=participant,
        write=_one_of(names.replies, names.dead),
        read=_one_of(queue),
        dead_letter_keys=_one_of(f"rejected.{queue}"),
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
        if grant.dead_letter_keys is not None:
            yield {
                "user": grant.user,
                "vhost": vhost,
                "exchange": names.dead,
                "write": grant.dead_letter_keys,
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
        "pattern": rf"^{namespace}\.(starts|replies|commands\..+)$",
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
