"""The fenced blocks of a Markdown page, and why a block is not run where it says so."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Final

_BLOCK: Final = re.compile(
    r"^(?: *<!-- not run: (?P<reason>[^\n]+?) -->\n)?(?P<indent> *)```(?P<language>\w*)\n"
    r"(?P<text>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
_SHELL: Final = frozenset({"", "sh", "bash", "shell", "console"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    line: int
    language: str
    text: str
    reason: str | None  # why it is not run

    @property
    def is_shell(self) -> bool:
        return self.language in _SHELL

    @property
    def is_python(self) -> bool:
        return self.language == "python"


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in _BLOCK.finditer(text):
        yield Block(
            line=text.count("\n", 0, found.start()) + 1,
            language=found["language"],
            text=dedent(found["text"]),
            reason=found["reason"],
        )


def shell_of(page: Path) -> list[str]:
    """The commands that are to be run, in order."""
    return [each.text for each in blocks_of(page) if each.is_shell and each.reason is None]
