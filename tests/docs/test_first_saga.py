"""The guide to a first saga, typed word by word: what it prints is what the page shows."""

from collections.abc import AsyncIterator
from pathlib import Path

import aio_pika
import pytest
from blocks import blocks_of, shell_of
from test_readme_walk import LIMIT, lasting, printed_by

from messaging.topology import Names

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "your-first-saga.md"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(LIMIT + 60)]


@pytest.fixture
async def settings(amqp_url: str, names: Names) -> AsyncIterator[dict[str, str]]:
    yield {
        "SAGA_AMQP_URL": amqp_url,
        "SAGA_DATABASE_URL": "sqlite:///sagas.db",
        "SAGA_INBOX_URL": "sqlite:///shop.db",
        "SAGA_NAMESPACE": names.namespace,
        "SAGA_HTTP_PORT": "0",
    }
    async with await aio_pika.connect(amqp_url, timeout=10) as connection:
        channel = await connection.channel()
        for service in ("Till", "Van"):
            await channel.queue_delete(names.commands_for(service))


async def test_the_first_saga_is_done_and_the_second_undone(
    settings: dict[str, str], tmp_path: Path
) -> None:
    printed = await printed_by("\n".join(shell_of(PAGE)), tmp_path, settings)
    shown = [
        line for each in blocks_of(PAGE) if each.language == "text" for line in lasting(each.text)
    ]
    assert len(shown) > 10
    assert [line for line in shown if line not in lasting(printed)] == [], printed
    for program in ("orchestrator", "participants"):
        assert "is stopping" in (tmp_path / f"{program}.log").read_text()
