"""Facts go out once; here they reach every listener."""

import logging
from typing import Final

from chassis.facts import Fact, Observe
from chassis.rates import Passage, RateLimit

_COMPLAINTS_PER_SECOND: Final = 1
_log = logging.getLogger(__name__)


def fan_out(*listeners: Observe) -> Observe:
    """A listener that passes each fact to all. One that raises is logged and harms nobody."""
    complaints = RateLimit(_COMPLAINTS_PER_SECOND)

    def observe(fact: Fact) -> None:
        for listener in listeners:
            try:
                listener(fact)
            except Exception:
                passage, _ = complaints.admit(type(fact).__name__)
                if passage is not Passage.NO:
                    _log.exception("a listener could not take a %s", type(fact).__name__)

    return observe
