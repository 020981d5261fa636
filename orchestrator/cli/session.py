"""What commands run in: settings, the saga database, an event loop and a quiet log."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from chassis.settings import Settings, load
from messaging.errors import ConfigurationError
from orchestrator.store.database import DatabaseStore
from orchestrator.store.engines import database_url_of, is_memory
from orchestrator.store.stores import store_for

# What these log, the error of the command says better.
_TALKATIVE: Final = ("aiormq", "aio_pika", "asyncio", "sqlalchemy", "psycopg", "alembic")


def complete(work: Coroutine[Any, Any, int]) -> int:
    """Run a command's work: its exit code."""
    quiet()
    return asyncio.run(work)


def quiet() -> None:
    """Warnings of ours are one plain line on stderr; libraries are not heard."""
    logging.basicConfig(format="saga: %(message)s", level=logging.WARNING, force=True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL)


@asynccontextmanager
async def saga_database() -> AsyncIterator[DatabaseStore]:
    """The store that the settings name, with the schema that this release needs."""
    store = store_for(database_url())
    try:
        await store.check()
        yield store
    finally:
        await store.close()


def database_url(*, may_be_new: bool = False) -> str:
    """SAGA_DATABASE_URL. A SQLite file that is not there is not made by looking into it."""
    url = load(Settings).required_database_url()
    known = database_url_of(url)
    if known.get_backend_name() == "sqlite" and is_memory(known):
        raise ConfigurationError(
            "SAGA_DATABASE_URL is a database in memory, which no other program can see; "
            "use sqlite:///FILE or postgresql://…"
        )
    is_file = known.get_backend_name() == "sqlite" and known.database
    if is_file and not may_be_new and not Path(str(known.database)).exists():
        raise ConfigurationError(
            f"there is no SQLite database {known.database!r}; name another one in "
            "SAGA_DATABASE_URL, or make this one with `saga db upgrade`"
        )
    return url


async def database_time(store: DatabaseStore) -> datetime:
    """The clock that all times of sagas are read from."""
    async with store.reading() as connection:
        return await store.now(connection)
