"""The example of docs/guides/starting-in-a-transaction.md does what the page says."""

import re
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.store.stores import store_for

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "starting-in-a-transaction.md"


@pytest.fixture
async def engine(tmp_path: Path) -> sa.Engine:
    store = store_for(f"sqlite:///{tmp_path}/shop.db")
    await store.upgrade()
    await store.close()
    engine = sa.create_engine(f"sqlite:///{tmp_path}/shop.db")
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE orders (id TEXT PRIMARY KEY)"))
    return engine


async def test_order_and_saga_are_there_together_or_not_at_all(engine: sa.Engine) -> None:
    [block] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    scope: dict[str, object] = {}
    exec(block, scope)  # noqa: S102  # our own page
    place_order, main = scope["place_order"], scope["main"]
    assert callable(place_order)
    assert callable(main)
    with Session(engine) as session:
        place_order(session, "41")
        session.rollback()
    main(str(engine.url))
    with engine.connect() as connection:
        orders = connection.scalars(sa.text("SELECT id FROM orders")).all()
        sagas = connection.scalars(sa.text("SELECT saga_id FROM sagas")).all()
    engine.dispose()
    assert (orders, sagas) == (["42"], ["order-42"])
