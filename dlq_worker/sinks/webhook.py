"""Alerts as signed JSON posts to a URL."""

import hashlib
import hmac
import json
from collections.abc import Callable

from dlq_worker.notices import Notice
from dlq_worker.sinks.http import JsonPoster


class WebhookSink:
    """Posts `Notice.to_json()`.

    `Saga-Signature` is `v1=` and the HMAC-SHA256, in hexadecimal digits, of the header
    `Saga-Timestamp`, a dot and the body: receivers refuse what is old or signed otherwise.
    `Idempotency-Key` tells a repetition from news.
    """

    name = "webhook"

    def __init__(
        self, url: str, *, secret: str | None, timeout: float, clock: Callable[[], float]
    ) -> None:
        self._poster = JsonPoster(self.name, url, timeout)
        self._secret = secret
        self._clock = clock

    async def send(self, notice: Notice) -> None:
        body = json.dumps(notice.to_json()).encode()
        timestamp = str(int(self._clock()))
        headers = {"Idempotency-Key": notice.id, "Saga-Timestamp": timestamp}
        if self._secret:
            headers["Saga-Signature"] = signature_for(self._secret, timestamp, body)
        await self._poster.post(body, headers)


def signature_for(secret: str, timestamp: str, body: bytes) -> str:
    """The value of `Saga-Signature`."""
    signed = b"%s.%s" % (timestamp.encode(), body)
    return f"v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"
