"""`saga reconcile`: what a lost commit or a restored backup has left behind."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.output import Output

Inboxes = Annotated[
    list[str] | None,
    typer.Option(
        "--inbox",
        metavar="URL",
        help="A participants' database to compare with; may be given several times.",
    ),
]
Since = Annotated[
    timedelta,
    typer.Option(
        metavar="DURATION",
        parser=options.duration,
        help="How far back inboxes are read: from before the backup, or the failover.",
    ),
]
Repair = Annotated[bool, typer.Option("--repair", help="Repair what is safe; needs --reason.")]
NothingLost = Annotated[
    bool,
    typer.Option(
        "--nothing-lost",
        help="Say that sagas in doubt are not: a planned switchover, a synchronous standby.",
    ),
]
AllInDoubt = Annotated[
    bool,
    typer.Option("--all-in-doubt", help="Say that something of every open saga may be lost."),
]
WhyOption = Annotated[
    str | None,
    typer.Option("--reason", metavar="TEXT", help="Why: it is kept with every change."),
]


def reconcile(
    inboxes: Inboxes = None,
    since: Since = "7d",  # type: ignore[assignment]  # typer parses its default as well
    repair: Repair = False,
    nothing_lost: NothingLost = False,
    all_in_doubt: AllInDoubt = False,
    reason: WhyOption = None,
    by: options.By = None,
    output: options.OutputOption = Output.TABLE,
) -> int:
    """Find what a restore or a failover has left behind.

    It compares sagas, dead letters and participants' inboxes, and changes nothing unless it is
    told to. The exit code is 3 if something is left that needs a person, or --repair.

    Example:
    saga reconcile --inbox postgresql://audit@db/inventory --inbox postgresql://audit@db/payments
    saga reconcile --repair --reason "standby promoted, ticket 4711"
    """
    from orchestrator.cli.reconcile_work import Asked, perform_reconcile
    from orchestrator.cli.session import complete

    words = {"repair": repair, "nothing-lost": nothing_lost, "all-in-doubt": all_in_doubt}
    change = _change(words, reason)
    asked = Asked(change=change, reason=reason or "", by=options.person(by))
    return complete(perform_reconcile(asked, inboxes or [], since, output))


def _change(words: Mapping[str, bool], reason: str | None) -> str | None:
    """The one that is asked for, if any."""
    given = [word for word, is_given in words.items() if is_given]
    if len(given) > 1:
        raise typer.BadParameter("use one of --repair, --nothing-lost and --all-in-doubt")
    if given and not (reason or "").strip():
        raise typer.BadParameter("say why by --reason: it is kept with every change")
    return given[0] if given else None
