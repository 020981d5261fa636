"""Problems with settings, one line each: variable, value (masked if secret), remedy."""

import difflib
import os
import re
from collections.abc import Collection, Iterator
from datetime import timedelta
from typing import Final

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings

from chassis.durations import spoken
from chassis.failpoints import TEST_BUILD, VARIABLE
from chassis.secret_files import PREFIX, SECRETS_DIR, Variables, secret_file_of
from chassis.urls import masked

# Kubernetes gives every pod such variables for a Service whose name begins with saga.
_OF_KUBERNETES: Final = re.compile(r"_SERVICE_(HOST|PORT)|_PORT_\d+_(TCP|UDP)")
_OF_TESTS: Final = f"{PREFIX}TEST_"
_FOLLOWS_FROM_OTHERS: Final = "default_factory_not_called"
_MAX_SHOWN: Final = 100


def problem_lines(
    error: ValidationError,
    fields: dict[str, FieldInfo],
    flags: Collection[str],
    variables: Variables,
) -> Iterator[str]:
    """What is wrong; `flags` are the fields that were given by the caller."""
    for problem in error.errors():
        if problem["type"] == _FOLLOWS_FROM_OTHERS:
            continue
        name = str(problem["loc"][0]) if problem["loc"] else ""
        origin = _origin(name, flags, variables)
        value = _shown(problem["input"], is_secret=_is_secret(fields[name]))
        yield f"{origin}={value}: {_remedy(problem)}"


def known_fields(settings_class: type[BaseSettings]) -> Collection[str]:
    """The fields of all programs: they often share one environment."""
    fields = set(settings_class.model_fields)
    return fields.union(*(known_fields(child) for child in settings_class.__subclasses__()))


def unknown_variables(variables: Variables, fields: Collection[str]) -> Iterator[str]:
    """A sentence for every `SAGA_` variable that means nothing here: most are misspelt."""
    known = {f"{PREFIX}{field.upper()}" for field in fields}
    known |= {f"{name}_FILE" for name in known} | {SECRETS_DIR}
    for name, value in sorted((name.upper(), value or "") for name, value in variables.items()):
        if name in known or not name.startswith(PREFIX) or _is_of_others(name, value):
            continue
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        yield f"{name} is not a setting and has no effect{hint}"


def _is_of_others(name: str, value: str) -> bool:
    if name in {VARIABLE, TEST_BUILD}:
        return name in os.environ  # from nowhere else: an .env may travel to production
    if name.startswith(_OF_TESTS) or _OF_KUBERNETES.search(name):
        return True
    return name.endswith("_PORT") and "://" in value  # Kubernetes again


def _origin(field: str, flags: Collection[str], variables: Variables) -> str:
    """Where the value came from."""
    variable = f"{PREFIX}{field.upper()}"
    if field in flags:
        return f"--{field.replace('_', '-')}"
    if variable.lower() in variables:
        return variable
    path = secret_file_of(field, variables)
    return variable if path is None else f"{variable} (from {path})"


def _is_secret(field: FieldInfo) -> bool:
    return SecretStr.__name__ in repr(field.annotation)


def _shown(value: object, *, is_secret: bool) -> str:
    text = _written(value)
    if is_secret:
        text = _shown_secret(text)
    text = text.encode("unicode_escape").decode()
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def _written(value: object) -> str:
    match value:
        case SecretStr():
            return value.get_secret_value()
        case timedelta():
            return spoken(value)
        case _:
            return str(value)


def _shown_secret(text: str) -> str:
    scheme, separator, _ = text.partition("://")
    if not separator:
        return "***"
    return f"{scheme}://***" if scheme.startswith("http") else masked(text)


def _remedy(problem: ErrorDetails) -> str:
    """The message in our grammar: `must be less than …`, `contains a control character …`."""
    message = problem["msg"].removeprefix("Value error, ")
    return re.sub(r"^(Input|String|Value) should", "must", message)
