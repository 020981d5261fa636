"""What is told of an example that was played, and the page in the docs that shows it."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.examples.playing import Example, Played

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def page_of(played: Played) -> Iterator[str]:
    """The sagas by kind, the books, and what is wrong."""
    cases = played.example.cases
    ended = Counter((case.kind, played.ended(case)) for case in cases)
    rows = [(kind, str(number), state) for (kind, state), number in ended.items()]
    yield from _table([(played.example.saga_type, "NUMBER", "ENDED"), *rows])
    yield ""
    yield from _table([("BOOKS", ""), *played.books.lines.items()])
    yield ""
    yield from played.problems or ["The books balance."]


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The second column to the right: it holds numbers."""
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    for name, number, *rest in rows:
        yield "  ".join([name.ljust(first), number.rjust(second), *rest]).rstrip()


def documentation_of(example: Example) -> Path:
    return ROOT / "docs" / "examples" / f"{example.name}.md"


def shown_in(page: Path, language: str) -> Sequence[str]:
    """The blocks of one language."""
    return [text for kind, text in _BLOCK.findall(page.read_text()) if kind == language]
