"""What keeps sagas whole when commits are lost, each removed by hand: see `sabotage`."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final
from unittest.mock import patch

from orchestrator.reconcile.findings import Finding
from orchestrator.saga import decide, doubt, rules
from orchestrator.saga.draft import Draft
from tests.simulation import aftermath
from tests.simulation.sabotage import Removal


def saga_in_doubt_is_undone() -> AbstractContextManager[Any]:
    return patch.object(decide, "doubt", lambda draft: draft.change(in_doubt=False))


def reply_of_a_lost_life_puts_its_saga_in_doubt() -> AbstractContextManager[Any]:
    return patch.object(decide, "is_of_lost_past", lambda *_: False)


def reply_of_a_lost_life_that_fits_nothing_calls_nobody() -> AbstractContextManager[Any]:
    return patch.object(rules, "is_left_over", lambda *_: False)


def person_is_called_again() -> AbstractContextManager[Any]:
    def forget(draft: Draft, step: Any) -> None:
        """Its letter is believed to be there."""

    return patch.object(doubt, "call_again", forget)


def pivot_in_question_is_told() -> AbstractContextManager[Any]:
    return patch.object(doubt, "_pivot_in_question", lambda _: None)


def what_was_settled_by_hand_is_left_alone() -> AbstractContextManager[Any]:
    return patch.object(aftermath, "settled_by_hand", lambda finding: finding)


@contextmanager
def reconcile_repairs() -> Iterator[None]:
    async def repaired(*_: Any) -> list[Finding]:
        return []

    with patch.object(aftermath, "repaired", repaired):
        yield


RULES: Final[Mapping[str, Removal]] = {
    rule.__name__.replace("_", " "): rule
    for rule in (
        saga_in_doubt_is_undone,
        reply_of_a_lost_life_puts_its_saga_in_doubt,
        reply_of_a_lost_life_that_fits_nothing_calls_nobody,
        person_is_called_again,
        pivot_in_question_is_told,
        what_was_settled_by_hand_is_left_alone,
        reconcile_repairs,
    )
}
