"""A peer: what it takes to install, which programs run, and on which settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

PROGRAMS: Final = Path(__file__).with_name("programs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A program that has to run before. `{…}` in its words are filled in, see `running.py`."""

    family: str  # under which its CPU is counted
    command: Sequence[str]
    settings: Mapping[str, str] = field(default_factory=dict)
    port: str | None = None  # it is ready when this one is listened on


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    name: str
    about: str  # with the settings that matter
    packages: Sequence[str]
    npm: Sequence[str] = ()
    servers: Sequence[Server] = ()
    registration: tuple[str, Mapping[str, str]] | None = None  # a URL and what is posted to it
    driver: str  # a program of this folder
    driver_family: str = "driver"
    copies: int = 1
    concurrency: int  # of each copy
    ended: str | None = None  # SQL that counts what has ended
    rows: int = 1  # that it counts for each saga


PEERS: Final[Mapping[str, Peer]] = {
    each.name: each
    for each in (
        Peer(
            name="dbos",
            about="DBOS 3.4: 2 processes of 5 threads, system database pool of 10, called in "
            "process, PostgreSQL; no messages, no participants",
            packages=["dbos==3.4.0", "psycopg[binary]==3.3.9"],
            driver="dbos_line.py",
            driver_family="orchestrator",
            copies=2,
            concurrency=5,
            ended="SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'",
        ),
        Peer(
            name="restate",
            about="Restate 1.7: one partition, rocksdb, steps as `run` blocks of one hypercorn "
            "worker on uvloop, called through the ingress; no messages, no participants",
            packages=["restate-sdk==1.3.0", "hypercorn==0.18.0", "uvloop==0.23.0"],
            npm=["@restatedev/restate-server@1.7.12"],
            servers=[
                Server(
                    family="orchestrator",
                    command=["{npm}/restate-server", "--base-dir", "{folder}/restate"],
                    settings={
                        "RESTATE_DEFAULT_NUM_PARTITIONS": "1",
                        "RESTATE_BIND_ADDRESS": "127.0.0.1:{port_node}",
                        "RESTATE_INGRESS__BIND_ADDRESS": "127.0.0.1:{port_ingress}",
                        "RESTATE_ADMIN__BIND_ADDRESS": "127.0.0.1:{port_admin}",
                        "RESTATE_LOG_FILTER": "warn",
                        "DO_NOT_TRACK": "1",
                    },
                    port="port_admin",
                ),
                Server(
                    family="participants",
                    command=[
                        *("{bin}/hypercorn", "--worker-class", "uvloop", "--workers", "1"),
                        *("--bind", "127.0.0.1:{port_service}", "restate_service:app"),
                    ],
                    port="port_service",
                ),
            ],
            registration=(
                "http://127.0.0.1:{port_admin}/deployments",
                {"uri": "http://127.0.0.1:{port_service}"},
            ),
            driver="restate_line.py",
            concurrency=200,
        ),
        Peer(
            name="celery",
            about="Celery 5.7: a chain of four tasks, prefork of 4, quorum queue, confirms, "
            "acks_late, results in PostgreSQL; no compensation, no state of a saga",
            packages=["celery[sqlalchemy]==5.7.0", "psycopg2-binary==2.9.13", "sqlalchemy<2.1"],
            servers=[
                Server(
                    family="orchestrator",
                    command=[
                        *("{bin}/celery", "--app", "celery_steps", "worker"),
                        *("--pool", "prefork", "--concurrency", "4", "--loglevel", "ERROR"),
                        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
                    ],
                )
            ],
            driver="celery_line.py",
            concurrency=50,
            ended="SELECT count(*) FROM celery_taskmeta WHERE status = 'SUCCESS'",
            rows=4,
        ),
    )
}
