"""A queue of the embedded broker: it behaves like a quorum queue of RabbitMQ."""

import heapq
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from messaging.port import Delivery

_sessions = itertools.count(1)


class Stored(NamedTuple):
    """A message in its place. What comes back goes to the place it had."""

    position: int
    delivery: Delivery


@dataclass(slots=True, eq=False)
class Link:
    """One consumer's session with a queue."""

    prefetch: int
    deliver: Callable[[Delivery], None]
    priority: int = 0
    session: int = field(default_factory=lambda: next(_sessions))
    unsettled: dict[int, Stored] = field(default_factory=dict)
    _tags: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    @property
    def has_room(self) -> bool:
        return len(self.unsettled) < self.prefetch

    def hand_over(self, stored: Stored) -> None:
        tag = next(self._tags)
        self.unsettled[tag] = stored
        self.deliver(replace(stored.delivery, tag=tag, session=self.session))


class MemoryQueue:
    """Ready messages by position, handed to the links by priority, to equals in turn."""

    def __init__(
        self,
        name: str,
        arguments: Mapping[str, str | int],
        on_dead: Callable[["MemoryQueue", Delivery], None],
    ) -> None:
        self.name = name
        self.arguments = dict(arguments)
        self._on_dead = on_dead
        self._positions = itertools.count(1)
        self._ready: list[Stored] = []
        self._links: list[Link] = []

    @property
    def depth(self) -> int:
        """How many messages wait for a consumer."""
        return len(self._ready)

    @property
    def unsettled(self) -> int:
        """How many messages are with consumers."""
        return sum(len(link.unsettled) for link in self._links)

    def put(self, delivery: Delivery) -> None:
        heapq.heappush(self._ready, Stored(next(self._positions), delivery))
        self._dispatch()

    def attach(self, link: Link) -> None:
        self._links.append(link)
        self._dispatch()

    def detach(self, link: Link) -> None:
        """End the link's session: all that it holds comes back."""
        if link in self._links:
            self._links.remove(link)
            self.give_back(link, list(link.unsettled))

    def settle(self, link: Link, tag: int) -> None:
        """Remove for good; a tag that is not there is ignored."""
        link.unsettled.pop(tag, None)
        self._dispatch()

    def give_back(self, link: Link, tags: list[int]) -> None:
        """Put back as failed deliveries, or bury what has failed too often."""
        for stored in [link.unsettled.pop(tag) for tag in tags if tag in link.unsettled]:
            self._return(stored)
        self._dispatch()

    def _return(self, stored: Stored) -> None:
        failed = stored.delivery.delivery_count + 1
        delivery = replace(stored.delivery, delivery_count=failed, redelivered=True)
        limit = self.arguments.get("x-delivery-limit", -1)
        if 0 <= int(limit) < failed:
            self._on_dead(self, delivery)
        else:
            heapq.heappush(self._ready, Stored(stored.position, delivery))

    def _dispatch(self) -> None:
        while self._ready and (link := self._next_link()):
            link.hand_over(heapq.heappop(self._ready))

    def _next_link(self) -> Link | None:
        """Of the links with room, the one of the highest priority; equals in turn."""
        free = [link for link in self._links if link.has_room]
        if not free:
            return None
        link = max(free, key=lambda each: each.priority)  # the first of equals
        self._links.remove(link)
        self._links.append(link)
        return link
