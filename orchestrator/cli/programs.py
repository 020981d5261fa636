"""The commands that run until a signal: orchestrator, participants, DLQ worker."""

from typing import Annotated

import typer

HttpPort = Annotated[
    str | None,
    typer.Option(metavar="PORT", help="For /livez, /readyz and /metrics; 0 turns them off."),
]
Topology = Annotated[
    str | None,
    typer.Option(metavar="declare|verify|ignore", help="What to do about exchanges and queues."),
]
LogFormat = Annotated[
    str | None, typer.Option(metavar="console|json", help="How log lines are written.")
]
LogLevel = Annotated[
    str | None, typer.Option(metavar="debug|info|warning|error", help="How much is logged.")
]


def run_orchestrator(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="MODULE[:CLASS]",
            help="A module with saga definitions, or one of them; imported with the current "
            "directory on the path.",
        ),
    ],
    migrate: Annotated[
        bool | None, typer.Option("--migrate", help="Bring the schema up to date first.")
    ] = None,
    http_port: HttpPort = None,
    topology: Topology = None,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
) -> int:
    """Run the orchestrator: take replies, move sagas, send commands.

    Any number may run side by side. The first SIGTERM or Ctrl-C drains and exits 0, a second
    one stops at once. All settings are environment variables; an option goes before them.

    Example:
    saga orchestrator run orchestrator.examples.order_fulfillment --migrate
    """
    from orchestrator.worker.run import run

    return run(
        targets,
        migrate=migrate,
        http_port=http_port,
        topology=topology,
        log_format=log_format,
        log_level=log_level,
    )


def run_participants(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="MODULE[:ATTR]",
            help="A module with Participant objects, or one of them; imported with the current "
            "directory on the path.",
        ),
    ],
    concurrency: Annotated[
        str | None, typer.Option(metavar="N", help="Commands handled at a time.")
    ] = None,
    http_port: HttpPort = None,
    topology: Topology = None,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
) -> int:
    """Run participant services: carry out commands, answer with replies.

    The first SIGTERM or Ctrl-C drains and exits 0, a second one stops at once.

    Example:
    saga participants run participants.examples.order_fulfillment
    saga participants run shop.payment:payment --concurrency 20
    """
    from participants.run import run

    return run(
        targets,
        concurrency=concurrency,
        http_port=http_port,
        topology=topology,
        log_format=log_format,
        log_level=log_level,
    )


def run_dlq(
    replay_limit: Annotated[
        str | None,
        typer.Option(metavar="N", help="Replays before a person is called; 0 calls at once."),
    ] = None,
    http_port: HttpPort = None,
    topology: Topology = None,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
) -> int:
    """Run the DLQ worker: recover dead letters, or call a person.

    The first SIGTERM or Ctrl-C drains and exits 0, a second one stops at once.

    Example:
    saga dlq run
    saga dlq run --replay-limit 0
    """
    from dlq_worker.run import run

    return run(
        replay_limit=replay_limit,
        http_port=http_port,
        topology=topology,
        log_format=log_format,
        log_level=log_level,
    )
