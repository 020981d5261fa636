"""The session of a handler, within the transaction that also stores its answer."""

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession


class HandlerSession:
    """Opened when a handler asks for it."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._session: AsyncSession | None = None

    def get(self) -> AsyncSession:
        if self._session is None:
            # In a savepoint: the handler's own commit or rollback must not end our transaction.
            self._session = AsyncSession(
                bind=self._connection,
                join_transaction_mode="create_savepoint",
                expire_on_commit=False,
            )
        return self._session

    async def commit(self) -> None:
        """Keep what the handler has left in it, until the transaction is committed."""
        if self._session is not None:
            await self._session.commit()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
