"""The commands about the schema of the saga database."""

from orchestrator.cli import options
from orchestrator.cli.output import Output


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
