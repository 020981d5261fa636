"""Settings from files: `SAGA_…_FILE` variables and secrets directories."""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from messaging.errors import ConfigurationError
from messaging.texts import escaped

PREFIX: Final = "SAGA_"
SECRETS_DIR: Final = "SAGA_SECRETS_DIR"
MAX_BYTES: Final = 64 * 1024
_MAX_SHOWN: Final = 255
_DOCKER: Final = Path("/run/secrets")

Variables = Mapping[str, str | None]  # names in lower case, as pydantic-settings keeps them


class SecretFiles(PydanticBaseSettingsSource):
    """The source below `.env`: reads a file for every setting that nothing above it gave."""

    def __init__(self, settings_class: type[BaseSettings], variables: Variables) -> None:
        super().__init__(settings_class)
        self._variables = variables

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        path = secret_file_of(field_name, self._variables)
        return (None if path is None else read_secret(path)), field_name, False

    def __call__(self) -> dict[str, Any]:
        values, problems = {}, []
        for name, field in self.settings_cls.model_fields.items():
            if name in self.current_state:
                continue
            try:
                value, _, _ = self.get_field_value(field, name)
            except ConfigurationError as error:
                problems.append(f"{PREFIX}{name.upper()}: {error}")
            else:
                values[name] = value
        if problems:
            raise ConfigurationError("\n".join(problems))
        return {name: value for name, value in values.items() if value is not None}


def secret_file_of(field_name: str, variables: Variables) -> Path | None:
    """The file that holds a setting: named by its `_FILE` variable, or in a secrets directory."""
    variable = f"{PREFIX}{field_name.upper()}"
    named = variables.get(f"{variable}_FILE".lower())
    if named:
        return Path(named)
    candidates = (
        directory / name
        for directory in _directories(variables)
        for name in (variable, variable.lower())
    )
    return next((path for path in candidates if _is_there(path)), None)


def read_secret(path: Path) -> str:
    """The text of a regular file of at most 64 KiB, without its one trailing newline."""
    try:
        content = _read_regular(path)
        text = content.decode()
    except OSError as error:
        raise ConfigurationError(f"cannot read {_named(path)}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{_named(path)} is not UTF-8 text") from error
    except ValueError as error:  # a name that no file can have
        raise ConfigurationError(f"cannot read {_named(path)}: {error}") from error
    return text.removesuffix("\r\n" if text.endswith("\r\n") else "\n")


def _read_regular(path: Path) -> bytes:
    # A FIFO would block for ever and a device never end. Symbolic links are followed:
    # Kubernetes mounts every secret as one.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigurationError(f"{_named(path)} is not a regular file")
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ConfigurationError(f"{_named(path)} is larger than {MAX_BYTES // 1024} KiB")
    return content


def _directories(variables: Variables) -> Iterator[Path]:
    own = variables.get(SECRETS_DIR.lower())
    if own:
        yield Path(own)
    yield _DOCKER
    systemd = os.environ.get("CREDENTIALS_DIRECTORY")
    if systemd:
        yield Path(systemd)


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True  # let reading it say what is wrong
    return True


def _named(path: Path) -> str:
    """Its name on one line, cut where it is longer than names are."""
    return escaped(str(path), _MAX_SHOWN)
