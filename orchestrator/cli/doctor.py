"""`saga doctor`: what is wrong with an installation, and what to do about it."""

from orchestrator.cli import options
from orchestrator.cli.output import Output


def doctor(modules: options.Modules = None, output: options.OutputOption = Output.TABLE) -> int:
    """Say what is wrong with an installation, and the remedy.

    It looks at settings, broker, permissions, topology and databases: the sagas', and where
    SAGA_INBOX_URL is set the participants' own. Nothing is changed. The
    exit code is 0 if programs can work, 78 if something has to be set right, and 69 if the
    broker or the database is out of reach and nothing else is wrong.

    Example:
    saga doctor
    saga doctor orchestrator.examples.order_fulfillment
    """
    from orchestrator.cli.doctor_work import perform_doctor
    from orchestrator.cli.session import complete

    return complete(perform_doctor(modules or [], output))
