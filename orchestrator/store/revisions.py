"""Which revision a database is at, and which one this release needs.

Without Alembic, which takes a fifth of a second to load: it is for whoever migrates.
"""

from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

VERSION_TABLE: Final = "saga_schema_version"
VERSIONS: Final = Path(__file__).with_name("migrations") / "versions"

_REVISION: Final[sa.Select[str]] = sa.select(sa.column("version_num")).select_from(
    sa.table(VERSION_TABLE)
)


async def revision_of(connection: AsyncConnection) -> str | None:
    """The revision that the database is at; None: it has no schema yet."""
    if not await connection.run_sync(_has_versions):
        return None
    revision: str | None = await connection.scalar(_REVISION)
    return revision


def known() -> list[str]:
    """The revisions that this release knows, in order: the files begin with their names."""
    return sorted(path.name.partition("_")[0] for path in VERSIONS.glob("[0-9]*_*.py"))


def newest() -> str:
    """The newest revision that this release knows."""
    return known()[-1]


def is_behind(revision: str | None) -> bool:
    """True if `revision` is older than the newest. One we do not know is a later one."""
    return revision is None or revision in known()[:-1]


def _has_versions(connection: sa.Connection) -> bool:
    return sa.inspect(connection).has_table(VERSION_TABLE)
