"""`saga demo`: everything in one process, with nothing to install."""

from typing import Annotated

import typer

from orchestrator.cli.options import OutputOption, whole_number
from orchestrator.cli.output import Output


def demo(
    sagas: Annotated[
        int, typer.Option(metavar="N", parser=whole_number(1, 100_000), help="How many orders.")
    ] = 300,
    fail: Annotated[
        str | None, typer.Option(metavar="STEP", help="Let this step fail in every order.")
    ] = None,
    output: OutputOption = Output.TABLE,
    as_json: Annotated[bool, typer.Option("--json", help="The same as `-o json`.")] = False,
) -> int:
    """Run some hundred orders in one process; needs no server.

    The broker is embedded and the database is SQLite. Some orders fail, some compensations fail
    first, and one never succeeds. At the end the books of the services are checked.

    Example:
    saga demo
    saga demo --sagas 50 --fail create_shipment
    """
    from orchestrator.demo.command import run_demo

    return run_demo(sagas, fail, as_json or output is Output.JSON)
