"""One run of a peer: its servers, its closed loop, and what both have used."""

import asyncio
import json
import os
import subprocess
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

import aio_pika
import psycopg
from servers.network import free_ports, is_listening

from bench.driver import BrokenRun, Driven, Effort
from bench.measuring import Conditions, Measured, numbers_of
from bench.peers.installing import installed
from bench.peers.peer import PROGRAMS, Peer, Server
from bench.processes import Usage, usage_of
from tests.product.installation import Daemon, wait_for
from tests.product.places import create_database, drop_database

_PORTS: Final = ("port_node", "port_ingress", "port_admin", "port_service")


def measure_peer(peer: Peer, conditions: Conditions, folder: Path) -> Measured:
    """Raises NotInstallable, BrokenRun, or whatever else kept it from being measured."""
    servers = conditions.servers
    home = installed(peer)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"bench-{uuid.uuid4().hex[:8]}"
    words = {
        "bin": str(home / "bin"),
        "npm": str(home / "node_modules" / ".bin"),
        "folder": str(folder),
        **{port: str(number) for port, number in zip(_PORTS, free_ports(4), strict=True)},
    }
    with ExitStack() as stack:
        database = create_database(servers.postgres_url, name.replace("-", "_"))
        stack.callback(drop_database, servers.postgres_url, database)
        stack.callback(lambda: asyncio.run(_remove(servers.amqp_url, name)))
        env = {
            "PEER_DATABASE_URL": database,
            "PEER_AMQP_URL": servers.amqp_url,
            "PEER_NAME": name,
            "PEER_INGRESS_URL": f"http://127.0.0.1:{words['port_ingress']}",
            "PYTHONPATH": str(PROGRAMS),
        }
        families = stack.enter_context(_serving(peer, words, env, folder))
        drivers = [stack.enter_context(_driving(peer, words, env, folder)) for _ in _copies(peer)]
        used = {peer.driver_family: [each.pid for each in drivers], **families}
        driven, edges = _drive(drivers, peer, conditions.effort, {**used, **servers.families})
        peaks = usage_of({**used, **servers.families})
        _audit(peer, database, driven)
        return numbers_of(driven, edges, peaks)


def _copies(peer: Peer) -> Sequence[int]:
    return range(peer.copies)


@contextmanager
def _serving(
    peer: Peer, words: Mapping[str, str], env: Mapping[str, str], folder: Path
) -> Iterator[dict[str, list[int]]]:
    daemons: list[tuple[Server, Daemon]] = []
    try:
        for number, server in enumerate(peer.servers):
            command = [word.format(**words) for word in server.command]
            settings = {key: value.format(**words) for key, value in server.settings.items()}
            daemon = Daemon(f"{peer.name}-{number}", command, folder, {**env, **settings})
            daemons.append((server, daemon))
            daemon.start()
            if server.port:
                port = int(words[server.port])
                wait_for(partial(is_listening, port), f"{peer.name} listens on {port}")
        if peer.registration:
            _register(peer.registration, words)
        yield {server.family: [daemon.pid] for server, daemon in daemons}
    except BaseException as error:
        for _, daemon in daemons:
            error.add_note(f"--- the log of {daemon.name} ends:\n{daemon.log_end}")
        raise
    finally:
        for _, daemon in daemons:
            _end(daemon)


def _end(daemon: Daemon) -> None:
    """Its children, too, go with it when it is asked to end."""
    if daemon.is_running:
        try:
            daemon.terminate(seconds=10)
        except subprocess.TimeoutExpired:
            daemon.close()


def _register(registration: tuple[str, Mapping[str, str]], words: Mapping[str, str]) -> None:
    url, posted = registration
    body = json.dumps({key: value.format(**words) for key, value in posted.items()}).encode()
    request = urllib.request.Request(  # noqa: S310 - a server of our own
        url.format(**words), data=body, headers={"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30):  # noqa: S310
        pass


class _Loop:
    """A closed loop in the peer's environment."""

    def __init__(self, child: "subprocess.Popen[str]") -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        self.pid = child.pid
        self._orders: IO[str] = child.stdin
        self._answers: IO[str] = child.stdout

    def order(self, **order: Any) -> None:
        self._orders.write(json.dumps(order) + "\n")
        self._orders.flush()

    def hear(self, word: str) -> dict[str, Any]:
        for line in self._answers:
            if line.startswith("{") and word in (answer := json.loads(line)):
                return dict(answer)
        raise BrokenRun(f"the driver ended before it said {word!r}")


@contextmanager
def _driving(
    peer: Peer, words: Mapping[str, str], env: Mapping[str, str], folder: Path
) -> Iterator[_Loop]:
    command = [f"{words['bin']}/python", str(PROGRAMS / peer.driver)]
    log = folder / f"{peer.name}-driver.log"
    with log.open("ab") as errors:
        child = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        loop = _Loop(child)
        loop.hear("ready")
        yield loop
        loop.order(do="end")
        child.wait(30)
    except BaseException as error:
        error.add_note(f"--- the log of the driver ends:\n{log.read_text()[-3000:]}")
        raise
    finally:
        child.kill()
        child.wait(10)


def _drive(
    loops: Sequence[_Loop], peer: Peer, effort: Effort, families: Mapping[str, list[int]]
) -> tuple[Driven, Sequence[Mapping[str, Usage]]]:
    for loop in loops:
        loop.order(
            do="load",
            concurrency=peer.concurrency,
            warm_up=effort.warm_up,
            seconds=effort.seconds,
        )
    edges = []
    for _ in ("begin", "end"):
        loops[0].hear("edge")
        edges.append(usage_of(families))
    parts = [loop.hear("latencies") for loop in loops]
    loops[0].order(do="lone", count=effort.lone)
    lone = loops[0].hear("lone")["lone"]
    latencies = [seconds for part in parts for seconds in part["latencies"]]
    driven = Driven(
        finished=len(latencies),
        window=effort.seconds,
        latencies=latencies,
        lone=lone,
        started=sum(part["started"] for part in parts) + len(lone),
        failed=0,
    )
    return driven, edges


def _audit(peer: Peer, database: str, driven: Driven) -> None:
    """What has ended must be in the peer's own tables. Raises BrokenRun."""
    if peer.ended is None:
        return
    with psycopg.connect(database) as connection:
        row = connection.execute(peer.ended).fetchone()
    assert row is not None
    if row[0] < driven.started * peer.rows:
        raise BrokenRun(f"{row[0]} rows of {driven.started} sagas; each leaves {peer.rows}")


async def _remove(amqp_url: str, name: str) -> None:
    """The queue and the exchange that bear the run's name, if there are."""
    async with await aio_pika.connect(amqp_url, timeout=10) as connection:
        channel = await connection.channel()
        await channel.queue_delete(name)
        await channel.exchange_delete(name)
