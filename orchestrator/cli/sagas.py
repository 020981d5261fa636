"""The commands about sagas: start, list, show, wait, cancel."""

from typing import Annotated

import typer

from orchestrator.cli import given, options
from orchestrator.cli.output import Output

Type = Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Of this type only.")]
State = Annotated[
    str | None,
    typer.Option(
        metavar="STATE",
        parser=options.saga_state,
        help="In this state only: started, pending, compensating, completed or failed.",
    ),
]

Data = Annotated[
    str,
    typer.Option(
        metavar="JSON|@FILE|-", help="The saga's data, a JSON object; `-` reads it from stdin."
    ),
]
OwnId = Annotated[
    str | None,
    typer.Option(
        "--id",
        metavar="ID",
        parser=options.saga_id,
        help="An id of your own: starting it again with the same data changes nothing.",
    ),
]


def start(
    saga_type: Annotated[
        str, typer.Argument(metavar="TYPE", help="The `saga_type` of a definition.")
    ],
    data: Data,
    saga_id: OwnId = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended.")] = False,
    timeout: options.Timeout = None,
    output: options.OutputOption = Output.TABLE,
) -> int:
    """Start a saga and print its id; with --wait, await its end.

    With --wait the state in which it ended is printed, too, and the exit code is 3 if the saga
    failed, or has not ended when the timeout runs out; it goes on then. Without an id of your
    own one is drawn.

    Example:
    saga start OrderFulfillment --data @order.json --wait
    saga start OrderFulfillment --id order-42 --data '{"order_id": "42"}'
    """
    if timeout is not None and not wait:
        raise typer.BadParameter("it needs --wait", param_hint="'--timeout'")
    values = given.json_object(data, "--data")
    from orchestrator.cli.session import complete
    from orchestrator.cli.starting import Start, perform_start

    request = Start(saga_type=saga_type, data=values, saga_id=saga_id)
    return complete(perform_start(request, is_awaited=wait, timeout=timeout, output=output))


def wait(
    saga_id: options.SagaId,
    timeout: options.Timeout = None,
    output: options.OutputOption = Output.TABLE,
) -> int:
    """Wait until a saga has ended, and print its state.

    That is `completed` or `failed`. The exit code is 0 if it completed, 3 if it failed, if
    there is no such saga, or if the timeout runs out.

    Example:
    saga wait order-42 --timeout 5m
    """
    from orchestrator.cli.session import complete
    from orchestrator.cli.starting import perform_wait

    return complete(perform_wait(saga_id, timeout=timeout, output=output))


def cancel(
    saga_id: options.SagaId,
    reason: options.Reason,
    by: options.By = None,
    output: options.OutputOption = Output.TABLE,
) -> int:
    """Turn a saga back: what is done is compensated.

    Nothing new is sent. What is under way is awaited first. Refused (exit code 4) if it has
    ended, or has passed its point of no return.

    Example:
    saga cancel order-42 --reason "customer called"
    """
    from orchestrator.cli.session import complete
    from orchestrator.cli.starting import perform_cancel

    person = options.person(by)
    return complete(perform_cancel(saga_id, reason=reason, by=person, output=output))


def list_(
    state: State = None,
    saga_type: Type = None,
    stuck: Annotated[
        bool,
        typer.Option(
            "--stuck",
            help="Only those that have not moved for SAGA_STUCK_AFTER although nothing is "
            "scheduled to move them.",
        ),
    ] = False,
    limit: options.Limit = 50,
    output: options.OutputOption = Output.TABLE,
) -> int:
    """List sagas, the newest first.

    Example:
    saga list --state failed --type OrderFulfillment
    saga list --stuck -o json
    """
    from orchestrator.cli.saga_list import Wanted, perform_list
    from orchestrator.cli.session import complete

    wanted = Wanted(state=state, saga_type=saga_type, is_stuck=stuck, limit=limit)
    return complete(perform_list(wanted, output))


def show(saga_id: options.SagaId, output: options.OutputOption = Output.TABLE) -> int:
    """Show a saga: steps, attempts, what is next, history.

    Example:
    saga show order-42
    saga show order-42 -o json | jq .steps
    """
    from orchestrator.cli.saga_page import perform_show
    from orchestrator.cli.session import complete

    return complete(perform_show(saga_id, output))
