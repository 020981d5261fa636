"""The commands about contracts: writing one, and holding participants to it."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.definitions import Data, Definitions, Participants
from orchestrator.cli.output import Output

Targets = Annotated[
    list[str] | None,
    typer.Argument(metavar="MODULE[:ATTR]", help="Modules with Participant objects, or one."),
]
ContractFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The contract, as `saga contract` has written it."),
]
Sagas = Annotated[
    list[str] | None,
    typer.Option(
        metavar="MODULE[:CLASS]",
        help="Saga definitions to draw the contract from; may be given several times.",
    ),
]
Running = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Ask the participant of that name over the broker, whatever it is written in.",
    ),
]
ExamplesFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Data to ask with: a JSON object of objects by command, instead of the contract's "
        "examples.",
    ),
]
ReplyTimeout = Annotated[
    timedelta | None,
    typer.Option(
        metavar="DURATION",
        parser=options.duration,
        help="How long to wait for each reply. [default: 10s]",
    ),
]


def contract(
    modules: Definitions,
    participants: Participants = None,
    data: Data = None,
    release: Annotated[
        str, typer.Option(metavar="TEXT", help="The contract's own version.")
    ] = "1.0.0",
    output: Annotated[
        str,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR|-",
            help="Write `asyncapi.json` and a JSON Schema for each message there; - prints the "
            "AsyncAPI document, and so does json.",
        ),
    ] = "-",
) -> int:
    """Write the contract with participants: AsyncAPI, JSON Schema.

    The document is AsyncAPI 3.0, seen from the orchestrator.
    What commands carry follows from the definitions' examples, `input`, and the `command` and
    `result` of their steps; with `--participants` also from the handlers' models. The names on
    the broker are those of SAGA_NAMESPACE.

    Example:
    saga contract orchestrator.examples.order_fulfillment --output contract
    saga contract shop.sagas --participants shop.services > asyncapi.json
    """
    from orchestrator.cli.contract_work import perform_contract
    from orchestrator.cli.session import quiet

    quiet()
    return perform_contract(modules, participants or [], data or [], release, output)


def verify(
    targets: Targets = None,
    contract: ContractFile = None,
    sagas: Sagas = None,
    running: Running = None,
    examples: ExamplesFile = None,
    timeout: ReplyTimeout = None,
    output: options.OutputOption = Output.TABLE,
) -> int:
    """Hold participants to a contract, as code or running.

    The exit code is 3 if one breaks it; each breach names the field. Python modules are looked
    at and not run. With `--running` a service is sent commands of sagas made for it, `verify-…`:
    an action, the same again, its compensation, both in the wrong order, and nonsense. It
    executes them, so let it work on a database for trials, in a SAGA_NAMESPACE that no
    orchestrator uses: one in use is refused (exit code 4).

    Example:
    saga participants verify shop.services --sagas shop.sagas
    saga participants verify shop.services:mail --contract asyncapi.json
    SAGA_NAMESPACE=trial saga participants verify --running Mail --contract asyncapi.json
    """
    from orchestrator.cli.session import complete
    from orchestrator.cli.verify_work import Wanted, perform_verify

    _check(targets, contract, sagas, running)
    wanted = Wanted(
        targets=tuple(targets or ()),
        contract=contract,
        sagas=tuple(sagas or ()),
        running=running,
        examples=examples,
        timeout=timeout or timedelta(seconds=10),
    )
    return complete(perform_verify(wanted, output))


def _check(
    targets: list[str] | None, contract: Path | None, sagas: list[str] | None, running: str | None
) -> None:
    if bool(targets) == bool(running):
        raise typer.BadParameter("name modules, or one service with --running")
    if bool(contract) == bool(sagas):
        raise typer.BadParameter("give the contract with --contract, or definitions with --sagas")
