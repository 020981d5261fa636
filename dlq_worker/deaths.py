"""The broker's own account of how a message died, as its headers tell it."""

from collections.abc import Mapping
from typing import Any


def latest_death(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    """The latest entry; empty if there is none."""
    deaths = headers.get("x-death")
    latest = deaths[0] if isinstance(deaths, list) and deaths else None
    return latest if isinstance(latest, dict) else {}


def first_routing_key(headers: Mapping[str, Any]) -> object:
    """What it was published with: it names the type of a message that has none."""
    keys = latest_death(headers).get("routing-keys")
    return keys[0] if isinstance(keys, list) and keys else None
