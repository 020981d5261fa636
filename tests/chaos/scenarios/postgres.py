"""What befalls the database: it crashes, falls silent, refuses, fills up, blocks and crawls."""

from collections.abc import Sequence
from contextlib import ExitStack
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from tests.chaos.orders import orders_of_open_end
from tests.chaos.postgres_faults import row_locked, slow_writes, terminate_sessions
from tests.chaos.postgres_servers import ChaosPostgres, PostgresPair, SmallDiskPostgres
from tests.chaos.scenario import Needs, scenario
from tests.chaos.world import World
from tests.product import audit
from tests.product.installation import Daemon, Installation

POOR_USER = "few_connections"
AT_ONCE = b"abs(extract(epoch"  # in what inserts and saves sagas at once


@scenario(
    28,
    "pg-restart",
    "PostgreSQL stops fast, stops immediately, and is killed with SIGKILL; away for 1 to 4 s",
    needs=Needs(postgres=ChaosPostgres),
)
def restart(world: World) -> None:
    endings = list(world.postgres.endings().items())
    with world.under_load():
        for name, end in world.chance.sample(endings, len(endings)):
            world.reach_any_moment()
            world.play(f"PostgreSQL ends: {name}", end)
            world.last(world.chance.uniform(1, 4))
            world.mend("PostgreSQL starts", world.postgres.start)
            world.last(2)


@scenario(29, "pg-terminate-backends", "every session is terminated, every 100 ms for 10 s")
def terminate(world: World) -> None:
    urls = (world.place.saga_database, world.place.shop_database)
    ended = 0
    with world.under_load():
        for _ in range(100):
            world.last(0.1)
            world.play("sessions terminated")
            ended += sum(terminate_sessions(url) for url in urls)
    assert ended > 100, f"only {ended} sessions were there to be terminated"


@scenario(30, "pg-commit-unknown", "the connection is cut right after COMMIT was sent, 30 times")
def commit_unknown(world: World) -> None:
    """Where sagas are saved at once, that statement is the commit. Its text is sent by new
    connections only."""
    with world.under_load():
        for _ in range(10):
            world.database_wire.cut_after(b"COMMIT", times=2)
            world.reach_any_moment()
            world.last(0.5)
            world.database_wire.cut()
            world.database_wire.cut_after(AT_ONCE, times=1)
            world.wait_for(lambda: not world.database_wire.cuts_left, "it is saved at once")


@scenario(31, "pg-half-open", "for 30 s nothing moves between daemons and database, nothing closes")
def half_open(world: World) -> None:
    with world.under_load():
        world.reach_any_moment()
        world.database_wire.freeze()
        _all_notice(world, world.installation.daemons)
        world.last(10)
        world.database_wire.heal()
        world.last(3)


@scenario(
    32,
    "pg-readonly",
    "the primary goes, a standby answers in its place, read-only for 10 s, and is promoted",
    # A promoted standby may have lost commits: sagas under way are in doubt, and go back.
    needs=Needs(
        postgres=PostgresPair,
        orders=orders_of_open_end,
        letters=frozenset({"late_success", "out_of_sequence"}),
    ),
)
def readonly(world: World) -> None:
    with world.under_load():
        world.reach_any_moment()
        world.play("the standby takes over, read-only", world.postgres.take_over)
        _all_notice(world, world.orchestrators)  # who only reads may be content
        world.last(5)
        world.mend("the standby is promoted", world.postgres.promote)
        world.last(3)


@scenario(
    35,
    "pg-disk-full",
    "not a byte is left on the disk of PostgreSQL for 10 s, twice",
    needs=Needs(postgres=SmallDiskPostgres),
)
def disk_full(world: World) -> None:
    with world.under_load():
        for _ in range(2):
            world.reach_any_moment()
            world.play("the disk is full")
            with world.postgres.full():
                world.last(10)
                world.faults.told("room again")
            world.last(2)
    said = world.postgres.log.read_text(errors="replace")
    assert "No space left on device" in said, "PostgreSQL did not even notice"


