"""Reading dead letters for the command line and the console. Nothing here changes one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from dlq_worker.rows import LETTER_COLUMNS, stored_letter
from dlq_worker.statuses import UNCLOSED, Status
from dlq_worker.tables import IS_UNCLOSED, alerts, dead_letter_actions, dead_letters
from dlq_worker.views import ActionView, AlertView, GroupView, LetterDetails, LetterView
from messaging.errors import NotFound
from orchestrator.store.database import DatabaseStore

MAX_LISTED: Final = 1000
_ALERT: Final = "of_alert_"
_NUMBERS: Final = range(1, 2**63)

_WITH_ALERT: Final = sa.select(
    *LETTER_COLUMNS, *(column.label(f"{_ALERT}{column.name}") for column in alerts.c)
).select_from(dead_letters.outerjoin(alerts, alerts.c.key == dead_letters.c.alert_key))


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterFilter:
    """Which letters to list; None: any. By default those that are not closed."""

    statuses: frozenset[Status] | None = UNCLOSED
    reason: str | None = None
    saga_id: str | None = None
    saga_type: str | None = None
    step_name: str | None = None
    signature: str | None = None


async def list_letters(
    store: DatabaseStore, wanted: LetterFilter | None = None, *, limit: int = 100
) -> Sequence[LetterView]:
    """The newest first, at most `limit` and 1000."""
    query = _WITH_ALERT.where(*_conditions(wanted or LetterFilter()))
    newest_first = query.order_by(dead_letters.c.last_seen.desc(), dead_letters.c.id.desc())
    async with store.reading() as connection:
        rows = await connection.execute(newest_first.limit(max(0, min(limit, MAX_LISTED))))
        return [_view(dict(row)) for row in rows.mappings()]


async def show_letter(store: DatabaseStore, letter_id: int) -> LetterDetails:
    """Everything about one letter. Raises NotFound."""
    check_number(letter_id)
    history = (
        sa.select(dead_letter_actions)
        .where(dead_letter_actions.c.letter_id == letter_id)
        .order_by(dead_letter_actions.c.id)
    )
    async with store.reading() as connection:
        found = await connection.execute(_WITH_ALERT.where(dead_letters.c.id == letter_id))
        row = found.mappings().one_or_none()
        if row is None:
            raise no_such_letter(letter_id)
        actions = (await connection.execute(history)).mappings().all()
    return LetterDetails(
        view=_view(dict(row)), actions=tuple(_action_view(dict(action)) for action in actions)
    )


async def list_groups(
    store: DatabaseStore, wanted: LetterFilter | None = None, *, limit: int = 100
) -> Sequence[GroupView]:
    """Letters by signature, the largest group first."""
    letters = sa.func.count().label("letters")
    query = (
        sa.select(
            dead_letters.c.signature,
            sa.func.min(dead_letters.c.reason).label("reason"),
            letters,
            sa.func.count(dead_letters.c.saga_id.distinct()).label("sagas"),
            sa.func.min(dead_letters.c.first_seen).label("first_seen"),
            sa.func.max(dead_letters.c.last_seen).label("last_seen"),
            sa.func.max(dead_letters.c.id).label("example_id"),
        )
        .where(*_conditions(wanted or LetterFilter()))
        .group_by(dead_letters.c.signature)
        .order_by(letters.desc(), dead_letters.c.signature)
        .limit(max(0, min(limit, MAX_LISTED)))
    )
    async with store.reading() as connection:
        rows = (await connection.execute(query)).mappings().all()
        return [GroupView(**row) for row in rows]


def check_number(letter_id: int) -> None:
    """Raise NotFound for what no letter's number can be."""
    if letter_id not in _NUMBERS:
        raise no_such_letter(letter_id)


def no_such_letter(letter_id: int) -> NotFound:
    return NotFound(f"there is no dead letter {letter_id}; see `saga dlq list`")


def _conditions(wanted: LetterFilter) -> list[sa.ColumnElement[bool]]:
    equal = {
        dead_letters.c.reason: wanted.reason,
        dead_letters.c.saga_id: wanted.saga_id,
        dead_letters.c.saga_type: wanted.saga_type,
        dead_letters.c.step_name: wanted.step_name,
        dead_letters.c.signature: wanted.signature,
    }
    conditions = [column == value for column, value in equal.items() if value is not None]
    if wanted.statuses == UNCLOSED:
        conditions.append(IS_UNCLOSED)
    elif wanted.statuses is not None:
        conditions.append(dead_letters.c.status.in_(sorted(wanted.statuses)))
    return conditions


def _view(row: Mapping[str, Any]) -> LetterView:
    alert = {
        name.removeprefix(_ALERT): value for name, value in row.items() if name.startswith(_ALERT)
    }
    return LetterView(stored=stored_letter(row), alert=_alert_view(alert))


def _alert_view(row: Mapping[str, Any]) -> AlertView | None:
    if row["id"] is None:
        return None
    return AlertView(**{name: row[name] for name in AlertView.__dataclass_fields__})


def _action_view(row: Mapping[str, Any]) -> ActionView:
    return ActionView(**{name: row[name] for name in ActionView.__dataclass_fields__})
