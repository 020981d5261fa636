"""Rows: what the table's columns hold, and what another release may have written there."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from store.sagas import planned, running

from orchestrator.saga.state import Failure, Outbound, OutboundKind, Step
from orchestrator.store.errors import StatementRejected
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
