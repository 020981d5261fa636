"""Alerts in the program's own log: always there, and never fails."""

from chassis.facts import Noticed, Observe
from dlq_worker.notices import Notice


class LogSink:
    name = "log"

    def __init__(self, observe: Observe) -> None:
        self._observe = observe

    async def send(self, notice: Notice) -> None:
        told = "alert closed" if notice.is_resolved else "a person is needed"
        details = {
            "alert": notice.alert_id,
            "severity": notice.severity.value,
            "reason": notice.reason,
            "summary": notice.summary,
            "saga_id": notice.saga_id,
            "saga_type": notice.saga_type,
            "step": notice.step_name,
            "error": notice.error,
            "dead_letter": notice.letter_id,
            "dead_letters_open": notice.letters,
            "round": notice.round,
            "next": " | ".join(notice.commands),
        }
        level = "info" if notice.is_resolved else "error"
        message = f"{told}: {notice.title}"
        self._observe(Noticed(level=level, message=message, details=details))
