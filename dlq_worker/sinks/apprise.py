"""Alerts to whatever apprise can reach: mail, Slack, PagerDuty, and a hundred others."""

import hashlib
from typing import Any

from dlq_worker.notices import Notice
from dlq_worker.sinks.lane import Lane
from dlq_worker.sinks.port import SinkFailed
from dlq_worker.statuses import Severity
from messaging.errors import ConfigurationError


class AppriseSink:
    """One apprise URL. Its name shows the scheme and a digest: the rest may be a secret."""

    def __init__(self, url: str) -> None:
        scheme = url.partition("://")[0]
        digest = hashlib.sha256(url.encode()).hexdigest()[:8]
        self.name = f"apprise-{scheme}-{digest}"
        self._service = _service_for(url, scheme)
        self._lane = Lane(self.name)

    async def send(self, notice: Notice) -> None:
        await self._lane.run(lambda: self._notify(notice))

    def _notify(self, notice: Notice) -> None:
        told = "resolved" if notice.is_resolved else notice.severity.value
        is_sent = self._service.notify(
            title=f"[{told}] {notice.title}", body=text_of(notice), notify_type=_kind_of(notice)
        )
        if not is_sent:
            raise SinkFailed(f"{self.name} could not deliver it; apprise logs why")


def text_of(notice: Notice) -> str:
    """What a person reads on a phone."""
    lines = [
        notice.summary,
        f"error: {notice.error}" if notice.error else None,
        f"open dead letters: {notice.letters}",
        *notice.commands,
        notice.link,
    ]
    return "\n".join(filter(None, lines))


def _kind_of(notice: Notice) -> str:
    if notice.is_resolved:
        return "success"
    return "failure" if notice.severity is Severity.CRITICAL else "warning"


def _service_for(url: str, scheme: str) -> Any:
    try:
        import apprise  # noqa: PLC0415  # an extra, and slow to load
    except ImportError:
        raise ConfigurationError(
            "SAGA_ALERT_APPRISE_URLS needs apprise; run: pip install 'countermand[alerts]'"
        ) from None
    service = apprise.Apprise()
    if not service.add(url):
        raise ConfigurationError(
            f"SAGA_ALERT_APPRISE_URLS has a {scheme}:// URL that apprise cannot use; "
            "see `apprise --details` for the form of each"
        )
    return service
