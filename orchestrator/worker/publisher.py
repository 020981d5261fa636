"""Publishing until the broker has it. Only what nobody is bound for comes back."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from chassis.facts import BatchPublished, Noticed, Observe
from chassis.pacing import backoff
from messaging.port import Broker, Outgoing, Receipt
from messaging.topology import Names

_PAUSE_CAP: Final = 10
_NOT_TAKEN: Final = (
    "the broker has not confirmed these messages: a full queue, a missing permission, or no"
    " connection; they are sent again"
)


class Post(NamedTuple):  # one for each message: a tuple costs a quarter of a dataclass
    """A message to publish and, if it is a command, whose."""

    message: Outgoing
    saga_id: str | None = None
    step: str | None = None
    may_have_left: bool = False  # an earlier copy may have arrived
    epoch: str | None = None  # of the database, when the saga asked for it


class Publisher:
    """Sends again what may not have left, with backoff, until told to stop."""

    def __init__(self, broker: Broker, names: Names, observe: Observe) -> None:
        self._broker = broker
        self._names = names
        self._observe = observe

    async def deliver(
        self, posts: Sequence[Post], stopping: asyncio.Event
    ) -> Sequence[Post] | None:
        """The commands that nobody can have got: they came back as unroutable, and no earlier
        copy may have arrived. None if we stop before all has left."""
        returned: list[Post] = []
        left = list(posts)
        failures = 0
        while left:
            receipts = await self._publish(left)
            paired = list(zip(left, receipts, strict=True))
            returned += [
                post
                for post, got in paired
                if _came_back(post, got, self._names) and not post.may_have_left
            ]
            left = [
                post._replace(may_have_left=post.may_have_left or got is Receipt.UNKNOWN)
                for post, got in paired
                if got is not Receipt.CONFIRMED and not _came_back(post, got, self._names)
            ]
            if left:
                failures += 1
                if stopping.is_set() and failures > 1:
                    return None
                self._complain(left, receipts, failures)
                await asyncio.sleep(backoff(min(failures, _PAUSE_CAP)))
        return returned

    async def _publish(self, posts: Sequence[Post]) -> Sequence[Receipt]:
        clock = asyncio.get_running_loop().time
        began = clock()
        receipts = await self._broker.publish([post.message for post in posts])
        self._observe(
            BatchPublished(
                size=len(posts),
                took=timedelta(seconds=clock() - began),
                unroutable=sum(got is Receipt.UNROUTABLE for got in receipts),
                unknown=sum(got is Receipt.UNKNOWN for got in receipts),
            )
        )
        return receipts

    def _complain(self, left: Sequence[Post], receipts: Sequence[Receipt], failures: int) -> None:
        if Receipt.UNROUTABLE in receipts:
            message = "no queue takes these messages"
        elif failures > 1:  # once is a lost connection, of which we are told
            message = _NOT_TAKEN
        else:
            return
        where = {f"{post.message.exchange} {post.message.routing_key}" for post in left}
        details = {"messages": len(left), "to": ", ".join(sorted(where)[:5])}
        self._observe(Noticed(level="warning", message=message, details=details))


def _came_back(post: Post, receipt: Receipt, names: Names) -> bool:
    """A command that nobody is bound for is not tried again; all else is, for ever."""
    return receipt is Receipt.UNROUTABLE and post.message.exchange == names.commands
