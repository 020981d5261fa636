"""What a saga author writes: SagaOrchestrator, SagaStep, RetryPolicy, LockPolicy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from orchestrator.saga.locking import LockPolicy
from orchestrator.saga.plan import RetryPolicy

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = [
    "LockPolicy",
    "RetryPolicy",
    "SagaOrchestrator",
    "SagaStep",
]


@dataclass(frozen=True, slots=True)
class SagaStep:
    """One step: a command to a participant, and the command that undoes it.

    `action` and `compensation` are `Participant.Command`; without a compensation there is
    nothing to undo. `timeout` is how long a reply is awaited. `payload` lists the keys of the
    saga's data that the commands carry (default: all). After a step with `pivot` has completed
    nothing is compensated any more: the steps after it are retried until they succeed or a
    person is called. `command` and `result`, pydantic models of what the action carries and what
    it answers, go into the contract with the participant; nothing is checked by them while a
    saga runs. See docs/guides/writing-a-saga.md and docs/guides/contracts.md.
    """

    name: str
    action: str
    compensation: str | None = None
    timeout: timedelta | None = None
    retry: RetryPolicy | None = None
    compensation_retry: RetryPolicy | None = None
    on_timeout: Literal["compensate", "resend"] = "compensate"
    payload: Sequence[str] | None = None
    pivot: bool = False
    command: "type[BaseModel] | None" = None
    result: "type[BaseModel] | None" = None


class SagaOrchestrator:
    """A saga definition. Subclass it, name its `saga_type`, and define its steps.

    `STEP_TIMEOUTS` gives timeouts by step name; a step's own `timeout` wins; the default is
    5 minutes. `on_compensation_exhausted` says whether earlier compensations wait for the
    operator ("halt") or go ahead ("continue") when one has failed for good. `on_locked` says what
    becomes of a saga that finds one of its `locks` taken: it waits in line ("wait"), in one that
    is bounded ("queue", or a LockPolicy), or fails at once ("refuse").

    `examples` are data that such sagas start with, one for each plan worth showing: diagrams and
    contracts are drawn from them, and each must have a plan. `input` is a pydantic model of
    those data, for the contract alone.
    """

    saga_type: ClassVar[str] = ""
    STEP_TIMEOUTS: ClassVar[Mapping[str, timedelta]] = {}
    on_compensation_exhausted: ClassVar[Literal["halt", "continue"]] = "halt"
    on_locked: ClassVar[LockPolicy | Literal["wait", "queue", "refuse"]] = "wait"
    examples: ClassVar[Sequence[Mapping[str, Any]]] = ()
    input: "ClassVar[type[BaseModel] | None]" = None

    def define_steps(self, data: dict[str, Any]) -> "list[SagaStep | list[SagaStep]]":
        """The steps for a saga with this data, computed once, when it starts.

        A list inside the list is a stage whose steps run in parallel.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no steps")

    def locks(self, data: dict[str, Any]) -> Sequence[str]:
        """What no other saga may be at while this one is, for example `["order:42"]`.

        All are taken before the first step, and let go when the saga has ended.
        """
        return ()
