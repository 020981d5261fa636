"""Every block of commands or Python in the pages is run by a test, or says why it is not."""

import asyncio
import shutil
from collections import Counter
from pathlib import Path

import pytest
from blocks import Block, blocks_of, shell_of
from test_docs import DOCS, GENERATED, PAGES, PYTHON, ROOT, WRITTEN
from test_readme_walk import LIMIT, blocks, printed_by
from test_testing_guide import BLOCKS

from messaging.rabbitmq import declare
from messaging.topology import Names, installation
from orchestrator.store.database import DatabaseStore
from orchestrator.store.stores import store_for
from tests.cli.cli_stories import REFUND_EXHAUSTED, letter_of, stored
from tests.conftest import ORDER_PARTICIPANTS
from tests.examples.catalogue import EXAMPLES
from tests.examples.page import documentation_of

README = ROOT / "README.md"
FIRST_SAGA = ROOT / "docs" / "guides" / "your-first-saga.md"
TESTING = ROOT / "docs" / "guides" / "testing.md"
# Held to the modules that are played by tests/examples/test_playing_examples.py.
EXCERPTS = [documentation_of(example) for example in EXAMPLES.values()]
MODULE = "orchestrator.examples.order_fulfillment"
WORST_LETTER = 23  # the pages speak of the letters 17, 18, 19 and 23
SHOWN_LETTER = 17  # of order-42


def _runnable(page: Path) -> list[Block]:
    found = [each for each in blocks_of(page) if each.is_shell or each.is_python]
    return [each for each in found if each.reason is None]


def _run_elsewhere(page: Path) -> list[str]:
    """The blocks that other tests run: by what these tests run."""
    if page == README:
        return blocks("")
    if page == FIRST_SAGA:  # test_first_saga.py
        return shell_of(page)
    if page == TESTING:
        return BLOCKS
    return []


def _commands(page: Path) -> list[str]:
    """The blocks that are run here, by a shell."""
    elsewhere = Counter(_run_elsewhere(page))
    return [each.text for each in _runnable(page) if each.is_shell and not elsewhere[each.text]]


BOOK = [page for page in WRITTEN if page == README or DOCS in page.parents]
COMMANDING = [page for page in BOOK if _commands(page)]


@pytest.mark.parametrize("page", BOOK, ids=lambda page: page.stem)
def test_no_reason_is_given_for_nothing(page: Path) -> None:
    marked = page.read_text().count("<!-- not run: ")
    reasons = [each.reason for each in blocks_of(page) if each.reason]
    assert len(reasons) == marked
    assert all(len(reason.split()) > 3 for reason in reasons)


def test_only_generated_pages_are_left_out() -> None:
    """Their examples are typed by tests/cli/test_help.py."""
    left_out = {page for page in PAGES if page not in WRITTEN and any(blocks_of(page))}
    assert left_out <= {GENERATED / "cli.md"}


@pytest.mark.parametrize("page", [page for page in BOOK if page not in EXCERPTS])
def test_python_runs(page: Path) -> None:
    """All blocks of a page are one module; what it calls a test is called."""
    if page == TESTING:
        assert PYTHON.findall(page.read_text()) == BLOCKS  # run as a module by its own test
        return
    scope: dict[str, object] = {"__name__": page.stem}
    for block in _runnable(page):
        if block.is_python:
            exec(compile(block.text, f"{page}:{block.line}", "exec"), scope)  # noqa: S102
    for name, found in list(scope.items()):
        if name.startswith("test_") and callable(found):
            found()


async def _troubled(folder: Path) -> Path:
    """A database with the dead letters that the pages speak of, and order-42."""
    path = folder / "trouble.db"
    store = store_for(f"sqlite:///{path}")
    await DatabaseStore.upgrade(store)
    for number in range(1, WORST_LETTER + 1):
        saga_id = "order-42" if number == SHOWN_LETTER else f"order-{number + 100}"
        saga = await stored(store, saga_id, REFUND_EXHAUSTED)
        assert await letter_of(store, saga, is_alerted=True) == number
    await store.close()
    return path


@pytest.mark.slow
@pytest.mark.timeout(2 * LIMIT)
@pytest.mark.parametrize("page", COMMANDING, ids=lambda page: page.stem)
async def test_commands_run(page: Path, amqp_url: str, names: Names, tmp_path: Path) -> None:
    """One block after the other in one directory; each finds the same trouble."""
    await declare(amqp_url, installation(names, ORDER_PARTICIPANTS))
    trouble = await _troubled(tmp_path)
    folder = tmp_path / "here"
    folder.mkdir()
    settings = {
        "SAGA_AMQP_URL": amqp_url,
        "SAGA_DATABASE_URL": f"sqlite:///{folder}/sagas.db",
        "SAGA_NAMESPACE": names.namespace,
    }
    for text in _commands(page):
        await asyncio.to_thread(shutil.copy, trouble, folder / "sagas.db")
        script = f"set -e\n{text.replace('MODULE', MODULE)}\necho all-well"
        printed = await printed_by(script, folder, settings)
        assert printed.endswith("all-well\n"), f"{text}\n{printed}"
