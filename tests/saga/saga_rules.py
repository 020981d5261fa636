"""The rules as they stand, or with one fault planted in their source."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

from orchestrator.saga import decide, start
from orchestrator.saga.state import Decision

PACKAGE: Final = "orchestrator.saga"
# The modules that hold rules, each after those which it imports; values and kinds are shared.
MODULES: Final = ("draft", "outbound", "moves", "flow", "rules", "interventions", "start", "decide")
SOURCES: Final = Path(decide.__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a walk needs of the core."""

    decide: Callable[..., Decision]
    begin: Callable[..., Decision]


SOUND: Final = Rules(decide=decide.decide, begin=start.begin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A mistake that somebody could make: other words at one place of the rules' source."""

    name: str
    place: str  # in the description of the rules
    module: str
    old: str  # occurs once in it
    new: str
    law: str  # of those that it breaks, the one that is about it


def rules_with(fault: Fault) -> Rules:
    """A second copy of the rules that has this fault; the first stays as it is."""
    names = [f"{PACKAGE}.{module}" for module in MODULES]
    sound = {name: sys.modules[name] for name in names}
    try:
        copies = {module: _loaded(module, fault) for module in MODULES}
    finally:
        sys.modules.update(sound)
    return Rules(decide=copies["decide"].decide, begin=copies["start"].begin)


def source_with(module: str, fault: Fault) -> str:
    source = (SOURCES / f"{module}.py").read_text()
    if module != fault.module:
        return source
    found = source.count(fault.old)
    if found != 1:
        raise LookupError(
            f"{fault.name}: found {found} times in {module}.py, not once: {fault.old}"
        )
    return source.replace(fault.old, fault.new)


def _loaded(module: str, fault: Fault) -> ModuleType:
    name = f"{PACKAGE}.{module}"
    copy = sys.modules[name] = ModuleType(name)
    exec(compile(source_with(module, fault), f"{module} with a fault", "exec"), copy.__dict__)  # noqa: S102
    return copy
