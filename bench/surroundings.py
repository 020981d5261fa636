"""On what it was measured: machine, versions, the servers' settings that matter."""

import os
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import psycopg

from bench.sites import Servers
from messaging.rabbit_topology import probe

_PACKAGES: Final = ("aio-pika", "aiormq", "pamqp", "psycopg", "sqlalchemy", "pydantic", "uvloop")
_SETTINGS: Final = ("fsync", "synchronous_commit", "shared_buffers", "max_wal_size", "wal_level")


async def surroundings(servers: Servers) -> Mapping[str, Any]:
    broker = await probe(servers.amqp_url)
    with psycopg.connect(servers.postgres_url) as connection:
        settings = {name: _setting(connection, name) for name in _SETTINGS}
        postgres = _setting(connection, "server_version")
    return {
        "machine": f"{os.cpu_count()} x {_processor()}, {_memory()} GiB, {platform.system()} "
        f"{platform.release()}",
        "niceness": os.nice(0),
        "load before": round(os.getloadavg()[0], 2),
        "versions": {
            "Python": platform.python_version(),
            broker.product: broker.version,
            "PostgreSQL": postgres,
            **{name: found for name in _PACKAGES if (found := _version(name))},
        },
        "postgres": settings,
        "command": f"python -m bench {' '.join(sys.argv[1:])}".strip(),
    }


def _setting(connection: psycopg.Connection[Any], name: str) -> str:
    row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
    assert row is not None
    return str(row[0])


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory() -> int:
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return round(pages * size / 2**30)
