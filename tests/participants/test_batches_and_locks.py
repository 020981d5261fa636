"""Rows of the handlers' own that somebody holds while a batch is handled."""

from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from participants import Context, Participant
from participants.runner import inbox_for
from tests.participants.conftest import ON_MEMORY, Stage
from tests.participants.desk import command, running

ARTICLES = range(1, 6)
HELD = 3


def warehouse() -> Participant:
    service = Participant("TestService")

    @service.action("Take", batch=True)
    async def take(asked: dict[str, Any], context: Context) -> None:
        take_one = text("UPDATE stock SET quantity = quantity - 1 WHERE article = :article")
        await context.session.execute(take_one, {"article": asked["article"]})

    return service


@pytest.mark.postgres
@ON_MEMORY
@pytest.mark.parametrize("attempt", [1, 2], ids=["first commands", "later attempts"])
async def test_a_row_that_a_handler_waits_for_stops_no_other(
    stage: Stage, empty_database_url: str, attempt: int
) -> None:
    """What is not looked for beforehand gives up in time, too."""
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE stock (article int PRIMARY KEY, quantity int)")
        connection.execute("INSERT INTO stock SELECT generate_series(1, 5), 10")
    inbox = inbox_for(empty_database_url)
    asked = [
        command("TestService.Take", f"order-{article}", article=article, attempt=attempt)
        for article in ARTICLES
    ]
    await stage.desk.send(*asked)
    with psycopg.connect(empty_database_url) as holder:
        holder.execute("SELECT 1 FROM stock WHERE article = %s FOR UPDATE", [HELD])
        async with running(stage.runner(warehouse(), inbox=inbox)):
            first = {(await stage.desk.reply()).saga_id for _ in ARTICLES[1:]}
            assert first == {f"order-{article}" for article in ARTICLES} - {f"order-{HELD}"}
            holder.rollback()
            assert (await stage.desk.reply()).saga_id == f"order-{HELD}"
    await inbox.close()
    with psycopg.connect(empty_database_url) as connection:
        left = connection.execute("SELECT DISTINCT quantity FROM stock").fetchall()
    assert left == [(9,)]
