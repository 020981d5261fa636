"""The commands about the saga database: its schema, and what is deleted from it."""

from datetime import timedelta
from typing import Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.output import Output

OlderThan = Annotated[
    timedelta | None,
    typer.Option(
        "--older-than",
        metavar="DURATION",
        parser=options.age,
        help="Completed sagas that ended so long ago. [default: SAGA_RETENTION_COMPLETED]",
    ),
]
FailedOlderThan = Annotated[
    timedelta | None,
    typer.Option(
        "--failed-older-than",
        metavar="DURATION",
        parser=options.age,
        help="Failed sagas, closed dead letters and alerts. [default: SAGA_RETENTION_FAILED]",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count what would be deleted.")]
AtMost = Annotated[
    int | None,
    typer.Option(
        "--limit",
        metavar="N",
        parser=options.whole_number(1),
        help="Delete at most so many sagas, dead letters and alerts.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Why = Annotated[
    str | None,
    typer.Option(
        "--reason",
        metavar="TEXT",
        parser=options.not_empty,
        help="Why: it is kept in the table `purges`. Required without --dry-run.",
    ),
]


def upgrade(output: options.OutputOption = Output.TABLE) -> int:
    """Bring the schema to the revision that this release needs.

    Data stay as they are. It may be run again, and by several at once. Old and new programs
    work side by side on the new schema: upgrade first, then replace the programs.

    Example:
    SAGA_DATABASE_URL=postgresql://saga_owner:…@db/saga saga db upgrade
    """
    from orchestrator.cli.schema import perform_upgrade
    from orchestrator.cli.session import complete

    return complete(perform_upgrade(output))


def current(output: options.OutputOption = Output.TABLE) -> int:
    """Print the schema's revision.

    The exit code is 78 if this release needs a newer one.

    Example:
    saga db current
    """
    from orchestrator.cli.schema import perform_current
    from orchestrator.cli.session import complete

    return complete(perform_current(output))


def purge(
    older_than: OlderThan = None,
    failed_older_than: FailedOlderThan = None,
    dry_run: DryRun = False,
    limit: AtMost = None,
    yes: Yes = False,
    reason: Why = None,
    by: options.By = None,
    output: options.OutputOption = Output.TABLE,
) -> int:
    """Delete what ended long ago, for good: sagas with their history, closed dead letters.

    The programs do so by themselves, as SAGA_RETENTION_COMPLETED and SAGA_RETENTION_FAILED say.
    Sagas with an open dead letter or an open alert are kept. It deletes some at a time and can
    be stopped and run again; on a terminal it asks first.

    Example:
    saga db purge --dry-run
    saga db purge --older-than 7d --failed-older-than 90d --reason "disk is full" --yes
    """
    if not dry_run and reason is None:
        raise typer.BadParameter("say why by --reason, or only look with --dry-run")
    from orchestrator.cli.purging import Asked, perform_purge
    from orchestrator.cli.session import complete

    asked = Asked(
        completed=older_than,
        failed=failed_older_than,
        limit=limit,
        reason=reason,
        by=options.person(by),
        is_dry_run=dry_run,
        is_sure=yes,
    )
    return complete(perform_purge(asked, output))
