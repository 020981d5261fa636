"""The commands of `saga`, put together."""

from typing import Annotated, Any, Final

import typer

from orchestrator.cli import (
    choreographies,
    contracts,
    database,
    dead_letters,
    definitions,
    demonstration,
    doctor,
    drilling,
    programs,
    reconciling,
    sagas,
)
from orchestrator.cli import topology as broker
from orchestrator.cli.forms import HEADINGS, SagaCommand, SagaGroup

UsageError: Final[type[Exception]] = typer.BadParameter.__bases__[0]
"""What the library raises for a wrong command line; typer has it from click, or its own."""

_TRY, _PROGRAMS, _DEFINITIONS, _SAGAS, _INSTALLATION = HEADINGS


def command() -> Any:
    """The whole command line, as typer's command."""
    return typer.main.get_command(app())


def app() -> typer.Typer:
    root = _group("Run sagas over RabbitMQ: every command has its countermand.")
    root.callback(invoke_without_command=False)(_root)
    _add(root, "demo", demonstration.demo, _TRY)
    _add(root, "drill", drilling.drill, _TRY)
    root.add_typer(_orchestrator(), name="orchestrator", rich_help_panel=_PROGRAMS)
    root.add_typer(_participants(), name="participants", rich_help_panel=_PROGRAMS)
    root.add_typer(_dlq(), name="dlq", rich_help_panel=_PROGRAMS)
    root.add_typer(_choreography(), name="choreography", rich_help_panel=_PROGRAMS)
    root.add_typer(_definitions(), name="definitions", rich_help_panel=_DEFINITIONS)
    _add(root, "contract", contracts.contract, _DEFINITIONS)
    _add(root, "start", sagas.start, _SAGAS)
    _add(root, "list", sagas.list_, _SAGAS)
    _add(root, "show", sagas.show, _SAGAS)
    _add(root, "wait", sagas.wait, _SAGAS)
    _add(root, "cancel", sagas.cancel, _SAGAS)
    _add(root, "reconcile", reconciling.reconcile, _SAGAS)
    root.add_typer(_db(), name="db", rich_help_panel=_INSTALLATION)
    root.add_typer(_topology(), name="topology", rich_help_panel=_INSTALLATION)
    _add(root, "doctor", doctor.doctor, _INSTALLATION)
    return root


def _orchestrator() -> typer.Typer:
    group = _group("The worker that moves sagas.")
    _add(group, "run", programs.run_orchestrator)
    return group


def _participants() -> typer.Typer:
    group = _group("The services that carry out commands.")
    _add(group, "run", programs.run_participants)
    _add(group, "verify", contracts.verify)
    return group


def _definitions() -> typer.Typer:
    group = _group("Saga definitions: their plans, as tables and diagrams.")
    _add(group, "list", definitions.list_)
    _add(group, "show", definitions.show)
    _add(group, "validate", definitions.validate)
    _add(group, "graph", definitions.graph)
    _add(group, "compat", definitions.compat)
    return group


def _dlq() -> typer.Typer:
    group = _group("Dead letters, and the worker that recovers them.")
    _add(group, "run", programs.run_dlq, "The program")
    _add(group, "list", dead_letters.list_, "Look")
    _add(group, "groups", dead_letters.groups, "Look")
    _add(group, "show", dead_letters.show, "Look")
    _add(group, "ack", dead_letters.ack, "Act")
    _add(group, "retry", dead_letters.retry, "Act")
    _add(group, "resolve", dead_letters.resolve, "Act")
    _add(group, "discard", dead_letters.discard, "Act")
    return group


def _choreography() -> typer.Typer:
    group = _group("Sagas without an orchestrator, and their recorder.")
    _add(group, "run", choreographies.run, "The program")
    _add(group, "list", choreographies.list_, "Look")
    _add(group, "show", choreographies.show, "Look")
    _add(group, "replay", choreographies.replay, "Act")
    return group


def _db() -> typer.Typer:
    group = _group("The saga database: its schema, and what is kept in it.")
    _add(group, "upgrade", database.upgrade)
    _add(group, "current", database.current)
    _add(group, "purge", database.purge)
    return group


def _topology() -> typer.Typer:
    group = _group("Exchanges, queues and bindings on the broker.")
    _add(group, "show", broker.show)
    _add(group, "declare", broker.declare)
    _add(group, "verify", broker.verify)
    _add(group, "definitions", broker.definitions)
    return group


def _group(help: str) -> typer.Typer:
    return typer.Typer(
        cls=SagaGroup,
        help=help,
        rich_markup_mode=None,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def _add(group: typer.Typer, name: str, function: Any, heading: str = "Commands") -> None:
    """Register a command; what follows `Example:` in its docstring keeps its lines."""
    told, _, example = (function.__doc__ or "").partition("Example:")
    lines = [line.strip() for line in example.strip().splitlines()]
    epilog = "\n".join(["\b", "Example:", *(f"  {line}" for line in lines)]) if lines else None
    settings = {"help_option_names": ["-h", "--help"]}
    group.command(
        name,
        cls=SagaCommand,
        help=told,
        epilog=epilog,
        rich_help_panel=heading,
        context_settings=settings,
    )(function)


def _version(asked: bool) -> None:
    if asked:
        from chassis.version import version

        print(f"countermand {version()}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option(
            "-V", "--version", is_eager=True, help="Print the release.", callback=_version
        ),
    ] = False,
) -> None:
    """Run sagas over RabbitMQ: every command has its countermand."""
