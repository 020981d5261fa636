"""The store that a database URL names."""

from datetime import timedelta

from orchestrator.store.database import STUCK_AFTER, DatabaseStore
from orchestrator.store.engines import database_url_of
from orchestrator.store.postgres import PostgresStore
from orchestrator.store.sqlite import SqliteStore


def store_for(database_url: str, *, stuck_after: timedelta = STUCK_AFTER) -> DatabaseStore:
    """A store, not yet connected. Raises ConfigurationError for a URL of another kind."""
    if database_url_of(database_url).get_backend_name() == "sqlite":
        return SqliteStore(database_url, stuck_after=stuck_after)
    return PostgresStore(database_url, stuck_after=stuck_after)
