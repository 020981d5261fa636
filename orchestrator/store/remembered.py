"""Sagas as this process has saved them, so that the next reply need not read their rows.

Whether a row is still the one that we wrote, its `xmin` tells: the transaction that wrote it.
Numbers that a crash has lost are given again; not with the same moment.
See docs/adr/0017-the-worker-remembers-what-it-saved.md.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple

from orchestrator.saga.state import Saga
from orchestrator.saga.written import json_of

MAX_SAGAS: Final = 2000
_ENOUGH: Final = 0.9  # of the rows that are looked for, for deciding without looking
_MAX_CHARACTERS: Final = 8 * 1024  # of one saga's data


class Mark(NamedTuple):
    """What tells one state of a row from all others."""

    xmin: int
    version: int
    updated_at: datetime
    epoch: str


class Remembered:
    """The sagas saved last that have not ended; the oldest are forgotten."""

    def __init__(self, limit: int = MAX_SAGAS) -> None:
        self._limit = limit
        self._known: dict[str, tuple[Mark, Saga]] = {}
        self.is_ours_alone = True
        """Of what was looked for last, hardly any row had been written by somebody else."""

    def knows_any(self, saga_ids: Iterable[str]) -> bool:
        return any(saga_id in self._known for saga_id in saga_ids)

    def get(self, saga_id: str, mark: Mark) -> Saga | None:
        """The saga of the row that has this mark, if it was saved here."""
        known_mark, saga = self._known.get(saga_id, (None, None))
        return saga if known_mark == mark else None

    def recall(self, saga_ids: Iterable[str], *, epoch: str) -> dict[str, tuple[Mark, Saga]]:
        """Those of them that were saved here, in this epoch; their rows may be others by now."""
        known = ((saga_id, self._known.get(saga_id)) for saga_id in saga_ids)
        return {saga_id: found for saga_id, found in known if found and found[0].epoch == epoch}

    def has_found(self, same: int, *, of: int) -> None:
        """So many of the rows that were looked for were still those that we had written."""
        self.is_ours_alone = same >= _ENOUGH * of

    def keep(self, written: Iterable[tuple[int, Saga]], *, epoch: str) -> None:
        """After the commit: these are in the database, written by transactions of that number."""
        for xmin, saga in written:
            self._known.pop(saga.saga_id, None)
            if _is_worth_keeping(saga, epoch):
                self._known[saga.saga_id] = Mark(xmin, saga.version, saga.updated_at, epoch), saga
        for saga_id in list(self._known)[: max(0, len(self._known) - self._limit)]:
            del self._known[saga_id]


def _is_worth_keeping(saga: Saga, epoch: str) -> bool:
    is_of_now = saga.epoch == epoch and not saga.in_doubt
    return is_of_now and not saga.state.is_final and len(json_of(saga.data)) <= _MAX_CHARACTERS
