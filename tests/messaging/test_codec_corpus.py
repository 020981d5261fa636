"""Every message of the corpus meets its expected fate, and nothing else is ever raised."""

from collections.abc import Callable
from typing import Any

import pytest

from messaging import codec
from messaging.errors import ProtocolError
from messaging.port import Delivery
from messaging.topology import Names
from tests.corpus import ACCEPTED, QUEUES, Entry, entries

DECODE: dict[str, Callable[[Delivery], Any]] = {
    "replies": codec.decode_reply,
    "starts": codec.decode_start,
    "commands": codec.decode_command,
}
CORPUS = [entry for queue in QUEUES for entry in entries(queue)]


def _fate(entry: Entry) -> str:
    try:
        DECODE[entry.queue](entry.delivery())
    except ProtocolError as error:
        return error.reason
    return ACCEPTED


@pytest.mark.parametrize(
    "entry", CORPUS, ids=[f"{entry.queue}: {entry.name}".replace("::", ":") for entry in CORPUS]
)
def test_a_message_of_the_corpus_meets_its_fate(entry: Entry) -> None:
    assert _fate(entry) == entry.expected


@pytest.mark.parametrize("queue", QUEUES)
def test_the_corpus_names_every_entry_once_and_knows_both_fates(queue: str) -> None:
    names = [entry.name for entry in entries(queue)]
    assert len(names) == len(set(names)) > 100
    fates = {entry.expected for entry in entries(queue)}
    assert {ACCEPTED, "bad_json", "too_deep", "bad_field", "unknown_type", "too_large"} <= fates


def test_every_rejected_message_of_the_corpus_can_go_to_the_dead_letters() -> None:
    for entry in CORPUS:
        copy = codec.rejected(Names(), entry.delivery(), entry.expected, "detail")
        assert copy.headers["saga-reason"] == entry.expected
        assert len(copy.body) <= 256 * 1024


def test_an_entry_can_be_addressed_to_any_saga() -> None:
    [entry] = [each for each in entries("replies") if each.name == "no result"]
    decoded = codec.decode_reply(entry.addressed_to("another").delivery())
    assert decoded.saga_id == "another"
