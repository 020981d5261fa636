"""What `saga contract` does: from definitions to a document and schemas."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from chassis.exit_codes import ExitCode
from chassis.settings import Settings, load
from messaging.errors import ConfigurationError
from messaging.topology import Names
from orchestrator.cli.definitions_work import outlined
from orchestrator.cli.failures import say
from orchestrator.cli.output import print_json, print_line
from orchestrator.contracts.agreements import agreements_of, unmet
from orchestrator.contracts.document import Contract, asyncapi, json_schemas
from orchestrator.contracts.handled import Handled, handled_by
from participants.run import load_participants

_STDOUT: Final = frozenset({"-", "json"})  # whatever asks for JSON everywhere gets it


def perform_contract(
    modules: Sequence[str],
    participants: Sequence[str],
    data: Sequence[str],
    release: str,
    output: str,
) -> int:
    handled = handlers_of(participants)
    outlines = outlined(modules, data)
    contract = Contract(outlines=outlines, agreements=agreements_of(outlines, handled))
    for outline in outlines:
        for sentence in dict.fromkeys(unmet(outline, handled)):
            say(sentence)
    document = asyncapi(contract, Names(load(Settings).namespace), release=release)
    if output in _STDOUT:
        print_json(document)
    else:
        _write(Path(output), document, json_schemas(contract))
    return ExitCode.DONE


def handlers_of(participants: Sequence[str]) -> Mapping[str, Handled]:
    """The handlers in these modules; none without modules."""
    return handled_by(load_participants(participants)) if participants else {}


def _write(folder: Path, document: Mapping[str, Any], schemas: Mapping[str, Any]) -> None:
    files = {folder / "asyncapi.json": document}
    files |= {folder / "schemas" / f"{name}.json": schema for name, schema in schemas.items()}
    try:
        (folder / "schemas").mkdir(parents=True, exist_ok=True)
        for path, value in files.items():
            text = json.dumps(value, ensure_ascii=False, indent=2)
            path.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename} cannot be written: {error.strerror}; name a directory of yours"
        ) from error
    for path in files:
        print_line(str(path))
