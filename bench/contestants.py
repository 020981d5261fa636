"""Who is measured: null programs, which show the ceilings, and Countermand's own daemons."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.sites import Site
from bench.workloads import Workload
from tests.product.installation import SAGA, Daemon, wait_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """`orchestrator` and `participants` are words of `_commands`."""

    name: str
    about: str
    orchestrator: str
    participants: str

    @property
    def is_countermand(self) -> bool:
        return self.orchestrator == "countermand"


CONTESTANTS: Final[Mapping[str, Contestant]] = {
    each.name: each
    for each in (
        Contestant(
            name="null-codec",
            about="the broker's ceiling: no state, both sides on a minimal codec",
            orchestrator="codec",
            participants="codec",
        ),
        Contestant(
            name="null-aio-pika",
            about="aio-pika's ceiling: no state, batches; participants on the codec",
            orchestrator="aio-pika",
            participants="codec",
        ),
        Contestant(
            name="null-aio-pika-both",
            about="the same with the participants on aio-pika, too",
            orchestrator="aio-pika",
            participants="aio-pika",
        ),
        Contestant(
            name="null-own",
            about="our own client's ceiling: no state; participants on the codec",
            orchestrator="own",
            participants="codec",
        ),
        Contestant(
            name="countermand",
            about="`saga orchestrator run`; participants on the codec, without state",
            orchestrator="countermand",
            participants="codec",
        ),
        Contestant(
            name="countermand-sdk",
            about="`saga orchestrator run` and `saga participants run` with their SQL guard",
            orchestrator="countermand",
            participants="countermand",
        ),
    )
}
CEILINGS: Final = ("null-aio-pika", "null-codec")


@contextmanager
def at_work(
    contestant: Contestant, site: Site, workload: Workload, folder: Path
) -> Iterator[Mapping[str, list[int]]]:
    """All programs run and are ready: their process ids by what they are."""
    orchestrators = [
        _program(f"orchestrator-{number}", contestant.orchestrator, site, workload, folder)
        for number in range(workload.workers)
    ]
    participants = [_program("participants", contestant.participants, site, workload, folder)]
    everyone = (*participants, *orchestrators)
    try:
        for each in everyone:
            each.start()
        for each in everyone:
            _wait_ready(each)
        yield {
            "orchestrator": [each.pid for each in orchestrators],
            "participants": [each.pid for each in participants],
        }
        _must_live(everyone)
    except BaseException as error:
        for each in everyone:
            error.add_note(f"--- the log of {each.name} ends:\n{each.log_end}")
        raise
    finally:
        for each in everyone:
            each.close()


def _program(role: str, kind: str, site: Site, workload: Workload, folder: Path) -> Daemon:
    program = role.partition("-")[0]
    if kind == "countermand":
        module = {"orchestrator": "bench.sagas", "participants": "bench.services"}[program]
        settings = {**site.settings, "SAGA_RETENTION_COMPLETED": workload.retention}
        return Daemon(role, [str(SAGA), program, "run", module], folder, settings)
    command = [sys.executable, "-m", f"bench.null_{program}", "--client", kind]
    command += ["--amqp-url", site.servers.amqp_url, "--namespace", site.names.namespace]
    if program == "orchestrator":
        command += ["--payload", str(workload.payload)]
    return Daemon(role, command, folder, {})


def _wait_ready(daemon: Daemon) -> None:
    def is_ready() -> bool:
        if not daemon.is_running:
            raise RuntimeError(f"{daemon.name} has ended with exit code {daemon.exit_code}")
        return daemon.log.startswith("ready") or daemon.is_ready()

    wait_for(is_ready, f"{daemon.name} is ready")


def _must_live(daemons: tuple[Daemon, ...]) -> None:
    for each in daemons:
        if not each.is_running:
            raise RuntimeError(f"{each.name} ended meanwhile, with exit code {each.exit_code}")
