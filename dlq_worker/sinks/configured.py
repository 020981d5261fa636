"""The sinks that the settings ask for."""

import time
from collections.abc import Sequence

from chassis.facts import Observe
from chassis.settings import DlqSettings
from dlq_worker.sinks.alertmanager import AlertmanagerSink
from dlq_worker.sinks.apprise import AppriseSink
from dlq_worker.sinks.log import LogSink
from dlq_worker.sinks.port import Sink
from dlq_worker.sinks.webhook import WebhookSink


def sinks_for(settings: DlqSettings, observe: Observe) -> Sequence[Sink]:
    """The log, and what is configured. Raises ConfigurationError."""
    timeout = settings.alert_timeout.total_seconds()
    sinks: list[Sink] = [LogSink(observe)]
    if settings.alert_webhook_url:
        secret = settings.alert_webhook_secret
        webhook = WebhookSink(
            settings.alert_webhook_url.get_secret_value(),
            secret=secret.get_secret_value() if secret else None,
            timeout=timeout,
            clock=time.time,
        )
        sinks.append(webhook)
    if settings.alertmanager_url:
        url = settings.alertmanager_url.get_secret_value()
        sinks.append(AlertmanagerSink(url, timeout=timeout))
    urls = dict.fromkeys(url.get_secret_value() for url in settings.alert_apprise_urls)
    return [*sinks, *(AppriseSink(url) for url in urls)]
