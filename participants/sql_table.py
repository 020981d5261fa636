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
    return Entry(
        state=State(row.state),
        action_reply=restored(row.saga_id, row.step_name, row.action_reply),
        compensation_reply=restored(row.saga_id, row.step_name, row.compensation_reply),
    )


def stored_form(reply: Reply | None) -> dict[str, Any] | None:
    """What of a reply is kept; what belongs to one command is not."""
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


def restored(saga_id: str, step_name: str, stored: Mapping[str, Any] | None) -> Reply | None:
    if stored is None:
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
