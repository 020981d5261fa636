"""The desk where people answer: a web page or a chat would call it, from any process."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from participants import StepFailed
from participants.examples.approval_books import events, requests
from participants.replies import Replies


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Open requests, reminders and decisions. `engine` is for the services' own database."""

    engine: AsyncEngine
    replies: Replies

    async def open_requests(self) -> Sequence[str]:
        """The sagas that wait for an answer."""
        query = select(requests.c.saga_id).where(requests.c.is_open)
        async with self.engine.connect() as connection:
            return (await connection.execute(query)).scalars().all()

    async def remind(self) -> Sequence[str]:
        """Remind of every request that is due, once, and say of which.

        Call it every few minutes, in as many copies as you like.
        """
        is_due = requests.c.is_open & (requests.c.remind_at <= func.now())
        due = select(requests.c.saga_id).where(is_due).with_for_update(skip_locked=True)
        async with self.engine.begin() as connection:
            found = (await connection.execute(due)).scalars().all()
            if found:
                mine = update(requests).where(requests.c.saga_id.in_(found))
                await connection.execute(mine.values(remind_at=None))
                reminders = [{"saga_id": each, "kind": "reminded"} for each in found]
                await connection.execute(insert(events), reminders)
        return found

    async def decide(self, saga_id: str, *, is_approved: bool, by: str) -> None:
        """Answer for good. Raises Refused if the request was withdrawn or answered otherwise.

        The reply comes first: the guard knows who was faster. After a crash, or Unavailable,
        the request is still open, and the same answer again does no harm.
        """
        no = StepFailed(f"declined by {by}")
        await self.replies.reply(saga_id, "approve", {"approved_by": by} if is_approved else no)
        mine = update(requests).where(requests.c.saga_id == saga_id, requests.c.is_open)
        async with self.engine.begin() as connection:
            closed = await connection.execute(
                mine.values(is_open=False).returning(requests.c.saga_id)
            )
            if closed.one_or_none() is not None:
                kind = "approved" if is_approved else "declined"
                await connection.execute(insert(events).values(saga_id=saga_id, kind=kind, by=by))
