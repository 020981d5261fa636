"""What people ask of sagas after a restore, as events."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ReopenRequested:
    """The saga has failed, and yet the step's effect stands: it is to be undone after all."""

    step: str
    reason: str
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LossJudged:
    """A person says whether the database has lost what happened to the saga."""

    is_lost: bool
    reason: str
    actor: str
