"""The kinds of bad input that are known, by number, and which entries of the corpus are of each."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tests.corpus.files import load
from tests.corpus.raw_amqp import RAW_CASES, REFUSED_CASES

FILES: Final = (
    *("values", "bodies", "envelopes", "replies", "starts", "commands", "stories"),
    *("settings", "definitions", "command_lines", "texts", "requests"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of bad input, and what is to become of it.

    `why` says of a kind without entries why it has none; `tests` are those that try it instead.
    """

    number: int
    input: str
    wanted: str
    why: str | None = None
    tests: tuple[str, ...] = ()


def kinds() -> tuple[Kind, ...]:
    """All of them, in the order of their numbers."""
    return tuple(map(_kind, load("catalogue")))


def entries_by_number() -> Mapping[int, list[str]]:
    """The names of the entries, each with its file, under every number that they carry."""
    found: dict[int, list[str]] = defaultdict(list)
    for name, numbers in _numbered():
        for number in numbers:
            found[number].append(name)
    return found


def _kind(spec: dict[str, object]) -> Kind:
    elsewhere = spec.pop("elsewhere", {})
    assert isinstance(elsewhere, dict)
    tests = tuple(elsewhere.get("tests", ()))
    return Kind(**spec, why=elsewhere.get("why"), tests=tests)  # type: ignore[arg-type]  # as written


def _numbered() -> Iterator[tuple[str, tuple[int, ...]]]:
    for file in FILES:
        for spec in load(file):
            yield f"{file}: {spec['name']}", tuple(spec["numbers"])
    for case in (*RAW_CASES, *REFUSED_CASES):
        yield f"raw_amqp: {case.name}", case.numbers
