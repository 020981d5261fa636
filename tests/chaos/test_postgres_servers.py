"""Servers that scenarios hurt: the harm is real, and it can be undone."""

import os
from collections.abc import Iterator
from datetime import datetime, timedelta

import psycopg
import pytest
from servers.postgres import postgres_programs

from tests.chaos.postgres_servers import (
    ChaosPostgres,
    PostgresPair,
    SkewedPostgres,
    SmallDiskPostgres,
    StandbyPostgres,
    fake_clock_library,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not postgres_programs(), reason="no postgres on this machine"),
]


@pytest.fixture(scope="module")
def primary() -> Iterator[ChaosPostgres]:
    with ChaosPostgres() as server:
        server.execute("CREATE TABLE numbers (number int)")
        yield server


def test_a_standby_promoted_with_lag_has_lost_the_last_commits(primary: ChaosPostgres) -> None:
    with StandbyPostgres(primary) as standby:
        primary.execute("INSERT INTO numbers VALUES (1)")
        standby.wait_caught_up()
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            standby.execute("INSERT INTO numbers VALUES (2)")
        standby.lag()
        primary.execute("INSERT INTO numbers VALUES (3)")
        standby.promote()
        standby.execute("INSERT INTO numbers VALUES (4)")
        assert standby.execute("SELECT number FROM numbers ORDER BY 1") == [1, 4]


def test_a_copy_takes_over_at_the_address_of_its_primary() -> None:
    with PostgresPair() as pair:
        pair.current.execute("CREATE TABLE numbers (number int)")
        pair.lag()
        pair.current.execute("INSERT INTO numbers VALUES (1)")
        pair.take_over()
        with psycopg.connect(pair.url, autocommit=True) as connection:
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                connection.execute("INSERT INTO numbers VALUES (2)")
            pair.promote()
            connection.execute("INSERT INTO numbers VALUES (3)")
            assert connection.execute("SELECT number FROM numbers").fetchall() == [(3,)]


def test_a_server_comes_back_from_every_ending_with_what_was_committed() -> None:
    with ChaosPostgres() as server:
        server.execute("CREATE TABLE numbers (number int)")
        url = server.url
        for number, end in enumerate(server.endings().values(), start=1):
            server.execute(f"INSERT INTO numbers VALUES ({number})")
            end()
            assert not server.is_running()
            server.start()
        assert server.url == url
        assert server.execute("SELECT number FROM numbers ORDER BY 1") == [1, 2, 3]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_takes_nothing_and_an_emptied_one_takes_it_again() -> None:
    with SmallDiskPostgres() as server:
        server.execute("CREATE TABLE texts (text text)")
        much = "INSERT INTO texts SELECT md5(n::text) FROM generate_series(1, 1000000) n"
        with server.full(), pytest.raises(psycopg.Error):
            server.execute(much)
        before = server.execute("SELECT count(*) FROM texts")[0]
        server.execute("INSERT INTO texts VALUES ('room')")
        assert server.execute("SELECT count(*) FROM texts")[0] == before + 1


@pytest.mark.skipif(not fake_clock_library(), reason="no libfaketime on this machine")
def test_the_clock_of_a_server_jumps_forwards_and_back() -> None:
    with SkewedPostgres() as server, psycopg.connect(server.url, autocommit=True) as connection:
        before = _now(connection)
        server.clock.set("+2h")
        assert timedelta(hours=2) <= _now(connection) - before < timedelta(hours=3)
        server.clock.set("-1h")
        assert timedelta(minutes=-61) < _now(connection) - before < timedelta(minutes=-59)


def _now(connection: psycopg.Connection) -> datetime:
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    return row[0]
