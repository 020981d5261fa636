"""The rules of the house that no linter knows: size, names, docstrings, links, weight."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import FENCE, anchors_of

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("messaging", "chassis", "orchestrator", "participants", "dlq_worker")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
PAGES = sorted(
    path for path in ROOT.rglob("*.md") if not {".venv", "node_modules"} & set(path.parts)
)
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 40
# Words that say nothing, and words for which the house has another one.
UNWANTED_NAMES = frozenset(
    {
        *("base", "common", "helper", "helpers", "impl", "manager", "misc", "util", "utils"),
        *("dedupe", "handler", "handlers", "job", "jobs", "process", "response"),
        *("rollback", "status", "task", "tasks", "workflow", "workflows"),
    }
)
CODE = re.compile(rf"{FENCE.pattern}|`[^`\n]*`", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)")


def _names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def _functions(module: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = min([function.lineno, *(each.lineno for each in function.decorator_list)])
    return (function.end_lineno or first) - first + 1


def _prints(module: Path) -> bool:
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"print", "breakpoint"}
        for node in ast.walk(ast.parse(module.read_text()))
    )


def _broken_links(page: Path) -> Iterator[str]:
    for target in LINK.findall(CODE.sub("", page.read_text())):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        if not there.exists() or (
            anchor and there.suffix == ".md" and anchor not in anchors_of(there)
        ):
            yield target


def _modules_after(statement: str) -> set[str]:
    """What a fresh interpreter has loaded, of everything, once it has run `statement`."""
    program = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


def _roots(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


def test_the_house_has_modules_and_pages_to_look_at() -> None:
    assert len(MODULES) > len(PACKAGES)
    assert PAGES


@pytest.mark.parametrize("module", MODULES, ids=_names(MODULES))
def test_a_file_has_at_most_300_lines(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= MAX_FILE_LINES


@pytest.mark.parametrize("module", MODULES, ids=_names(MODULES))
def test_a_function_has_at_most_40_lines(module: Path) -> None:
    sizes = {each.name: _lines(each) for each in _functions(module)}
    assert {name: size for name, size in sizes.items() if size > MAX_FUNCTION_LINES} == {}


@pytest.mark.parametrize("module", MODULES, ids=_names(MODULES))
def test_a_module_opens_with_a_docstring(module: Path) -> None:
    tree = ast.parse(module.read_text())
    assert ast.get_docstring(tree) or not tree.body


@pytest.mark.parametrize("module", MODULES, ids=_names(MODULES))
def test_only_the_command_line_prints(module: Path) -> None:
    assert "cli" in module.parts or not _prints(module)


def test_a_module_has_a_name_that_says_something() -> None:
    words = {module: {*module.stem.split("_"), module.parent.name} for module in MODULES}
    assert _names([module for module in MODULES if words[module] & UNWANTED_NAMES]) == []


@pytest.mark.parametrize("page", PAGES, ids=_names(PAGES))
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    assert list(_broken_links(page)) == []


def test_participants_load_no_sql_no_command_line_and_no_orchestrator() -> None:
    unwanted = {"sqlalchemy", "alembic", "psycopg", "typer", "orchestrator", "dlq_worker"}
    assert _roots(_modules_after("import participants")) & unwanted == set()


def test_the_core_loads_the_standard_library_only() -> None:
    """Whatever the environment loads at start, such as editable-install hooks, is not counted."""
    loaded = _modules_after("import orchestrator.saga.state") - _modules_after("pass")
    foreign = _roots(loaded) - set(sys.stdlib_module_names)
    assert foreign == {"orchestrator"}


def test_nothing_of_the_tests_is_imported_by_the_packages() -> None:
    imports = re.compile(r"^\s*(?:from|import) (tests|servers|conftest)\b", re.MULTILINE)
    assert _names([module for module in MODULES if imports.search(module.read_text())]) == []
