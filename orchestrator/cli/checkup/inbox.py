"""The participants' own database: can it be reached."""

from pathlib import Path
from typing import Final

from chassis.urls import masked
from messaging.errors import SagaError
from orchestrator.cli.checkup.finding import Finding, problem_of, warning, well
from participants.sql_engine import is_sqlite
from participants.sql_inbox import SqlInbox

INBOX: Final = "inbox"
_REACH: Final = "start it, create it, or correct SAGA_INBOX_URL: host, user, password, database"


async def look_at_inbox(url: str) -> list[Finding]:
    try:
        inbox = SqlInbox(url, connections=1)
    except SagaError as error:
        return [problem_of(INBOX, error, _REACH)]
    try:
        return [await _finding(url, inbox)]
    except SagaError as error:
        return [problem_of(INBOX, error, _REACH)]
    finally:
        await inbox.close()


async def _finding(url: str, inbox: SqlInbox) -> Finding:
    """To look into a SQLite file that is not there would make one."""
    if _is_missing(inbox):
        detail = f"there is no {masked(url)} yet"
        return warning(INBOX, detail, "participants make it when they start, if this is the file")
    await inbox.ping()
    return well(INBOX, f"the participants' database {masked(url)}")


def _is_missing(inbox: SqlInbox) -> bool:
    return is_sqlite(inbox.engine) and not Path(str(inbox.engine.url.database)).exists()
