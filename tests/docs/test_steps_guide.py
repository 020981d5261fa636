"""The examples of docs/guides/idempotent-steps.md do what the page says."""

import re
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from participants import StepFailed

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "idempotent-steps.md"


def _scopes() -> list[dict[str, Any]]:
    scopes: list[dict[str, Any]] = []
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        scopes.append({"__name__": "page"})
        exec(block, scopes[-1])  # noqa: S102  # our own page
    return scopes


async def test_the_card_is_charged_once_and_the_night_is_counted_once(tmp_path: Path) -> None:
    first, second = _scopes()
    url = f"sqlite:///{tmp_path}/shop.db"
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE accounts (balance INTEGER)"))
        connection.execute(sa.text("INSERT INTO accounts VALUES (1000)"))
    assert first["main"](url) == {"payment_id": "payment-42"}
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT balance FROM accounts")) == 900
    with Session(engine) as session, pytest.raises(StepFailed):
        first["charge"](session, "43", 2000)
    engine.dispose()
    other = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/shop.db")
    for _ in range(2):
        async with AsyncSession(other) as session_of_night, session_of_night.begin():
            assert await second["report"](session_of_night, "2026-11-21") == 17
    await other.dispose()
