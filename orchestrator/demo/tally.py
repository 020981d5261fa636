"""What the demo hears of its programs while they work."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final

from chassis.facts import (
    CommandHandled,
    ConnectionChanged,
    DeadLettered,
    Fact,
    LateReply,
    MessageRejected,
    Noticed,
    SagaAdvanced,
)
from dlq_worker.notices import Notice
from messaging.contract import Direction
from orchestrator.saga.state import SagaState

_FINAL: Final = frozenset(state.value for state in SagaState if state.is_final)
_LOUD: Final = frozenset({"warning", "error"})
_MOST_REMARKS: Final = 20


class Tally:
    """Counts facts, receives alerts, and keeps remarks: what nobody expects in the demo."""

    name = "demo"  # as a receiver of alerts

    def __init__(self, expected: int) -> None:
        self.expected: Final = expected
        self.placed = 0
        self.commands: Final = Counter[Direction]()
        self.retries = 0  # of compensations, by the orchestrator
        self.given_up: Final[set[str]] = set()  # sagas with a dead letter
        self.remarks: Final[list[str]] = []
        self.notices: Final[list[Notice]] = []
        self._states: Final[dict[str, str]] = {}
        self._in_state: Final = Counter[str]()
        self._settled: Final[set[str]] = set()
        self._moved = asyncio.Event()
        self._is_stopped = False

    def observe(self, fact: Fact) -> None:
        """Facts of all programs come here."""
        match fact:
            case SagaAdvanced():
                self._advanced(fact)
            case CommandHandled():
                self.commands[Direction(fact.direction)] += 1
                self._moved.set()
            case DeadLettered(saga_id=str(saga_id)):
                self.given_up.add(saga_id)
            case LateReply(kind="duplicate"):
                pass  # the answer to a replay that has failed again
            case LateReply() | MessageRejected():
                self.remark(str(fact))
            case ConnectionChanged(up=False):
                self.remark(f"{fact.peer} lost: {fact.detail}")
            case Noticed() if fact.level in _LOUD:
                self.remark(f"{fact.message} {dict(fact.details)}")
            case _:
                pass

    async def send(self, notice: Notice) -> None:
        """Alerts come here: whoever gets one has no longer to wait for its saga."""
        self.notices.append(notice)
        if notice.saga_id is not None:
            self._settled.add(notice.saga_id)
        self._moved.set()

    def remark(self, text: str) -> None:
        if len(self.remarks) < _MOST_REMARKS:
            self.remarks.append(text)

    def stop(self) -> None:
        """Somebody does not want to wait any longer."""
        self._is_stopped = True
        self._moved.set()

    async def wait_while(self, condition: Callable[[], bool], patience: float) -> bool:
        """False if nothing moves for so many seconds, or on `stop`."""
        while not self._is_stopped and condition():
            self._moved.clear()
            try:
                await asyncio.wait_for(self._moved.wait(), patience)
            except TimeoutError:
                return False
        return not self._is_stopped

    @property
    def begun(self) -> int:
        return len(self._states)

    @property
    def ended(self) -> int:
        return sum(self._in_state[state] for state in _FINAL)

    @property
    def under_way(self) -> int:
        """Orders that are placed, and neither ended nor handed over to a person."""
        return self.placed - len(self._settled)

    def count(self, state: SagaState) -> int:
        """How many sagas are in this state now."""
        return self._in_state[state]

    def _advanced(self, fact: SagaAdvanced) -> None:
        before = self._states.get(fact.saga_id)
        if before is not None:
            self._in_state[before] -= 1
        self._states[fact.saga_id] = fact.state
        self._in_state[fact.state] += 1
        if fact.state in _FINAL:
            self._settled.add(fact.saga_id)
        self.retries += len(fact.compensation_retries)
        self._moved.set()
