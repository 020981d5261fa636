"""The commands about dead letters: list, groups, show, ack, retry, resolve, discard."""

from typing import Annotated

import typer

from dlq_worker.statuses import Status
from orchestrator.cli import given, options
from orchestrator.cli.output import Output

LetterStatus = Annotated[
    Status | None,
    typer.Option(metavar="STATUS", help=f"With this status only: {', '.join(Status)}."),
]
All = Annotated[bool, typer.Option("--all", help="Closed ones as well.")]
SagaOption = Annotated[
    str | None, typer.Option("--saga", metavar="ID", help="About this saga only.")
]
ReasonOption = Annotated[
    str | None, typer.Option("--reason", metavar="WORD", help="With this reason only.")
]
TypeOption = Annotated[
    str | None, typer.Option("--type", metavar="TYPE", help="Of this saga type only.")
]
StepOption = Annotated[
    str | None, typer.Option("--step", metavar="NAME", help="About this step only.")
]
CauseOption = Annotated[
    str | None,
    typer.Option(
        "--cause", metavar="TEXT", help="Of this cause only, as `saga dlq groups` has it."
    ),
]
LetterIds = Annotated[
    list[int],
    typer.Argument(
        metavar="ID",
        parser=options.whole_number(1),
        help="Numbers of dead letters, as `saga dlq list` shows them.",
    ),
]


def list_(
    *,
    status: LetterStatus = None,
    closed_too: All = False,
    reason: ReasonOption = None,
    saga_id: SagaOption = None,
    saga_type: TypeOption = None,
    step: StepOption = None,
    cause: CauseOption = None,
    limit: options.Limit = 100,
    output: options.OutputOption = Output.TABLE,
) -> int:
    """List dead letters, the newest first.

    Those that are closed are listed with --all, or when their status is asked for.

    Example:
    saga dlq list
    saga dlq list --saga order-42 --all -o json
    """
    from orchestrator.cli.letter_work import Which, perform_list
    from orchestrator.cli.session import complete

    which = Which(
        status=status,
        closed_too=closed_too,
        reason=reason,
        saga_id=saga_id,
        saga_type=saga_type,
        step=step,
        cause=cause,
    )
    return complete(perform_list(which, limit, output))


def groups(
    closed_too: All = False,
    reason: ReasonOption = None,
    saga_type: TypeOption = None,
    limit: options.Limit = 100,
    output: options.OutputOption = Output.TABLE,
) -> int:
    """Count dead letters by cause.

    The cause is their error, with ids and numbers masked.

    Example:
    saga dlq groups
    """
    from orchestrator.cli.letter_work import Which, perform_groups
    from orchestrator.cli.session import complete

    which = Which(closed_too=closed_too, reason=reason, saga_type=saga_type)
    return complete(perform_groups(which, limit, output))


def show(letter_id: options.LetterId, output: options.OutputOption = Output.TABLE) -> int:
    """Show a dead letter, its message, and what was done.

    Example:
    saga dlq show 17
    """
    from orchestrator.cli.letter_work import perform_show
    from orchestrator.cli.session import complete

    return complete(perform_show(letter_id, output))


def ack(
    letter_id: options.LetterId,
    by: options.By = None,
    output: options.OutputOption = Output.TABLE,
) -> int:
    """Say that you are on it: its alert is not repeated.

    Example:
    saga dlq ack 17
    """
    from orchestrator.cli.letter_work import perform_ack
    from orchestrator.cli.session import complete

    return complete(perform_ack(letter_id, by=options.person(by), output=output))


def retry(
    letter_ids: LetterIds,
    reason: options.Reason = "tried again by hand",
    by: options.By = None,
    output: options.OutputOption = Output.TABLE,
) -> int:
    """Try again what dead letters are about.

    That is the step's command, or the rejected message. It asserts nothing, so that it needs no
    reason of yours; one is kept if you give it.

    Example:
    saga dlq retry 17 18 19 --reason "gateway is back"
    """
    from orchestrator.cli.letter_work import perform_retry
    from orchestrator.cli.session import complete

    person = options.person(by)
    return complete(perform_retry(letter_ids, reason=reason, by=person, output=output))


def resolve(
    letter_id: options.LetterId,
    reason: options.Reason,
    result: Annotated[
        str | None,
        typer.Option(
            metavar="JSON|@FILE|-", help="What the step's action would have answered, if it is one."
        ),
    ] = None,
    by: options.By = None,
    output: options.OutputOption = Output.TABLE,
) -> int:
    """Say that it is done, by you: the saga goes on from there.

    Example:
    saga dlq resolve 17 --reason "refunded by phone, ticket 4711"
    """
    values = given.json_object(result, "--result") if result is not None else None
    from orchestrator.cli.letter_work import perform_resolve
    from orchestrator.cli.session import complete

    person = options.person(by)
    work = perform_resolve(letter_id, reason=reason, by=person, result=values, output=output)
    return complete(work)


def discard(
    letter_id: options.LetterId,
    reason: options.Reason,
    by: options.By = None,
    output: options.OutputOption = Output.TABLE,
) -> int:
    """Say never mind: nothing is done about it.

    Refused (exit code 4) while a saga waits for what it is about.

    Example:
    saga dlq discard 23 --reason "load test of last week"
    """
    from orchestrator.cli.letter_work import perform_discard
    from orchestrator.cli.session import complete

    person = options.person(by)
    return complete(perform_discard(letter_id, reason=reason, by=person, output=output))
