"""The pause before a command is sent again, by tenacity's wait strategies, used detached."""

import zlib
from datetime import timedelta

from tenacity import RetryCallState, wait_exponential

from orchestrator.saga.plan import RetryPolicy

_SPREAD = 0.1  # of the pause, either way: growing pauses stay growing
_FLOOR = timedelta(milliseconds=1)


def retry_delay(policy: RetryPolicy, attempt: int, key: str) -> timedelta:
    """The pause after `attempt` (1 or more) has failed.

    Exponential, jittered, capped, never zero. The jitter comes from `key`, so that the same
    decision taken twice computes the same moment.
    """
    pause = _exponential(policy, attempt)
    if policy.jitter:
        share = zlib.crc32(f"{key}|{attempt}".encode()) / 0xFFFFFFFF
        pause *= 1 - _SPREAD + 2 * _SPREAD * share
    return max(min(timedelta(seconds=pause), policy.maximum), _FLOOR)


def _exponential(policy: RetryPolicy, attempt: int) -> float:
    wait = wait_exponential(
        multiplier=policy.initial.total_seconds(),
        exp_base=policy.multiplier,
        max=policy.maximum.total_seconds(),
    )
    state = RetryCallState(None, None, (), {})  # type: ignore[arg-type]
    state.attempt_number = attempt
    return float(wait(state))
