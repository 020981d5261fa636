"""The commands about exchanges, queues and bindings."""

from typing import Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.output import Output


def show(modules: options.Modules = None, output: options.OutputOption = Output.TABLE) -> int:
    """Show what an installation has on the broker.

    Nothing is asked of the broker itself.

    Example:
    saga topology show orchestrator.examples.order_fulfillment
    """
    from orchestrator.cli.session import quiet
    from orchestrator.cli.topology_work import perform_show

    quiet()
    return perform_show(modules or [], output)


def declare(modules: options.Modules = None, output: options.OutputOption = Output.TABLE) -> int:
    """Create what is missing on the broker.

    What is there and different is not changed, and is an error (exit code 78).

    Example:
    saga topology declare orchestrator.examples.order_fulfillment
    """
    from orchestrator.cli.session import complete
    from orchestrator.cli.topology_work import perform_declare

    return complete(perform_declare(modules or [], output))


def verify(modules: options.Modules = None, output: options.OutputOption = Output.TABLE) -> int:
    """Compare with the broker, and change nothing.

    The exit code is 78 if something is missing or different. Bindings cannot be seen from here.
    A user without permission to configure is only told what is missing, not what differs.

    Example:
    saga topology verify orchestrator.examples.order_fulfillment
    """
    from orchestrator.cli.session import complete
    from orchestrator.cli.topology_work import perform_verify

    return complete(perform_verify(modules or [], output))


def definitions(
    modules: options.Modules = None,
    vhost: Annotated[str, typer.Option(metavar="NAME", help="The virtual host.")] = "/",
    broker: Annotated[
        int,
        typer.Option(
            metavar="N",
            parser=options.whole_number(3, 99),
            help="The broker's major version: from 4 on the dead letters need another argument.",
        ),
    ] = 4,
    max_queue_bytes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=options.whole_number(1),
            help="Bound every work queue by a policy: a full one refuses and loses nothing.",
        ),
    ] = None,
    output: Annotated[
        Output, typer.Option("-o", "--output", metavar="json", help="It is always JSON.")
    ] = Output.JSON,
) -> int:
    """Print a RabbitMQ definitions file with least-privilege users.

    There is one user for each program. The users have no password: give them certificates, or
    `rabbitmqctl change_password`.

    Example:
    saga topology definitions orchestrator.examples.order_fulfillment > definitions.json
    rabbitmqctl import_definitions definitions.json
    """
    from orchestrator.cli.session import quiet
    from orchestrator.cli.topology_work import perform_definitions

    del output  # whatever asks for JSON everywhere shall not fail here
    quiet()
    return perform_definitions(
        modules or [], vhost=vhost, broker_major=broker, max_queue_bytes=max_queue_bytes
    )
