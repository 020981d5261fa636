"""The commands about choreographed sagas: run, list, show, replay."""

from datetime import timedelta
from typing import Annotated

import typer

from orchestrator.cli import options, programs
from orchestrator.cli.output import Output

State = Annotated[
    str | None,
    typer.Option(
        metavar="STATE",
        parser=options.choreography_state,
        help="In this state only: open, completed or failed.",
    ),
]
Type = Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Of this type only.")]


def run(
    http_port: programs.HttpPort = None,
    topology: programs.Topology = None,
    log_format: programs.LogFormat = None,
    log_level: programs.LogLevel = None,
) -> int:
    """Run the recorder: write events down, tell of quiet sagas.

    Any number may run side by side. It needs the saga database, whose `saga dlq run` brings what
    it tells to a person. The first SIGTERM or Ctrl-C drains and exits 0, a second one stops at
    once.

    Example:
    saga choreography run
    """
    from orchestrator.recorder.run import run

    return run(http_port=http_port, topology=topology, log_format=log_format, log_level=log_level)


def list_(
    state: State = None,
    saga_type: Type = None,
    quiet_for: Annotated[
        timedelta | None,
        typer.Option(
            metavar="DURATION",
            parser=options.duration,
            help="Only those that have not ended and had no event for so long: `10m`, `1h`.",
        ),
    ] = None,
    limit: options.Limit = 50,
    output: options.OutputOption = Output.TABLE,
) -> int:
    """List choreographed sagas, the newest first.

    Example:
    saga choreography list --quiet-for 10m
    saga choreography list --state failed -o json
    """
    from orchestrator.cli.choreography_work import Wanted, perform_list
    from orchestrator.cli.session import complete

    wanted = Wanted(state=state, saga_type=saga_type, quiet_for=quiet_for, limit=limit)
    return complete(perform_list(wanted, output))


def show(saga_id: options.SagaId, output: options.OutputOption = Output.TABLE) -> int:
    """Tell a choreographed saga's story across its services.

    Each event stands below the one that caused it. What is missing is named. An event that a
    service took without emitting another one leaves no trace here.

    Example:
    saga choreography show order-42
    """
    from orchestrator.cli.choreography_work import perform_show
    from orchestrator.cli.session import complete

    return complete(perform_show(saga_id, output))


def replay(
    saga_id: options.SagaId,
    event: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="EVENT",
            help="An event's id or type, or `first`. [default: those that nothing has followed]",
        ),
    ] = None,
    reason: options.Reason = "replayed by hand",
    by: options.By = None,
    output: options.OutputOption = Output.TABLE,
) -> int:
    """Send a saga's last events again, for who missed them.

    They keep their ids: a service that has taken one before answers from its log and does
    nothing twice. Where a service has missed an earlier event, `--from first` goes through all
    of the saga again. The recorder sends them.

    Example:
    saga choreography replay order-42
    saga choreography replay order-42 --from OrderPlaced --reason "payments were down"
    """
    from orchestrator.cli.choreography_work import perform_replay
    from orchestrator.cli.session import complete

    person = options.person(by)
    return complete(perform_replay(saga_id, event, reason=reason, by=person, output=output))
