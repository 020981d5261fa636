"""What `saga db` does, and what it prints."""

from chassis.exit_codes import ExitCode
from messaging.errors import ConfigurationError
from orchestrator.cli.output import Output, print_json, print_line
from orchestrator.cli.session import database_url
from orchestrator.store import migrations
from orchestrator.store.revisions import is_behind


async def perform_upgrade(output: Output) -> int:
    url = database_url(may_be_new=True)
    before, _ = await migrations.current(url)
    await migrations.upgrade(url)
    after, _ = await migrations.current(url)
    if output is Output.JSON:
        print_json({"before": before, "revision": after})
    elif before == after:
        print_line(f"the schema is at revision {after}; there was nothing to do")
    else:
        print_line(f"the schema is at revision {after} now; it was at {before or 'none'}")
    return ExitCode.DONE


async def perform_current(output: Output) -> int:
    revision, newest = await migrations.current(database_url())
    has_to_upgrade = is_behind(revision)
    if output is Output.JSON:
        print_json({"revision": revision, "needed": newest, "is_behind": has_to_upgrade})
    else:
        print_line(revision or "none")
    if has_to_upgrade:
        raise ConfigurationError(
            f"this release needs revision {newest}, and the database is at {revision or 'none'}; "
            "run `saga db upgrade`"
        )
    return ExitCode.DONE
