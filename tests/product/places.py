"""Fresh databases and namespaces, and their removal."""

import asyncio
import uuid
from urllib.parse import urlsplit, urlunsplit

import aio_pika
import psycopg
from psycopg import sql

from orchestrator.store.stores import store_for
from tests.product.audit import queues_of
from tests.product.installation import Place
from tests.product.listeners import heard_by_listeners


def new_place(amqp_url: str, postgres_url: str) -> Place:
    """Two fresh databases, the first with our schema, and a namespace."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    place = Place(
        amqp_url=amqp_url,
        saga_database=create_database(postgres_url, f"{name}_sagas"),
        shop_database=create_database(postgres_url, f"{name}_shop"),
        namespace=name.replace("_", "-"),
    )
    asyncio.run(_upgrade(place.saga_database))
    return place


def create_database(postgres_url: str, name: str) -> str:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}"))


def drop_database(postgres_url: str, url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        connection.execute(drop.format(sql.Identifier(urlsplit(url).path[1:])))


async def _upgrade(url: str) -> None:
    store = store_for(url)
    await store.upgrade()
    await store.close()


async def remove_topology(place: Place) -> None:
    async with await aio_pika.connect(place.amqp_url, timeout=10) as connection:
        channel = await connection.channel()
        for queue in (*queues_of(place.names), heard_by_listeners(place)):
            await channel.queue_delete(queue)
        for exchange in place.names.exchanges():
            await channel.exchange_delete(exchange.name)
