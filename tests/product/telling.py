"""Tells the orchestrator the stories of the corpus, and looks how they end."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

from aio_pika import Message, connect
from aio_pika.abc import AbstractChannel

from tests.corpus.stories import Said, Story, start_of, stories
from tests.product import audit
from tests.product.installation import Place
from tests.product.poison_storm import reasons_of_letters

SECONDS = 30.0


def stories_at(place: Place) -> tuple[Story, ...]:
    """All stories, told by the user that the installation's programs log in as."""
    return stories(user_of(place))


def user_of(place: Place) -> str:
    return unquote(urlsplit(place.amqp_url).username or "guest")


async def tell(place: Place, told: Sequence[Story]) -> None:
    """Every start, and when all these sagas are there, everything else in turn."""
    async with await connect(place.amqp_url, timeout=10) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        for story in told:
            await _say(channel, place, start_of(story))
        async with asyncio.timeout(SECONDS):
            while not {story.saga_id for story in told} <= audit.states(place).keys():
                await asyncio.sleep(0.05)
        for story in told:
            for said in story.messages:
                await _say(channel, place, said)


def otherwise(place: Place, told: Sequence[Story]) -> list[str]:
    """The stories that have not ended as they should, and how they stand."""
    states, letters = audit.states(place), reasons_of_letters(place)
    found = []
    for story in told:
        state, reasons = states.get(story.saga_id), letters.get(story.saga_id, set())
        if state != story.state or reasons - story.perhaps != story.letters:
            found.append(f"{story.name} ({story.saga_id}): {state}, {sorted(reasons)}")
    return found


def late_replies(told: Sequence[Story]) -> Counter[str]:
    """How often each kind of late reply is to be counted, at least."""
    return Counter(kind for story in told for kind in story.late)


async def _say(channel: AbstractChannel, place: Place, said: Said) -> None:
    names = place.names
    exchange = await channel.get_exchange(
        names.starts if said.is_start else names.replies, ensure=False
    )
    message = Message(
        said.body,
        content_type="application/json",
        delivery_mode=2,
        headers=dict(said.headers),
        **said.properties,
    )
    await exchange.publish(message, said.properties["type"])
