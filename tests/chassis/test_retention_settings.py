"""How long things are kept: durations, and words for ever."""

from datetime import timedelta

import pytest

from chassis.durations import parse_retention
from chassis.settings import DlqSettings, OrchestratorSettings, load
from messaging.errors import ConfigurationError

DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("30d", 30 * DAY),
        ("1h", DAY / 24),
        ("86400", DAY),
        ("never", None),
        (" Never ", None),
        ("0", None),
        ("0s", None),
        (7 * DAY, 7 * DAY),
        (None, None),
    ],
)
def test_a_retention_is_a_duration_or_for_ever(text: object, kept: timedelta | None) -> None:
    assert parse_retention(text) == kept


@pytest.mark.parametrize("text", ["59m", "1s", "-1d", "forever", "11y", "99999d"])
def test_another_one_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_RETENTION_COMPLETED", text)
    with pytest.raises(ConfigurationError, match=rf"^SAGA_RETENTION_COMPLETED={text}: .*write "):
        load(OrchestratorSettings)


def test_by_default_completed_sagas_go_after_a_month_and_failed_ones_after_half_a_year() -> None:
    settings = load(OrchestratorSettings)
    assert (settings.retention_completed, settings.retention_failed) == (30 * DAY, 180 * DAY)
    assert load(DlqSettings).retention_failed == 180 * DAY
