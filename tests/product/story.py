"""Sagas in waves under whatever befalls those who move them, and the audit at the end."""

import asyncio
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.product import audit
from tests.product.customers import post_nonsense, start_all
from tests.product.installation import Daemon, Installation, Place, wait_for
from tests.product.listeners import listen, outcomes_told
from tests.product.orders import HASTY, Asked

STILL_SECONDS = 90.0  # no saga moves for so long: they are stuck
EXHAUSTED = "compensation_exhausted"
NONSENSE = 5  # messages in a wave that only the DLQ worker can take


@dataclass(slots=True, kw_only=True)
class Story:
    """Sagas in waves, and what befalls those who move them."""

    installation: Installation
    orders: Iterator[Asked]
    chance: random.Random
    asked: list[Asked] = field(default_factory=list)
    nonsense: list[str] = field(default_factory=list)

    @property
    def place(self) -> Place:
        return self.installation.place

    def begin(self) -> None:
        """Start everybody, with somebody who listens."""
        self.installation.start()
        asyncio.run(listen(self.place))

    def begin_wave(self, size: int) -> None:
        """More sagas, and a few messages that make no sense."""
        wave = [next(self.orders) for _ in range(size)]
        ids = [f"nonsense-{len(self.nonsense) + number}" for number in range(NONSENSE)]
        asyncio.run(start_all(self.place, wave))
        asyncio.run(post_nonsense(self.place, ids))
        self.asked += wave
        self.nonsense += ids

    def reach_any_moment(self) -> None:
        """Until the sagas have come some way, or to their end."""
        goal = audit.transitions(self.place) + self.chance.randint(1, 60)
        wait_for(
            lambda: audit.transitions(self.place) >= goal or self._all_have_ended(),
            f"the sagas have come to {goal} transitions",
            seconds=STILL_SECONDS,
        )

    def kill_each_of(self, *groups: Sequence[Daemon]) -> None:
        """One of each group, in any order, each at any moment, and started again at once."""
        victims = [self.chance.choice(group) for group in groups]
        for victim in self.chance.sample(victims, len(victims)):
            self.reach_any_moment()
            victim.kill_and_restart()

    def end(self) -> dict[str, str]:
        """The state of every saga, once all have ended."""
        ids = [each.saga_id for each in self.asked]
        return audit.Progress(self.place).wait_until_ended(ids, seconds=STILL_SECONDS)

    def _all_have_ended(self) -> bool:
        now = audit.states(self.place)
        return all(now.get(each.saga_id) in audit.FINAL for each in self.asked)


def check(story: Story, states: dict[str, str]) -> None:
    """The audit: ends, histories, books and dead letters."""
    place = story.place
    wanted = {each.saga_id: each.ends or states[each.saga_id] for each in story.asked}
    assert states == wanted
    assert audit.history_gaps(place) == []
    assert audit.broken_chains(place) == []
    wait_for(lambda: has_stored_all(story), "every message without sense is a dead letter")
    wait_for(lambda: has_closed_all(story), "every replayed compensation is resolved")
    wait_for(lambda: asyncio.run(are_empty(place)), "no message is left in any queue")
    books = asyncio.run(audit.books(place))
    assert list(books.problems) == []
    assert list(audit.disagreements(books, states)) == []
    assert unexplained(story) == []
    assert asyncio.run(outcomes_told(place)) == {name: {state} for name, state in states.items()}


def has_stored_all(story: Story) -> bool:
    stored = {row["headers"].get("saga-original-message-id") for row in audit.letters(story.place)}
    return stored >= set(story.nonsense)


def unexplained(story: Story) -> list[str]:
    """Dead letters of another kind than the story has asked for, or that still wait."""
    asked = {each.saga_id: each for each in story.asked}
    return [
        f"{row['id']} {row['reason']} {row['saga_id']} {row['step_name']} {row['status']}"
        for row in audit.letters(story.place)
        if not _is_expected(row, asked.get(row["saga_id"]))
    ]


def _is_expected(letter: Mapping[str, Any], asked: Asked | None) -> bool:
    """Who is late is told of for good; what was exhausted was replayed, and is resolved."""
    if asked is None:
        return bool(letter["reason"] == "bad_json")
    if letter["reason"] == "late_success":
        return asked.saga_type == HASTY
    is_stubborn = asked.saga_type == HASTY or "fail_compensation" in asked.data
    return letter["reason"] == EXHAUSTED and is_stubborn and is_closed(letter)


def is_closed(letter: Mapping[str, Any]) -> bool:
    return letter["status"] not in ("open", "replaying")


def has_closed_all(story: Story) -> bool:
    """The DLQ worker looks at its letters now and then: a saga may have ended before that."""
    letters = audit.letters(story.place)
    return all(map(is_closed, (row for row in letters if row["reason"] == EXHAUSTED)))


async def are_empty(place: Place) -> bool:
    return not [
        queue for queue in audit.queues_of(place.names) if await audit.messages_in(place, queue)
    ]
