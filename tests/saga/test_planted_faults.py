"""Every fault planted in the rules is found by the law that is about it."""

import pytest
from faults_in_the_table import COLUMNS
from faults_page import PAGE, faults_page
from saga_faults import FAULTS, is_caught
from saga_laws import LAWS
from saga_rules import Fault

from orchestrator.saga.decide import TABLE


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_the_walk_finds_a_planted_fault(fault: Fault) -> None:
    assert is_caught(fault)


def test_there_is_a_fault_for_each_cell_of_the_table() -> None:
    planted = {fault.place for fault in FAULTS}
    for status, row in TABLE.items():
        for column, rule in zip(COLUMNS, row, strict=True):
            if rule is not None:
                assert f"{status} × {column}" in planted


def test_every_fault_is_another_one() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert len({(fault.module, fault.old, fault.new) for fault in FAULTS}) == len(FAULTS)


def test_every_law_finds_a_fault() -> None:
    """A law that no fault breaks might as well say nothing."""
    assert set(LAWS) == {fault.law for fault in FAULTS}


def test_the_page_has_not_drifted() -> None:
    remedy = "run `python tests/saga/faults_page.py > docs/reliability-rules.md`"
    assert PAGE.read_text() == faults_page(), remedy
