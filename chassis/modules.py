"""Importing the modules that a command line names: whatever they raise is one line."""

import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType

from messaging.errors import ConfigurationError, SagaError


def imported(name: str) -> ModuleType:
    """The module, with the current directory on the path.

    Raises ConfigurationError if it is not there or cannot be imported; what is raised on
    purpose, such as DefinitionError, passes.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except SagaError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigurationError(_told(name, error)) from error


def _told(name: str, error: BaseException) -> str:
    if name.endswith(".py") or "/" in name:
        module = name.removesuffix(".py").strip("./").replace("/", ".")
        return f"cannot import {name!r}: name the module, not its file: {module}"
    if isinstance(error, ModuleNotFoundError) and _is_of(name, error.name):
        return f"cannot import {name!r}: there is no such module; is the current directory right?"
    if not name or name.startswith("."):
        return f"cannot import {name!r}: name a module from its top, as in shop.orders"
    words = " ".join(str(error).split())
    return f"cannot import {name!r}: {type(error).__name__}: {words}{_where(error)}"


def _is_of(name: str, missing: str | None) -> bool:
    """What is missing is the module itself, or a package that it lies in."""
    return missing is not None and (name == missing or name.startswith(f"{missing}."))


def _where(error: BaseException) -> str:
    """The line that raised it, which a syntax error names itself."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "importlib" not in frame.filename and frame.filename != __file__
    ]
    if isinstance(error, SyntaxError) or not frames:
        return ""
    return f" ({frames[-1].filename}, line {frames[-1].lineno})"
