"""Which errors are waited for, and which never go away."""

import asyncio
import sqlite3

import psycopg
import pytest
from sqlalchemy import exc

from messaging.errors import SagaError, Unavailable
from orchestrator.store.errors import StatementRejected, translated
from orchestrator.store.stores import store_for

WAITED_FOR = [
    *("08000", "08003", "08006", "40001", "40P01", "53100", "53200", "53300", "55P03"),
    *("57014", "57P01", "57P03", "25006", "25P03", "58030", "XX000"),
    *("42P01", "42703", "42501"),  # the installation's fault: no message may suffer for it
    *("26000", "42P05", "0A000"),  # what the driver has prepared is not there, or another's
]
NEVER = ["22001", "22021", "22P02", "22P05", "23502", "23505", "23514", "42601", "42804", "54000"]


def _translation(error: BaseException) -> BaseException:
    with pytest.raises(type(error) if not _is_translated(error) else SagaError) as caught:
        _raise(error)
    return caught.value


def _is_translated(error: BaseException) -> bool:
    return isinstance(
        error, exc.SQLAlchemyError | psycopg.Error | sqlite3.Error | OSError | ValueError
    )


def _raise(error: BaseException) -> None:
    with translated():
        raise error


@pytest.mark.parametrize("state", WAITED_FOR)
def test_trouble_of_the_server_is_waited_for(state: str) -> None:
    error = _translation(psycopg.errors.lookup(state)("trouble"))
    assert isinstance(error, Unavailable)
    assert state in str(error)


@pytest.mark.parametrize("state", NEVER)
def test_trouble_of_the_values_is_never_waited_for(state: str) -> None:
    assert isinstance(_translation(psycopg.errors.lookup(state)("trouble")), StatementRejected)


def test_a_missing_table_comes_with_its_remedy() -> None:
    error = _translation(psycopg.errors.UndefinedTable("no table"))
    assert "saga db upgrade" in str(error)


def test_an_error_inside_of_sqlalchemy_s_is_what_counts() -> None:
    inner = psycopg.errors.StatementTooComplex("too complex")
    error = exc.OperationalError("SELECT 1", {"card": "4111"}, inner)
    assert isinstance(_translation(error), StatementRejected)
    assert "4111" not in str(_translation(error))


def test_a_lost_connection_is_waited_for_whatever_its_error() -> None:
    error = exc.DBAPIError("SELECT 1", None, psycopg.DataError("odd"), connection_invalidated=True)
    assert isinstance(_translation(error), Unavailable)


@pytest.mark.parametrize(
    "error",
    [
        psycopg.OperationalError("the connection is closed"),
        psycopg.InterfaceError("the cursor is closed"),
        exc.TimeoutError("QueuePool limit"),
        ConnectionRefusedError("refused"),
        TimeoutError(),
        sqlite3.OperationalError("no active connection"),
    ],
    ids=repr,
)
def test_without_a_code_a_connection_s_trouble_is_waited_for(error: Exception) -> None:
    assert isinstance(_translation(error), Unavailable)


@pytest.mark.parametrize(
    "error",
    [
        psycopg.DataError("cannot contain NUL"),
        psycopg.ProgrammingError("cannot adapt"),
        sqlite3.ProgrammingError("binding"),
        UnicodeEncodeError("utf-8", "secret \ud800", 7, 8, "surrogates not allowed"),
        ValueError("out of range"),
    ],
    ids=repr,
)
def test_without_a_code_a_value_s_trouble_is_never_waited_for(error: Exception) -> None:
    translation = _translation(error)
    assert isinstance(translation, StatementRejected)
    assert "secret" not in str(translation)


@pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyError("ours"), Unavailable("ours")])
def test_what_is_no_database_s_error_passes(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        _raise(error)
    assert caught.value is error


def test_a_locked_sqlite_file_is_waited_for_and_a_broken_rule_is_not() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE t (a CHECK (a > 0))")
    with pytest.raises(StatementRejected, match="SQLITE_CONSTRAINT"), translated():
        connection.execute("INSERT INTO t VALUES (-1)")
    with pytest.raises(Unavailable, match="saga db upgrade"), translated():
        connection.execute("INSERT INTO missing VALUES (1)")
    connection.close()


async def test_a_server_out_of_reach_is_unavailable_everywhere(closed_port_url: str) -> None:
    store = store_for(closed_port_url)
    with pytest.raises(Unavailable) as caught:
        async with store.transaction():
            pass
    for question in (store.check, store.stuck, store.outlook, store.upgrade):
        with pytest.raises(Unavailable):
            await question()
    await store.wait_for_due(0.05)
    await store.close()
    assert "hunter2" not in str(caught.value)
