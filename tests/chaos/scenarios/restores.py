"""The database forgets: a failover without the last commits, and a backup put back."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from servers.postgres import postgres_programs

from tests.chaos.orders import orders_of_open_end
from tests.chaos.postgres_servers import PostgresPair
from tests.chaos.scenario import Needs, scenario
from tests.chaos.world import World
from tests.product import audit
from tests.product.customers import start_all
from tests.product.installation import saga

# What tells a person of the lost past; `saga reconcile` closes those of sagas started again.
FORGETFUL = Needs(
    orders=orders_of_open_end,
    letters=frozenset({"late_success", "out_of_sequence"}),
    may_lose_events=True,
    may_lose_history=True,
)


@scenario(
    33,
    "pg-failover-lost-commits",
    "a standby that has received nothing for 4 s is promoted; clients repeat what is lost",
    needs=Needs(
        orders=FORGETFUL.orders,
        letters=FORGETFUL.letters,
        may_lose_events=True,
        may_lose_history=True,
        postgres=PostgresPair,
        shop_apart=True,
    ),
)
def failover(world: World) -> None:
    with world.under_load():
        world.reach_any_moment()
        world.postgres.lag()
        world.last(4)
        before = _lines(world)
        world.play("the standby is promoted", world.postgres.take_over)
        world.postgres.promote()
        _assert_lost(world, before)
        world.last(2)
    _come_to_rest(world)


@scenario(
    34,
    "pg-restore-backup",
    "the saga database is put back to its dump of 8 s ago; clients repeat what is lost",
    needs=FORGETFUL,
)
def restore_backup(world: World) -> None:
    dump = world.folder / "sagas.sql"
    with world.under_load():
        world.reach_any_moment()
        _dump(world.place.saga_database, dump)
        world.last(8)
        with _stopped(world):
            before = _lines(world)
            world.play("the backup is restored")
            _restore(world.place.saga_database, dump)
            _assert_lost(world, before)
        world.last(2)
    _come_to_rest(world)


def _assert_lost(world: World, before: set[Any]) -> None:
    lost = before - _lines(world)
    assert lost, "no commit was lost"
    world.faults.told(f"{len(lost)} lines of history are lost")


def _lines(world: World) -> set[Any]:
    with psycopg.connect(world.place.saga_database) as connection:
        return set(connection.execute("SELECT saga_id, version, at FROM saga_history").fetchall())


def _come_to_rest(world: World) -> None:
    """Clients start again what they cannot find; an operator reconciles."""
    world.load.join()
    world.installation.wait_ready()
    missing = [each for each in world.load.asked if each.saga_id not in audit.states(world.place)]
    world.faults.told(f"{len(missing)} sagas are started again")
    asyncio.run(start_all(world.place, missing))
    world.wait_for(lambda: _have_all_ended(world), "every saga has ended")
    world.wait_for(lambda: _reconciled(world) == [], "nothing is left to reconcile", seconds=30)


def _have_all_ended(world: World) -> bool:
    states = audit.states(world.place)
    return all(states.get(each.saga_id) in audit.FINAL for each in world.load.asked)


def _reconciled(world: World) -> list[dict[str, object]]:
    """What is left once the safe things are repaired."""
    said = saga(
        world.installation,
        *("reconcile", "--repair", "--reason", "commits were lost", "-o", "json"),
        *("--inbox", world.installation.place.shop_database),
    )
    assert said.code in {0, 3}, said.err
    found: list[dict[str, object]] = json.loads(said.out)["findings"]
    for each in found:
        world.faults.told(f"reconcile: {each['kind']} {each['saga_id']} {each['step_name']}")
    return found


@contextmanager
def _stopped(world: World) -> Iterator[None]:
    """Orchestrators and DLQ worker, as the guide says."""
    daemons = [*world.orchestrators, world.dlq_worker]
    for daemon in daemons:
        daemon.terminate()
    yield
    for daemon in daemons:
        daemon.start()


def _dump(url: str, file: Path) -> None:
    _run("pg_dump", "--clean", "--if-exists", f"--file={file}", url)


def _restore(url: str, file: Path) -> None:
    """All tables are made anew, in one transaction."""
    quiet = ("--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--output=/dev/null")
    _run("psql", *quiet, "--single-transaction", f"--file={file}", url)


def _run(program: str, *arguments: str) -> None:
    programs = postgres_programs()
    assert programs is not None, "PostgreSQL has no programs here"
    subprocess.run([programs / program, *arguments], check=True)
