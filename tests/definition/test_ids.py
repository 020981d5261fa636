"""Saga ids: UUIDs that sort by time, drawn or computed."""

import uuid
from datetime import UTC, datetime, timedelta

from messaging.contract import SAGA_ID
from orchestrator.ids import new_saga_id, saga_id_for

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_drawn_id_is_a_uuid_of_version_7() -> None:
    drawn = uuid.UUID(new_saga_id())
    assert (drawn.version, drawn.variant) == (7, uuid.RFC_4122)


def test_drawn_ids_differ_and_sort_by_the_millisecond() -> None:
    drawn = [new_saga_id() for _ in range(1000)]
    assert len(set(drawn)) == 1000
    stamps = [each[:13] for each in drawn]
    assert stamps == sorted(stamps)


def test_the_id_for_a_message_is_the_same_when_it_comes_again() -> None:
    assert saga_id_for("m1", NOON) == saga_id_for("m1", NOON)
    assert saga_id_for("m1", NOON) != saga_id_for("m2", NOON)


def test_the_id_for_a_message_sorts_by_when_it_was_sent() -> None:
    later = NOON + timedelta(milliseconds=1)
    assert saga_id_for("z", NOON) < saga_id_for("a", later)
    stamp = uuid.UUID(saga_id_for("m1", NOON)).int >> 80
    assert stamp == int(NOON.timestamp() * 1000)


def test_the_id_for_a_message_without_a_time_is_a_uuid_too() -> None:
    computed = uuid.UUID(saga_id_for("m1", None))
    assert (computed.version, computed.variant) == (7, uuid.RFC_4122)
    assert computed.int >> 80 == 0


def test_the_id_for_any_identity_is_one_that_the_contract_allows() -> None:
    for identity in ("", "\ud800", "ü" * 1000, "\0"):
        assert SAGA_ID.fullmatch(saga_id_for(identity, NOON))


def test_a_time_before_the_epoch_does_no_harm() -> None:
    assert uuid.UUID(saga_id_for("m1", datetime(1901, 1, 1, tzinfo=UTC))).version == 7
