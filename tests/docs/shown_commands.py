"""Command lines of `saga` in a Markdown page, and whether `saga` would take them."""

import re
import shlex
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from pages import FENCE

from orchestrator.cli.app import UsageError, command

_BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`(saga [^`\n]+)`")
_ENDS = frozenset({"|", "||", "&", "&&", ";", "<", ">"})
_FILE_DESCRIPTORS = frozenset({"1", "2"})


def shown_in(page: Path) -> Iterator[Sequence[str]]:
    """The arguments of every `saga` that a block of commands shows."""
    for language, block in _BLOCK.findall(page.read_text()):
        if language not in {"", "sh", "bash", "console"}:
            continue
        for line in _without_documents(block).replace("\\\n", " ").splitlines():
            yield from _arguments(line)


def mentioned_in(page: Path) -> Iterator[Sequence[str]]:
    """The same in running text, unless something is left out of it."""
    for line in _INLINE.findall(FENCE.sub("", page.read_text())):
        if "…" not in line:
            yield from _arguments(line)


def problem_with(arguments: Sequence[str]) -> str | None:
    """Why `saga` would refuse these arguments; None if it would not."""
    return _problem(command(), list(arguments))


def is_name_of_command(arguments: Sequence[str]) -> bool:
    """True for `dlq retry`, which says no more than which command is meant."""
    known: Any = command()
    for name in arguments:
        known = getattr(known, "commands", {}).get(name)
    return known is not None


def _problem(known: Any, arguments: list[str]) -> str | None:
    if not hasattr(known, "commands") or arguments[:1] in (["--help"], ["--version"]):
        return _refusal(known, arguments)
    if not arguments or arguments[0] not in known.commands:
        return f"there is no command {' '.join(arguments[:1])!r}"
    return _problem(known.commands[arguments[0]], arguments[1:])


def _refusal(known: Any, arguments: list[str]) -> str | None:
    if "--help" in arguments or "--version" in arguments:
        return None
    try:
        known.make_context(known.name, arguments)
    except UsageError as error:
        return str(error)
    return None


def _without_documents(block: str) -> str:
    """Without the text between `<<'END'` and `END`."""
    return re.sub(r"<<'?(\w+)'?\n.*?^\1$", "", block, flags=re.DOTALL | re.MULTILINE)


def _arguments(line: str) -> Iterator[Sequence[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:  # no command: what a program has printed
        return
    for place, word in enumerate(words):
        if word == "saga" and _begins_a_command(words[:place]):
            rest = list(takewhile(lambda each: each not in _ENDS, words[place + 1 :]))
            is_redirected = words[place + 1 + len(rest) :][:1] in (["<"], [">"])
            yield rest[:-1] if is_redirected and rest[-1] in _FILE_DESCRIPTORS else rest


def _begins_a_command(before: Sequence[str]) -> bool:
    """At the start, behind assignments or a pipe, or run by Docker Compose in a service."""
    own = [word for word in before if "=" not in word]
    return not own or own[-1] in _ENDS or own[-2:-1] == ["exec"]
