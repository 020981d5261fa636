"""The warehouse: the carrier takes parcels away, and returns arrive. Any process may call it."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from messaging.errors import NotFound
from participants.examples.shop_books import events, parcels
from participants.replies import Replies


@dataclass(frozen=True, slots=True, kw_only=True)
class Warehouse:
    """What happens to parcels. `engine` is for the services' own database."""

    engine: AsyncEngine
    replies: Replies

    async def hand_over(self) -> Sequence[str]:
        """The carrier takes all parcels that are here: the sagas that they belong to.

        From now on they cannot be recalled. A recall at the same moment waits for us, or we
        for it: both lock the parcel's row.
        """
        here = select(parcels.c.saga_id).where(parcels.c.place == "warehouse")
        async with self.engine.begin() as connection:
            found = (await connection.execute(here.with_for_update())).scalars().all()
            if found:
                mine = update(parcels).where(parcels.c.saga_id.in_(found))
                await connection.execute(mine.values(place="away"))
                shipped = [{"saga_id": each, "kind": "shipped"} for each in found]
                await connection.execute(insert(events), shipped)
        return found

    async def returns(self) -> Sequence[str]:
        """The sagas whose goods are on their way back."""
        is_back = select(events.c.saga_id).where(events.c.kind == "return received")
        on_its_way = select(events.c.saga_id).where(
            events.c.kind == "return opened", events.c.saga_id.not_in(is_back)
        )
        async with self.engine.connect() as connection:
            return (await connection.execute(on_its_way)).scalars().all()

    async def receive(self, saga_id: str) -> None:
        """The goods are back: answer the compensation that waits for them, and note it.

        The answer comes first. After a crash, or Unavailable, the return is still awaited, and
        to receive it again does no harm. Raises NotFound if no return of it is awaited.
        """
        if saga_id not in await self.returns():
            raise NotFound(f"no return of {saga_id} is awaited")
        await self.replies.reply(saga_id, "ship")
        away = update(parcels).where(parcels.c.saga_id == saga_id, parcels.c.place == "away")
        async with self.engine.begin() as connection:
            back = await connection.execute(
                away.values(place="nowhere").returning(parcels.c.saga_id)
            )
            if back.one_or_none() is not None:
                received = insert(events).values(saga_id=saga_id, kind="return received")
                await connection.execute(received)
