"""SQLAlchemy's dialect for connections on which the guard has set the first savepoint itself."""

from typing import Any, Final, cast

from psycopg.pq import TransactionStatus
from sqlalchemy import Connection
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialectAsync_psycopg
from sqlalchemy.pool import PoolProxiedConnection

from chassis.patience import ImpatientConnection

DRIVER: Final = "postgresql+countermand"
FIRST_SAVEPOINT: Final = "sa_savepoint_1"  # as SQLAlchemy calls the first one of a connection

_FAILED: Final = TransactionStatus.INERROR
_IDLE: Final = TransactionStatus.IDLE


class PatientConnection(ImpatientConnection):
    """A handler's statement may take its time, and a claim wait for one of a frozen process."""

    patience = 360.0
    has_savepoint: str | None = None  # that nobody needs to set or to release


class GuardDialect(PGDialectAsync_psycopg):
    """Spares the round trips, and the SQL, for a savepoint that is there, and that ends with
    the transaction. Under any other name than that one savepoints are as ever."""

    driver = "countermand"
    supports_statement_cache = True

    @classmethod
    def get_async_dialect_cls(cls, url: Any) -> type["GuardDialect"]:
        return cls

    def do_rollback(self, dbapi_connection: PoolProxiedConnection) -> None:
        """As the driver's, which finds out by a lock and a wait that there is nothing to undo."""
        driver = cast("PatientConnection", dbapi_connection.driver_connection)
        if driver.pgconn.transaction_status != _IDLE:
            super().do_rollback(dbapi_connection)  # type: ignore[no-untyped-call]

    def do_savepoint(self, connection: Connection, name: str) -> None:
        if _driver_of(connection).has_savepoint != name:
            super().do_savepoint(connection, name)  # type: ignore[no-untyped-call]

    def do_release_savepoint(self, connection: Connection, name: str) -> None:
        driver = _driver_of(connection)
        has_failed = driver.pgconn.transaction_status == _FAILED  # the server shall say so
        if driver.has_savepoint != name or has_failed:
            super().do_release_savepoint(connection, name)  # type: ignore[no-untyped-call]


def _driver_of(connection: Connection) -> PatientConnection:
    return cast("PatientConnection", connection.connection.driver_connection)


registry.register(DRIVER.replace("+", "."), __name__, GuardDialect.__name__)
