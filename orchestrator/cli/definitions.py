"""The commands about definitions: what they say before a saga has run."""

from enum import StrEnum
from typing import Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.output import Output


class Format(StrEnum):
    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"


Definitions = Annotated[
    list[str],
    typer.Argument(metavar="MODULE[:CLASS]", help="Modules with saga definitions, or one of them."),
]
Data = Annotated[
    list[str] | None,
    typer.Option(
        metavar="JSON|@FILE|-",
        help="Data that a saga may start with, instead of the definition's own examples; may be "
        "given several times.",
    ),
]
Participants = Annotated[
    list[str] | None,
    typer.Option(
        metavar="MODULE[:ATTR]",
        help="A module with Participant objects; may be given several times.",
    ),
]


def list_(modules: Definitions, output: options.OutputOption = Output.TABLE) -> int:
    """List the definitions in these modules.

    Example:
    saga definitions list orchestrator.examples.shop_order orchestrator.examples.approval
    """
    from orchestrator.cli.definitions_work import perform_list
    from orchestrator.cli.session import quiet

    quiet()
    return perform_list(modules, output)


def show(
    modules: Definitions, data: Data = None, output: options.OutputOption = Output.TABLE
) -> int:
    """Show the plans: steps in their order, with all that was left to the defaults.

    There is a plan for each of the definition's examples, or for the data that are given.

    Example:
    saga definitions show orchestrator.examples.bank_transfer
    saga definitions show orchestrator.examples.shop_order --data '{"is_digital": true}'
    """
    from orchestrator.cli.definitions_work import perform_show
    from orchestrator.cli.session import quiet

    quiet()
    return perform_show(modules, data or [], output)


def validate(
    modules: Definitions, data: Data = None, output: options.OutputOption = Output.TABLE
) -> int:
    """Say what is wrong with the definitions, all of it at once.

    The exit code is 78 if anything is. Each example is planned, and what a step's `command` or
    `payload` needs must be in the data or in a result before it.

    Example:
    saga definitions validate orchestrator.examples.shop_order
    """
    from orchestrator.cli.definitions_work import perform_validate
    from orchestrator.cli.session import quiet

    quiet()
    return perform_validate(modules, data or [], output)


def graph(
    modules: Definitions,
    data: Data = None,
    format_: Annotated[
        Format, typer.Option("--format", metavar="mermaid|dot|svg", help="What to print.")
    ] = Format.MERMAID,
) -> int:
    """Draw the plans: stages, compensations, timeouts, the point of no return.

    SVG needs no other program. The same definition gives the same bytes.

    Example:
    saga definitions graph orchestrator.examples.travel_booking --format svg > trip.svg
    saga definitions graph orchestrator.examples.shop_order --data @order.json
    """
    from orchestrator.cli.definitions_work import perform_graph
    from orchestrator.cli.session import quiet

    quiet()
    return perform_graph(modules, data or [], format_)


def compat(
    modules: Definitions,
    participants: Participants = None,
    elsewhere: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A participant that runs from other code and is not looked at; may be given "
            "several times.",
        ),
    ] = None,
    output: options.OutputOption = Output.TABLE,
) -> int:
    """Say before a deploy which sagas in flight it would strand.

    The new code is compared with every saga in the database that has not ended. The exit code
    is 3 if any of them could not go on. With `--participants` each command that may still be
    sent needs a handler that takes it; name all of them, or the rest by `--elsewhere`.

    Example:
    saga definitions compat orchestrator.examples.order_fulfillment
    saga definitions compat shop.sagas --participants shop.services --elsewhere Mail
    """
    from orchestrator.cli.compat_work import perform_compat
    from orchestrator.cli.session import complete

    return complete(perform_compat(modules, participants, elsewhere or [], output))
