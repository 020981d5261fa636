"""Help is quick, says everything, and its examples can be typed."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from command_lines import Saga

from orchestrator.cli.app import command
from orchestrator.cli.reference import page
from orchestrator.saga.state import SagaState

HEAVY = {"sqlalchemy", "aio_pika", "pydantic", "alembic", "rich.table", "rich.console", "structlog"}


def commands(known: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, child in (known or command()).commands.items():
        if getattr(child, "commands", None):
            yield from commands(child, (*path, name))
        else:
            yield " ".join((*path, name)), child


COMMANDS = dict(commands())


def modules_after(*arguments: str) -> set[str]:
    """What a fresh process has loaded when the command line has run."""
    program = (
        "import json, sys\nfrom orchestrator.cli.main import main\n"
        f"main({list(arguments)!r})\nprint(json.dumps(list(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_help_loads_nothing_heavy() -> None:
    assert modules_after("--help") & HEAVY == set()


@pytest.mark.parametrize("arguments", [("start", "--help"), ("dlq", "list", "-h")])
def test_the_help_of_a_command_loads_nothing_of_ours_that_is_heavy(
    arguments: tuple[str, ...],
) -> None:
    """The library reads parameters by pydantic."""
    assert modules_after(*arguments) & HEAVY <= {"pydantic"}


def test_the_contract_is_complete() -> None:
    assert set(COMMANDS) >= {
        *("demo", "orchestrator run", "participants run", "dlq run", "start", "list", "show"),
        *("wait", "cancel", "dlq list", "dlq show", "dlq retry", "dlq resolve", "dlq discard"),
        *("db upgrade", "db current", "topology show", "topology declare", "topology verify"),
        *("topology definitions", "doctor"),
    }


def test_the_summary_of_no_command_is_cut(saga: Saga) -> None:
    for group in (
        (),
        ("dlq",),
        ("choreography",),
        ("db",),
        ("topology",),
        ("orchestrator",),
        ("participants",),
    ):
        ran = saga(*group, "--help")
        assert ran.code == 0
        assert not re.search(r"\w\.\.\.$", ran.out, re.MULTILINE)
        assert max(map(len, ran.out.splitlines())) <= 80


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_says_what_it_does_and_gives_an_example(path: str, saga: Saga) -> None:
    ran = saga(*path.split(), "--help")
    assert ran.code == 0
    assert ran.out.startswith(f"Usage: saga {path}")
    assert "Example:" in ran.out


@pytest.mark.parametrize("path", COMMANDS)
def test_the_examples_can_be_typed(path: str) -> None:
    examples = [line.strip() for line in COMMANDS[path].epilog.splitlines()[2:]]
    of_saga = [line for line in examples if "saga " in line]
    assert of_saga
    for line in of_saga:
        words = shlex.split(
            line[re.search(r"(^| )saga ", line).end() - 5 :].partition(" | ")[0].partition(" > ")[0]
        )
        assert words[1 : 1 + len(path.split())] == path.split()
        arguments = words[1 + len(path.split()) :]
        context = COMMANDS[path].make_context(path, arguments, resilient_parsing=False)
        context.close()


def test_every_option_is_explained() -> None:
    for path, known in COMMANDS.items():
        for parameter in known.params:
            assert parameter.help, f"saga {path}: {parameter.name}"


def test_the_help_of_state_names_every_state(saga: Saga) -> None:
    said = " ".join(saga("list", "--help").out.split())
    assert all(state in said for state in SagaState)


def test_saga_alone_shows_its_commands_and_is_a_usage_error(saga: Saga) -> None:
    ran = saga()
    assert ran.code == 2
    assert "Sagas:\n  start" in ran.out
    assert ran.err == ""


def test_the_headings_are_in_the_order_in_which_one_reads(saga: Saga) -> None:
    found = re.findall(r"^(\w[\w ]+):$", saga("--help").out, re.MULTILINE)
    assert found == ["Options", "Begin here", "Programs", "Definitions", "Sagas", "Installation"]


def test_the_version_is_the_installed_one(saga: Saga) -> None:
    from importlib.metadata import version

    assert saga("--version").out == f"countermand {version('countermand')}\n"


def test_the_module_is_the_run_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("Usage: saga orchestrator run MODULE[:CLASS]...")


def test_the_reference_page_has_every_command_and_option() -> None:
    text = page()
    for path, known in COMMANDS.items():
        assert f"## saga {path}\n" in text
        for parameter in known.params:
            assert parameter.help.replace("|", "\\|") in text
