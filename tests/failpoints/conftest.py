"""A place of its own for each installation, on the servers that all tests share."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.product.installation import Place
from tests.product.places import drop_database, new_place, remove_topology


@pytest.fixture
def place(amqp_url: str, postgres_url: str) -> Iterator[Place]:
    place = new_place(amqp_url, postgres_url)
    yield place
    for url in (place.saga_database, place.shop_database):
        drop_database(postgres_url, url)
    asyncio.run(remove_topology(place))
