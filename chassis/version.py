"""Which release this is."""

from functools import cache
from importlib import metadata


@cache
def version() -> str:
    """The installed release of countermand, `unknown` when run without being installed."""
    try:
        return metadata.version("countermand")
    except metadata.PackageNotFoundError:
        return "unknown"
