"""PostgreSQL servers that a scenario may hurt: their end, their disk, their copy, their clock."""

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self

import psycopg
from servers.network import wait_until
from servers.postgres import PrivatePostgres
from servers.private import ServerFailed

SMALL_DISK: Final = 96  # MiB: a cluster of two databases, and little more
_SPARING: Final = {"max_wal_size": "32MB", "min_wal_size": "32MB"}


class ChaosPostgres(PrivatePostgres):
    """Ends in every way that a server can end, and comes back on the same port and data."""

    def stop_immediately(self) -> None:
        """SIGQUIT: no checkpoint, every connection is told that the server crashes."""
        if self._process:
            self.resume()
            self._process.stop(signal.SIGQUIT, seconds=10)

    def endings(self) -> dict[str, Callable[[], None]]:
        """The ways to end it, by name."""
        return {"fast": self.stop, "immediate": self.stop_immediately, "SIGKILL": self.kill}

    def execute(self, statement: str) -> list[Any]:
        """Run one statement as the owner of everything; the first column of what it gives."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            found = connection.execute(statement)
            return [row[0] for row in found] if found.description else []


class SmallDiskPostgres(ChaosPostgres):
    """Its data lie on a file system of their own, which can be filled. Root only."""

    def __init__(self, *, mebibytes: int = SMALL_DISK) -> None:
        super().__init__(settings=_SPARING)
        self._mebibytes = mebibytes
        self._is_mounted = False

    @contextmanager
    def full(self) -> Iterator[None]:
        """Not a byte is left; afterwards there is room again, and the server runs again."""
        filler = self._data / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass
        try:
            yield
        finally:
            filler.unlink()
            self.start()

    def close(self) -> None:
        super().stop(seconds=10)
        if self._is_mounted:
            subprocess.run(["umount", "--lazy", str(self._data)], check=True)
            self._is_mounted = False
        super().close()

    def _create_cluster(self) -> None:
        self._data.mkdir()
        options = f"size={self._mebibytes}m,mode=0700"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self._data)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServerFailed(f"no small disk: {done.stderr.strip()}; mounting needs root")
        self._is_mounted = True
        self._give(self._data)
        super()._create_cluster()


class StandbyPostgres(ChaosPostgres):
    """An asynchronous copy of `primary`, which must be running when the copy is made."""

    def __init__(self, primary: PrivatePostgres) -> None:
        super().__init__(primary._programs)
        self._password = primary._password  # the copy has the same users
        self._primary = primary

    def is_standby(self) -> bool:
        return bool(self.execute("SELECT pg_is_in_recovery()")[0])

    def wait_caught_up(self, *, seconds: float = 30) -> None:
        """Until all that the primary has written by now is replayed here."""
        with psycopg.connect(self._primary.url, autocommit=True) as connection:
            row = connection.execute("SELECT pg_current_wal_lsn()").fetchone()
        assert row is not None
        query = f"SELECT pg_last_wal_replay_lsn() >= '{row[0]}'"
        if not wait_until(lambda: self.execute(query)[0], seconds=seconds):
            raise ServerFailed(f"the standby has not come to {row[0]} in {seconds:g} s")

    def lag(self) -> None:
        """Receive nothing more: what the primary commits from now on is lost by `promote`."""
        self.execute("ALTER SYSTEM SET primary_conninfo = ''")
        self.execute("SELECT pg_reload_conf()")
        query = "SELECT count(*) FROM pg_stat_wal_receiver"
        if not wait_until(lambda: self.execute(query)[0] == 0, seconds=30):
            raise ServerFailed("the standby goes on receiving")

    def promote(self) -> None:
        """Become a primary, with what has been received."""
        self.execute("SELECT pg_promote(true, 30)")
        if self.is_standby():
            raise ServerFailed("the standby was not promoted in 30 s")

    def _create_cluster(self) -> None:
        self._give(self.directory)
        self._run(
            "pg_basebackup",
            f"--pgdata={self._data}",
            f"--dbname={self._primary.url}",
            *("--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf"),
        )

    def _answers(self) -> bool:
        with suppress(psycopg.Error):
            return bool(self.execute("SELECT 1"))
        return False


class PostgresPair:
    """A primary and its asynchronous copy, at one address: `url` stays through a fail-over."""

    def __init__(self) -> None:
        self._primary = ChaosPostgres()
        self._standby: StandbyPostgres | None = None
        self._has_taken_over = False

    def __enter__(self) -> Self:
        with ExitStack() as started:
            started.enter_context(self._primary)
            self._standby = started.enter_context(StandbyPostgres(self._primary))
            self._started = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()

    @property
    def url(self) -> str:
        return self._primary.url

    @property
    def standby(self) -> StandbyPostgres:
        assert self._standby is not None, "the pair has not been started"
        return self._standby

    @property
    def current(self) -> ChaosPostgres:
        """The one that answers at `url`."""
        return self.standby if self._has_taken_over else self._primary

    def lag(self) -> None:
        """What is committed from now on is lost by a fail-over."""
        self.standby.wait_caught_up()
        self.standby.lag()

    def take_over(self) -> None:
        """The primary is gone, and its copy answers in its place: read-only, for now."""
        self._primary.stop()  # in good order: it sends to the copy all that it has
        self.standby.stop()
        self.standby._port = self._primary._port
        self.standby.start()
        self._has_taken_over = True

    def promote(self) -> None:
        self.standby.promote()

    def start(self) -> None:
        self.current.start()

    def resume(self) -> None:
        self.current.resume()


class FakedClock:
    """libfaketime for a program that starts with `env`: its wall clock jumps, no other clock."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.set("+0")

    @property
    def env(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(fake_clock_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, offset: str) -> None:
        """`+2h`, `-1h`, `+0`: so far from the true time, from now on."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset}\n")
        new.chmod(0o644)
        new.rename(self._file)


class SkewedPostgres(ChaosPostgres):
    """Its host's wall clock can be set."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakedClock(self.directory)
        self._env = self.clock.env


def fake_clock_library() -> Path | None:
    """Debian's libfaketime, None without it."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    return found[0] if found else None
