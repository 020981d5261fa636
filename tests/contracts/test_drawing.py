"""Diagrams: every stage, compensation, timeout and pivot, well formed, the same each time."""

import re
from datetime import timedelta
from itertools import combinations
from xml.etree import ElementTree as ET

import pytest
from contract_sagas import define, outlined

from orchestrator.contracts.drawing.svg import svg
from orchestrator.contracts.drawing.texts import Drawn, dot, mermaid
from orchestrator.contracts.outlines import outlines_of
from orchestrator.definition import SagaOrchestrator, SagaStep
from orchestrator.registry import load_definitions

EXAMPLES = ["approval", "bank_transfer", "order_fulfillment", "shop_order", "travel_booking"]
DRAWINGS = (mermaid, dot, svg)
ODD = SagaStep('<a> & "b" \\ #1', "Till.Charge", "Till.Refund")


def drawn(*definitions: SagaOrchestrator) -> Drawn:
    return [(outline, each) for outline in outlined(*definitions) for each in outline.layouts]


def examples() -> Drawn:
    modules = [f"orchestrator.examples.{name}" for name in EXAMPLES]
    outlines = outlines_of(load_definitions(modules))
    return [(outline, each) for outline in outlines for each in outline.layouts]


@pytest.mark.parametrize("draw", DRAWINGS)
def test_a_drawing_has_all_that_there_is(draw: object) -> None:
    assert callable(draw)
    text = draw(examples())
    for outline, layout in examples():
        assert outline.saga_type in text
        for step in layout.plan:
            assert step.name in text
            assert step.action in text
            assert step.compensation is None or f"undo: {step.compensation}" in text
    assert "waits 15m" in text
    assert "waits 5m, up to 20 times" in text
    assert "point of no return" in text
    assert "TravelBooking · example 2" in text


@pytest.mark.parametrize("draw", DRAWINGS)
def test_the_same_definitions_give_the_same_bytes(draw: object) -> None:
    assert callable(draw)
    assert draw(examples()) == draw(examples())


def test_the_svg_is_well_formed_and_names_are_escaped() -> None:
    root = ET.fromstring(svg(drawn(define(ODD))))  # noqa: S314  # our own
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert ODD.name in texts


def test_odd_names_end_no_text_in_mermaid_or_dot() -> None:
    assert '"<b>#lt;a#gt; #amp; #quot;b#quot; \\ #35;1</b>' in mermaid(drawn(define(ODD)))
    assert r'label="<a> & \"b\" \\ #1\n' in dot(drawn(define(ODD)))


def test_no_card_lies_over_another_or_outside() -> None:
    root = ET.fromstring(svg(examples()))  # noqa: S314  # our own
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    cards = [
        tuple(float(each.attrib[name]) for name in ("x", "y", "width", "height"))
        for each in root.iter("{http://www.w3.org/2000/svg}rect")
        if each.attrib.get("class") in {"card", "pivot", "end", "good", "bad"}
    ]
    assert len(cards) > 30
    for x, y, w, h in cards:
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height
    for (x, y, w, h), (left, top, wide, high) in combinations(cards, 2):
        assert x + w <= left or left + wide <= x or y + h <= top or top + high <= y


def test_the_way_back_ends_at_the_point_of_no_return() -> None:
    steps = (
        SagaStep("hold", "Till.Hold", "Till.Release"),
        SagaStep("pay", "Bank.Pay", pivot=True, timeout=timedelta(hours=2)),
        SagaStep("book", "Ledger.Book"),
    )
    text = svg(drawn(define(*steps)))
    back = re.findall(r'class="wayback" d="M([\d.]+)', text)
    line = re.findall(r'class="line" d="M([\d.]+)', text)
    assert len(back) == 2  # from the pivot, which may refuse, and from the first step
    assert max(map(float, back)) < float(line[0])
    assert "waits 2h" in text
