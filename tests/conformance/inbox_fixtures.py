"""An inbox of each kind, prepared and empty."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from participants.inbox import Inbox
from participants.runner import inbox_for

INBOXES = ("memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres))
SQL_INBOXES = INBOXES[1:]


def inbox_url_of(kind: str, request: pytest.FixtureRequest, folder: Path) -> str | None:
    """An empty database of that kind; None for memory."""
    match kind:
        case "memory":
            return None
        case "sqlite":
            return f"sqlite:///{folder}/inbox.sqlite"
        case _:
            url: str = request.getfixturevalue("empty_database_url")
            return url


@pytest.fixture(params=INBOXES)
async def inbox(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Inbox]:
    """Each test that asks for it runs against every kind of inbox."""
    inbox = inbox_for(inbox_url_of(request.param, request, tmp_path), connections=12)
    await inbox.prepare(())
    yield inbox
    await inbox.close()
