"""The classic mistakes of participants are found, and called by their names."""

from typing import Any

import mistaken_services as shop
import pytest
from sqlalchemy import insert

from orchestrator.testing.drill import Drill
from orchestrator.testing.drill.mistakes import Mistake
from orchestrator.testing.drill.results import Verdict, explained
from participants import Context, Participant
from tests.drill.conftest import Drilled

CASES = [
    (shop.no_idempotency, Mistake.NO_IDEMPOTENCY, ["command-twice", "crash-before-reply"]),
    (
        shop.compensation_not_idempotent,
        Mistake.COMPENSATION_NOT_IDEMPOTENT,
        ["undo-command-twice", "undo-reply-lost", "undo-crash-before-ack"],
    ),
    (
        shop.compensation_needs_result,
        Mistake.COMPENSATION_NEEDS_RESULT,
        ["reply-lost", "reply-too-late"],
    ),
    (shop.compensation_raises, Mistake.COMPENSATION_NEEDS_RESULT, ["reply-lost"]),
    (shop.failure_not_sticky, Mistake.FAILURE_NOT_STICKY, ["fails-then-again"]),
    (
        shop.action_after_compensation,
        Mistake.ACTION_AFTER_COMPENSATION,
        ["command-late", "command-overtaken"],
    ),
]


@pytest.mark.parametrize(("drill", "mistake", "faults"), CASES)
async def test_a_planted_mistake_is_found_and_named(
    drill: Drill, mistake: Mistake, faults: list[str], drilled: Drilled
) -> None:
    results = await drilled(drill, "pay", *faults)
    assert [each.verdict for each in results] == [Verdict.BROKE] * len(faults)
    assert {each.finding.mistake for each in results if each.finding} == {mistake}
    assert {each.finding.breach.step for each in results if each.finding} == {"pay"}


@pytest.mark.parametrize("drill", [shop.no_idempotency, shop.failure_not_sticky])
async def test_a_mistake_shows_only_where_it_does_harm(drill: Drill, drilled: Drilled) -> None:
    calm = [
        "fails",
        "command-lost",
        "undo-fails",
        "undo-command-twice",
        "orchestrator-after-commit",
    ]
    results = await drilled(drill, "pay", *calm)
    assert [each.verdict for each in results] == [Verdict.PASSED] * len(calm)


async def test_careful_services_need_no_guard(drilled: Drilled) -> None:
    careful = shop.drilled(shop.careful_action, shop.careful_compensation)
    faults = ["command-twice", "command-late", "reply-lost", "undo-command-again", "breaks"]
    results = await drilled(careful, "pay", *faults)
    assert [each.verdict for each in results] == [Verdict.PASSED] * len(faults)


async def test_the_guard_holds_what_the_services_forget(drilled: Drilled) -> None:
    hasty = shop.drilled(shop.hasty_action, shop.hasty_compensation, is_guarded=True)
    faults = ["command-twice", "crash-before-reply", "undo-command-twice", "undo-reply-lost"]
    results = await drilled(hasty, "pay", *faults)
    assert [each.verdict for each in results] == [Verdict.PASSED] * len(faults)


async def test_an_effect_outside_the_transaction_is_found_behind_the_guard(
    drilled: Drilled,
) -> None:
    provider: list[str] = []
    bank = Participant("Bank")

    @bank.action("Pay", external=True)
    async def pay(command: dict[str, Any], context: Context) -> None:
        provider.append(context.step_name)

    @bank.compensation("Refund")
    async def refund(command: dict[str, Any], context: Context) -> None:
        provider.clear()

    async def booked(connection: object, saga_id: str) -> dict[str, int]:
        return {"pay": len(provider)}

    async def forget(connection: object) -> None:
        provider.clear()

    drill = Drill(saga=shop.Shop, services=[bank], inputs={"one": {}}, ledger=booked, fill=forget)
    for fault in ("stumbles", "crash-before-commit"):
        provider.clear()
        [result] = await drilled(drill, "pay", fault)
        assert result.finding is not None
        assert result.finding.mistake is Mistake.NO_IDEMPOTENCY, fault


async def test_a_step_without_a_way_back_is_found(drilled: Drilled) -> None:
    class Letter(shop.Shop):
        saga_type = "Letter"

        def define_steps(self, data: dict[str, Any]) -> list[Any]:
            return [shop.SagaStep("pay", "Bank.Pay")]

    bank = Participant("Bank")
    bank.prepare(shop.create_missing)

    @bank.action("Pay")
    async def pay(command: dict[str, Any], context: Context) -> None:
        row = {"saga_id": context.saga_id, "step": "pay", "kind": "done"}
        await context.session.execute(insert(shop.entries).values(row))

    drill = Drill(saga=Letter, services=[bank], inputs={"one": {}}, ledger=shop.ledger)
    [result] = await drilled(drill, "pay", "reply-lost")
    assert result.finding is not None
    assert result.finding.mistake is Mistake.NO_WAY_BACK


async def test_the_story_is_short_and_ends_with_the_remedy(drilled: Drilled) -> None:
    results = await drilled(shop.compensation_raises, "pay", "reply-lost", "reply-too-late")
    [one] = explained(results)
    assert len(one.elsewhere) == 1
    assert one.shortest.story[-1].startswith("remedy: find what is to be undone by context.saga_id")
    assert "… these 9 lines 4 more times …" in one.shortest.story
    assert len(one.shortest.story) <= 20
