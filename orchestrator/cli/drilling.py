"""`saga drill`: every fault at every step of a saga, judged by its services' own books."""

from typing import Annotated

import typer

from orchestrator.cli.given import json_object
from orchestrator.cli.options import OutputOption
from orchestrator.cli.output import Output

Data = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="JSON|@FILE|-",
        help="An example's data, instead of the drill's own; may be given several times.",
    ),
]
Steps = Annotated[
    list[str] | None,
    typer.Option("--step", metavar="NAME", help="Only this step; may be given several times."),
]
Faults = Annotated[
    list[str] | None,
    typer.Option("--fault", metavar="NAME", help="Only this fault; may be given several times."),
]
Examples = Annotated[
    list[str] | None,
    typer.Option(
        "--example", metavar="NAME", help="Only this example; may be given several times."
    ),
]
NoGuard = Annotated[
    bool,
    typer.Option("--no-guard", help="Run the services without the guard: what does it hold?"),
]
ListOnly = Annotated[bool, typer.Option("--list", help="Say what would be tried, and try nothing.")]


def drill(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="MODULE[:ATTR]",
            help="A module with drills, or one of them; or modules with a saga and its services.",
        ),
    ],
    data: Data = None,
    step: Steps = None,
    fault: Faults = None,
    example: Examples = None,
    no_guard: NoGuard = False,
    list_only: ListOnly = False,
    output: OutputOption = Output.TABLE,
) -> int:
    """Try every fault at every step, and look into the books.

    The saga and its services run in this process, in virtual time, once for each fault. What
    breaks a rule is told as a short story, with the likely mistake. The exit code is 3 then.

    Example:
    saga drill orchestrator.testing.drill.examples.bank_transfer --step debit
    saga drill shop.orders shop.services --data @order.json --fault command-twice
    """
    from orchestrator.cli.drill_work import Asked, perform_drill
    from orchestrator.cli.session import complete

    asked = Asked(
        targets=targets,
        inputs=[json_object(each, "--data") for each in data or []],
        steps=step or [],
        faults=fault or [],
        examples=example or [],
        is_guarded=not no_guard,
    )
    return complete(perform_drill(asked, output, is_list=list_only))