@scenario(36, "pg-lock-hold", "somebody holds the rows of three running sagas for 25 s")
def lock_hold(world: World) -> None:
    with world.under_load(), ExitStack() as held:
        running = _running(world, 3)
        world.play(f"locked: {running}")
        held.enter_context(row_locked(world.place.saga_database, "sagas", "saga_id", running))
        world.last(5)
        before = _ended(world)
        world.last(20)
        after = _ended(world)
    assert after - before > 20, f"only {after - before} other sagas ended in 20 s beside the locks"


@scenario(37, "pg-slow", "every write of sagas takes 300 ms longer; then 100 ms for every row")
def slow(world: World) -> None:
    url = world.place.saga_database
    with world.under_load():
        world.play("300 ms for every write")
        with slow_writes(url, "sagas", seconds=0.3):
            world.last(15)
        for daemon in world.orchestrators:
            daemon.kill()
        world.load.begin(world.sagas // 2)  # more than can be written before a statement times out
        world.play("100 ms for every row")
        with slow_writes(url, "sagas", seconds=0.1, each="ROW"):
            before = audit.transitions(world.place)
            for daemon in world.orchestrators:
                daemon.start()
            world.last(25)
            moved = audit.transitions(world.place) - before
    assert moved > 50, f"only {moved} transitions in 25 s"


def _poor(installation: Installation) -> None:
    """The usual daemons, logged in as somebody whose connections can be limited."""
    place = installation.place
    for url in (place.saga_database, place.shop_database):
        _make_poor_user(url)
    settings = {
        "SAGA_DATABASE_URL": _as_poor(place.saga_database),
        "SAGA_INBOX_URL": _as_poor(place.shop_database),
        "SAGA_CONCURRENCY": "20",
    }
    for number in (1, 2):
        installation.orchestrator("trial_orders", name=f"orchestrator-{number}", **settings)
    installation.participants(name="participants-1", **settings)
    installation.dlq_worker(SAGA_REPLAY_BASE="1s", **settings)


@scenario(
    38,
    "pool-exhaustion",
    "all daemons together get 6 connections, with 80 commands at a time, for 20 s",
    needs=Needs(build=_poor, postgres=ChaosPostgres),
)
def pool_exhaustion(world: World) -> None:
    def limit(connections: int) -> None:
        world.postgres.execute(f"ALTER ROLE {POOR_USER} CONNECTION LIMIT {connections}")
        for url in (world.place.saga_database, world.place.shop_database):
            terminate_sessions(url)

    with world.under_load():
        world.reach_any_moment()
        world.play("6 connections for all", lambda: limit(6))
        world.last(20)
        world.mend("as many connections as they like", lambda: limit(-1))


def _make_poor_user(url: str) -> None:
    database = sql.Identifier(urlsplit(url).path[1:])
    user = sql.Identifier(POOR_USER)
    with psycopg.connect(url, autocommit=True) as connection:
        if not connection.execute(
            "SELECT 1 FROM pg_roles WHERE rolname = %s", [POOR_USER]
        ).rowcount:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'poor'").format(user))
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, user))
        for kind in ("TABLES", "SEQUENCES"):
            grant = sql.SQL("GRANT ALL ON ALL {} IN SCHEMA public TO {}")
            connection.execute(grant.format(sql.SQL(kind), user))


def _as_poor(url: str) -> str:
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{POOR_USER}:poor@{place}"))


def _all_notice(world: World, daemons: Sequence[Daemon]) -> None:
    """Whoever cannot work with the database says so."""
    for daemon in daemons:
        fact = f"{daemon.name} is not ready"
        world.wait_for(lambda each=daemon: not each.is_ready(), fact, seconds=20)


def _running(world: World, count: int) -> list[str]:
    """Sagas that wait for replies just now."""

    def found() -> list[str]:
        states = audit.states(world.place)
        return sorted(name for name, state in states.items() if state == "pending")

    world.wait_for(lambda: len(found()) >= count, f"{count} sagas run")
    return found()[:count]


def _ended(world: World) -> int:
    return sum(state in audit.FINAL for state in audit.states(world.place).values())
