"""SQLite's connections, closed for good."""

import sqlite3
from contextlib import suppress
from typing import Any
from weakref import WeakSet


class Connection(sqlite3.Connection):
    """Lets go of the file when it is closed.

    SQLite keeps a closed connection alive, and with it the lock on the file, for as long as
    anything refers to a statement that was not read to its end: in a task that was cancelled
    while it wrote, until the garbage collector comes by. So its cursors are closed first.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cursors: WeakSet[sqlite3.Cursor] = WeakSet()

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        cursor = super().cursor(*args, **kwargs)
        self._cursors.add(cursor)
        return cursor

    def close(self) -> None:
        with suppress(sqlite3.ProgrammingError):  # closed already
            for cursor in self._cursors:
                cursor.close()
        super().close()
