"""The semantic locks that a definition declares, checked."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final

from messaging.errors import DefinitionError
from orchestrator.definition_checks import MAX_TIMEOUT, shown
from orchestrator.saga.locking import QUEUE, REFUSE, WAIT, LockPolicy

MAX_NAMES: Final = 100
MAX_LENGTH: Final = 200
_WORDS: Final = {"wait": WAIT, "queue": QUEUE, "refuse": REFUSE}


def checked_policy(where: str, value: object) -> LockPolicy:
    """What `on_locked` says."""
    if isinstance(value, LockPolicy):
        return _checked_bounds(where, value)
    if isinstance(value, str) and value in _WORDS:
        return _WORDS[value]
    raise DefinitionError(
        f'{where}.on_locked is {shown(value)}; use "wait", "queue", "refuse" or a LockPolicy'
    )


def checked_names(where: str, value: object) -> tuple[str, ...]:
    """What `locks` returned: sorted, each once."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise DefinitionError(f"{where}.locks returned {shown(value)}; return a list of names")
    names: set[Any] = set()
    for name in value:
        _check_name(where, name)
        names.add(name)
    if len(names) > MAX_NAMES:
        raise DefinitionError(
            f"{where}.locks returned {len(names)} names; at most {MAX_NAMES} are possible"
        )
    return tuple(sorted(names))


def _check_name(where: str, name: object) -> None:
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_LENGTH:
        raise DefinitionError(
            f"{where}.locks names {shown(name)}; a lock's name is a text of 1 to {MAX_LENGTH} "
            'characters, for example "order:42"'
        )
    if not name.isprintable() or name != name.strip():
        raise DefinitionError(
            f"{where}.locks names {shown(name)}; use printable characters, and no space at either "
            "end"
        )


def _checked_bounds(where: str, policy: LockPolicy) -> LockPolicy:
    timeout: object = policy.timeout
    is_bound = isinstance(timeout, timedelta) and timedelta(0) < timeout <= MAX_TIMEOUT
    if timeout is not None and not is_bound:
        raise DefinitionError(
            f"{where}.on_locked waits for {shown(timeout)}; use a timedelta above zero, at most "
            f"{MAX_TIMEOUT.days} days, or None"
        )
    limit: object = policy.limit
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 0):
        raise DefinitionError(
            f"{where}.on_locked lets {shown(limit)} wait; use a whole number from 0, or None"
        )
    return policy
