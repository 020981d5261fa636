"""Rows: what the table's columns hold, and what another release may have written there."""

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from store.sagas import planned, running

from orchestrator.saga.changed import changed
from orchestrator.saga.state import Direction, Failure, Outbound, OutboundKind, Step, StepStatus
from orchestrator.store.errors import StatementRejected
from orchestrator.store.forms import OUTBOUND, STEP
from orchestrator.store.hot_forms import outbound_text, step_text
from orchestrator.store.rows import HistoryRow, SagaRow, row_of, saga_from
from orchestrator.store.tables import JSON_COLUMNS, saga_history, sagas

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
SAGA = running(
    "one",
    NOW,
    steps=(Step(plan=planned(), attempts=1, deadline=NOW),),
    first_failure=Failure(step=None, error="cancelled", at=NOW),
    outbound=(Outbound(kind=OutboundKind.EVENT, destination="OrderFailed", body="{}", cause=None),),
)


def _from_the_future(text: str | None) -> str:
    """The same JSON with a key that this release has never heard of."""

    def grown(value: Any) -> Any:
        match value:
            case dict():
                return {"x_new": [1], **{key: grown(each) for key, each in value.items()}}
            case list():
                return [grown(each) for each in value]
            case _:
                return value

    return json.dumps(grown(json.loads(text or "null")))


def test_the_rows_have_the_tables_columns_in_their_order() -> None:
    assert SagaRow._fields == tuple(sagas.columns.keys())
    assert HistoryRow._fields == tuple(saga_history.columns.keys())
    assert set(SagaRow._fields) > JSON_COLUMNS


def test_keys_of_a_newer_release_are_ignored() -> None:
    row = row_of(SAGA)
    newer = {name: _from_the_future(getattr(row, name)) for name in JSON_COLUMNS - {"data"}}
    assert saga_from(row._replace(**newer)) == SAGA


def test_a_fresh_step_takes_no_room() -> None:
    row = row_of(running("one", NOW, steps=(Step(plan=planned()),)))
    assert row.steps == '[{"status":"pending"}]'


def test_the_plan_and_the_data_are_not_written_again() -> None:
    row = row_of(SAGA, known=SAGA)
    assert (row.plan, row.data) == (None, None)


def test_the_plan_of_a_request_is_written_when_it_has_one() -> None:
    request = running("one", NOW, steps=())
    assert row_of(request).plan is None
    assert row_of(SAGA, known=request).plan is not None


@pytest.mark.parametrize(
    "damage",
    [
        {"steps": "[]"},
        {"steps": "[{}, {}]"},
        {"steps": '[{"status":"dreaming"}]'},
        {"steps": "nonsense"},
        {"steps": '"p"'},
        {"steps": '["p"]'},
        {"steps": "7"},
        {"steps": "null"},
        {"plan": '"p"'},
        {"outbound": '"o"'},
        {"plan": '[{"name":"pay"}]'},
        {"state": "dreaming"},
        {"data": '{"a":' * 100_000},
        {"data": f'{{"a":{"1" * 5000}}}'},
        {"outbound": '[{"kind":"smoke"}]'},
        {"first_failure": "{}"},
    ],
    ids=str,
)
def test_a_row_that_cannot_be_read_is_named(damage: dict[str, str]) -> None:
    with pytest.raises(StatementRejected, match="the row of saga 'one' cannot be read"):
        saga_from(row_of(SAGA)._replace(**damage))


STEP_FIELDS: dict[str, Any] = {
    "status": StepStatus.COMPENSATION_FAILED,
    "attempts": 2,
    "compensation_attempts": 3,
    "forgiven": 1,
    "effect_unknown": True,
    "result": {"note": 'a "quote" and Tromsø', "paid": [1, 2.5, None]},
    "error": "no\nmoney",
    "deadline": NOW,
    "retry_at": NOW,
    "unroutable": True,
    "started_at": NOW,
    "completed_at": NOW,
    "compensation_started_at": NOW,
    "compensated_at": NOW,
}
OWED_FIELDS: dict[str, Any] = {
    "cause": "message-1",
    "step": "pay",
    "direction": Direction.COMPENSATION,
    "attempt": 2,
    "deadline": NOW,
    "reason": "compensation_exhausted",
    "error": 'he said "no"',
}


def _all_and_each(fields: dict[str, Any]) -> list[dict[str, Any]]:
    return [{}, fields, *({name: value} for name, value in fields.items())]


@pytest.mark.parametrize("fields", _all_and_each(STEP_FIELDS), ids=str)
def test_the_short_way_to_write_a_step_says_the_same(fields: dict[str, Any]) -> None:
    step = Step(plan=planned(), **fields)
    assert step_text(step) == STEP.write(step)
    assert set(STEP_FIELDS) == {each.name for each in dataclasses.fields(Step)} - {"plan"}


@pytest.mark.parametrize("fields", _all_and_each(OWED_FIELDS), ids=str)
def test_the_short_way_to_write_what_is_owed_says_the_same(fields: dict[str, Any]) -> None:
    plain: dict[str, Any] = {
        "kind": OutboundKind.COMMAND,
        "destination": "Pay.Do",
        "body": '{"ø":1}',
    }
    owed = Outbound(**{"cause": None, **plain, **fields})
    assert outbound_text(owed) == OUTBOUND.write(owed)
    assert {*OWED_FIELDS, *plain} == {each.name for each in dataclasses.fields(Outbound)}


def test_the_text_of_a_step_does_not_outlive_its_change() -> None:
    step = Step(plan=planned(), attempts=1)
    before = row_of(running("one", NOW, steps=(step,))).steps
    after = row_of(running("one", NOW, steps=(changed(step, attempts=2),))).steps
    assert (before, after) == (
        '[{"status":"pending","attempts":1}]',
        '[{"status":"pending","attempts":2}]',
    )
