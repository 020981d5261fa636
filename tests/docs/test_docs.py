"""What the pages show is so: commands, settings, metrics, code. Links are test_house.py's."""

import ast
import importlib
import re
from pathlib import Path

import pytest
from pages import FENCE
from shown_commands import is_name_of_command, mentioned_in, problem_with, shown_in

from orchestrator.definition import SagaOrchestrator
from orchestrator.registry import Registry

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
GENERATED = DOCS / "reference"
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted(page for page in DOCS.rglob("*.md") if "node_modules" not in page.parts),
]
WRITTEN = [page for page in PAGES if page.parent != GENERATED]
NAMES = [str(page.relative_to(ROOT)) for page in WRITTEN]
PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)#\s]+\.md)")
# Variables that no program of ours reads: the tests' own, and one of the systemd units.
OTHER_VARIABLES = re.compile(r"SAGA_(TEST_\w+|PRODUCT_\w+|CHAOS_\w+|FAILPOINTS|MODULES)")
METRIC = re.compile(r"\bsaga_\w+_(?:total|seconds|count|open|size|up|info)\b")

every_page = pytest.mark.parametrize("page", WRITTEN, ids=NAMES)


def _python(page: Path) -> list[ast.Module]:
    blocks = PYTHON.findall(page.read_text())
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    return [compile(block, str(page), "exec", flags) for block in blocks]


def _linked_from(page: Path) -> set[Path]:
    return {(page.parent / target).resolve() for target in LINK.findall(page.read_text())}


@every_page
def test_every_command_line_is_one_that_saga_takes(page: Path) -> None:
    problems = {" ".join(line): problem_with(line) for line in shown_in(page)}
    problems |= {
        " ".join(line): problem_with(line)
        for line in mentioned_in(page)
        if not is_name_of_command(line)
    }
    assert {line: problem for line, problem in problems.items() if problem} == {}


def test_command_lines_are_found() -> None:
    shown = [line for page in WRITTEN for line in shown_in(page)]
    assert ["dlq", "run"] in shown
    assert ["start", "OrderFulfillment", "--id", "order-42", "--data", "@order.json", "--wait"] in (
        shown
    )
    assert problem_with(["start"]) is not None
    assert problem_with(["dlq", "resolve", "17"]) is not None
    assert problem_with(["strat", "Trip"]) is not None


@every_page
def test_every_setting_is_in_the_reference(page: Path) -> None:
    known = set(re.findall(r"SAGA_\w+", (GENERATED / "settings.md").read_text()))
    named = set(re.findall(r"\bSAGA_[A-Z_]+[A-Z]\b", page.read_text()))
    unknown = {name for name in named - known if not OTHER_VARIABLES.fullmatch(name)}
    assert unknown - {f"{name}_FILE" for name in known} == set()


@every_page
def test_every_metric_is_in_the_reference(page: Path) -> None:
    known = set(METRIC.findall((GENERATED / "metrics.md").read_text()))
    assert set(METRIC.findall(page.read_text())) - known == set()


@every_page
def test_every_example_in_python_compiles_and_its_imports_are_there(page: Path) -> None:
    for node in (node for tree in _python(page) for node in ast.walk(tree)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module or "")
            missing = [each.name for each in node.names if not hasattr(module, each.name)]
            assert missing == []


@pytest.mark.parametrize(
    "name", ["README.md", "docs/guides/writing-a-saga.md", "docs/guides/locks.md"]
)
def test_every_definition_shown_is_accepted(name: str) -> None:
    accepted = 0
    for tree in _python(ROOT / name):
        if any(isinstance(node, ast.AsyncWith) for node in tree.body):
            continue  # a client at work
        scope: dict[str, object] = {}
        exec(compile(tree, name, "exec"), scope)  # noqa: S102  # our own page
        for each in list(scope.values()):
            if isinstance(each, type) and issubclass(each, SagaOrchestrator) and each.saga_type:
                Registry([each()])
                accepted += 1
            elif callable(each) and getattr(each, "__name__", "").startswith("test_"):
                each()
    assert accepted >= 1


def test_the_index_leads_to_every_page() -> None:
    index = DOCS / "index.md"
    assert set(PAGES) - _linked_from(index) - {index, ROOT / "CHANGELOG.md"} == set()


def test_the_architecture_has_one_diagram_and_no_other_page_has_any() -> None:
    drawn = {page.name: page.read_text().count("```mermaid") for page in PAGES}
    assert {name: count for name, count in drawn.items() if count} == {"architecture.md": 1}


@pytest.mark.parametrize("page", sorted((DOCS / "adr").glob("*.md")), ids=lambda page: page.stem)
def test_a_decision_is_one_page_in_the_agreed_form(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# {page.stem[:4]}. ")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings == ["Question", "Decision", "Instead of", "Consequences"]
    assert len(text.split()) <= 450


def test_nothing_is_promised_that_nobody_can_keep() -> None:
    for page in WRITTEN:
        assert "exactly once" not in FENCE.sub("", page.read_text()).lower(), page.name
        assert "exactly-once" not in page.read_text().lower(), page.name
