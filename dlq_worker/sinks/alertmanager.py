"""Alerts to a Prometheus Alertmanager, by its API v2."""

import json
from datetime import datetime, timedelta
from typing import Any, Final

from dlq_worker.notices import Notice
from dlq_worker.sinks.http import JsonPoster

# It takes an alert for resolved that nobody renews. Ours is until we say so: a round comes
# every quarter of an hour, none while it is acknowledged, and none while we are down.
_STANDS_FOR: Final = timedelta(days=7)


class AlertmanagerSink:
    name = "alertmanager"

    def __init__(self, base_url: str, *, timeout: float) -> None:
        self._poster = JsonPoster(self.name, f"{base_url.rstrip('/')}/api/v2/alerts", timeout)

    async def send(self, notice: Notice) -> None:
        await self._poster.post(json.dumps([alert_of(notice)]).encode(), {})


def alert_of(notice: Notice) -> dict[str, Any]:
    """The alert as Alertmanager knows it: its labels are its identity, so they never change."""
    labels = {
        "alertname": "SagaNeedsPerson" if notice.is_about_step else "SagaDeadLetters",
        "service": "countermand",
        "severity": notice.severity.value,
        "alert_id": str(notice.alert_id),
        "reason": notice.reason,
        "saga_type": notice.saga_type,
        "saga_id": notice.saga_id if notice.is_about_step else None,
        "step": notice.step_name if notice.is_about_step else None,
    }
    annotations = {
        "summary": notice.title,
        "description": notice.summary,
        "error": notice.error,
        "dead_letters_open": str(notice.letters),
        "next": "\n".join(notice.commands),
    }
    alert = {
        "labels": _without_gaps(labels),
        "annotations": _without_gaps(annotations),
        "startsAt": notice.created_at.isoformat(),
        "endsAt": _ends_at(notice).isoformat(),
    }
    return alert | ({"generatorURL": notice.link} if notice.link else {})


def _ends_at(notice: Notice) -> datetime:
    if notice.is_resolved:
        return notice.closed_at or notice.created_at
    return notice.sent_at + _STANDS_FOR


def _without_gaps(values: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}
