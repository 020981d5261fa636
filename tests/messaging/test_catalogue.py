"""Every kind of bad input that is known is tried, or it is said why not."""

import ast
from pathlib import Path

import pytest

from tests.corpus.catalogue import Kind, entries_by_number, kinds

ROOT = Path(__file__).resolve().parents[2]
KINDS = kinds()


def test_the_catalogue_counts_from_1_to_80() -> None:
    assert [kind.number for kind in KINDS] == list(range(1, 81))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.number}: {kind.input}")
def test_a_kind_of_bad_input_has_entries_or_a_reason_why_not(kind: Kind) -> None:
    entries = entries_by_number().get(kind.number, [])
    assert bool(entries) != bool(kind.why), f"{kind.why}, and {entries}"


def test_no_entry_carries_a_number_that_the_catalogue_does_not_have() -> None:
    assert entries_by_number().keys() <= {kind.number for kind in KINDS}


@pytest.mark.parametrize("test", [test for kind in KINDS for test in kind.tests])
def test_a_test_that_the_catalogue_names_exists(test: str) -> None:
    file, _, name = test.partition("::")
    tree = ast.parse((ROOT / file).read_text())
    kinds_of_function = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert name in {each.name for each in tree.body if isinstance(each, kinds_of_function)}
