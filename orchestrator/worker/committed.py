"""Batches that are in the database: what has to leave before they are acknowledged."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from chassis.facts import Fact
from messaging.port import Delivery
from orchestrator.worker.intake import Arrival, doubtful
from orchestrator.worker.publisher import Post


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """A batch, or what of it the database has taken."""

    deliveries: Sequence[Delivery]
    posts: Sequence[Post]
    wake_at: datetime | None = None  # when the first of its sagas is due
    left: Sequence[Arrival] = ()  # to be tried again: the database did not get to them
    facts: Iterable[Fact] = ()  # to be reported once, when the posts are on their way


def left(arrivals: Sequence[Arrival]) -> Committed:
    """Nothing is known to be committed, but it may be."""
    return Committed(deliveries=(), posts=(), left=[doubtful(each) for each in arrivals])


def together(first: Committed, second: Committed) -> Committed:
    return Committed(
        deliveries=[*first.deliveries, *second.deliveries],
        posts=[*first.posts, *second.posts],
        wake_at=earliest([first.wake_at, second.wake_at]),
        left=[*first.left, *second.left],
        facts=chain(first.facts, second.facts),
    )


def earliest(moments: Iterable[datetime | None]) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)
