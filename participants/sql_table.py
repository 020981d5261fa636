"""The inbox's table, and what of a reply it keeps."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    MetaData,
    Row,
    String,
    Table,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB

from messaging.contract import Effect, Reply, ReplyType
from participants.guard import Entry, State
from participants.inbox import Key

Stored = Mapping[str, Any]
"""A reply, as it is kept: what is not None."""

metadata: Final = MetaData()
_JSON = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
saga_inbox: Final = Table(
    "saga_inbox",
    metadata,
    Column("saga_id", String(200), primary_key=True),
    Column("step_name", String(200), primary_key=True),
    Column("state", String(20), nullable=False),
    Column("action_reply", _JSON),
    Column("compensation_reply", _JSON),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint(
        f"state IN ({', '.join(repr(state.value) for state in State)})", name="saga_inbox_state"
    ),
    Index("saga_inbox_updated_at", "updated_at"),
)


def entry_of(row: Row[Any]) -> Entry:
    key = Key(row.saga_id, row.step_name)
    return entry_from(key, row.state, row.action_reply, row.compensation_reply)


def entry_from(key: Key, state: str, action: Stored | None, compensation: Stored | None) -> Entry:
    return Entry(
        state=State(state),
        action_reply=_restored(*key, action),
        compensation_reply=_restored(*key, compensation),
        epoch=action.get("epoch") if action else None,
    )


def stored_replies(entry: Entry) -> tuple[Stored | None, Stored | None]:
    """What is kept of both; of an action without a reply, when it was first heard of."""
    first = {"epoch": entry.epoch} if entry.epoch else None
    return _stored(entry.action_reply) or first, _stored(entry.compensation_reply)


def _stored(reply: Reply | None) -> dict[str, Any] | None:
    """What belongs to one command is not kept."""
    if reply is None:
        return None
    kept = {
        "type": reply.type.value,
        "result": reply.result,
        "error": reply.error,
        "retryable": reply.retryable,
        "effect": reply.effect.value if reply.effect is not Effect.NONE else None,
        "attempt": reply.attempt,
        "epoch": reply.epoch,
    }
    return {name: value for name, value in kept.items() if value is not None}


def _restored(saga_id: str, step_name: str, stored: Stored | None) -> Reply | None:
    if stored is None or "type" not in stored:
        return None
    return Reply(
        type=ReplyType(stored["type"]),
        saga_id=saga_id,
        step_name=step_name,
        result=stored.get("result"),
        error=stored.get("error"),
        retryable=stored.get("retryable"),
        effect=Effect(stored.get("effect", Effect.NONE)),
        attempt=stored.get("attempt"),
        epoch=stored.get("epoch"),
    )
