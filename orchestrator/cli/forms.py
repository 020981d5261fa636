"""How help looks: plain text, commands under headings, usage lines with what is required."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from typer.core import TyperCommand, TyperGroup

HEADINGS: Final = ("Begin here", "Programs", "Definitions", "Sagas", "Installation")
"""The order of those headings whose commands were registered in another one."""


class SagaCommand(TyperCommand):
    """A command whose usage line names what it cannot do without."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return list(usage_pieces(self.get_params(ctx)))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        parameters: list[Any] = list(self.get_params(ctx))
        if arguments := [
            (name_of(each), each.help or "") for each in parameters if not _is_option(each)
        ]:
            with formatter.section("Arguments"):
                formatter.write_dl(arguments)
        records = [each.get_help_record(ctx) for each in parameters if _is_option(each)]
        with formatter.section("Options"):
            formatter.write_dl([record for record in records if record is not None])


class SagaGroup(TyperGroup):
    """A group that lists its commands under their headings."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        names = self.list_commands(ctx)
        commands: list[tuple[str, Any]] = [(name, self.get_command(ctx, name)) for name in names]
        width = max((len(name) for name, _ in commands), default=0)
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, known in commands:
            summary = known.get_short_help_str(formatter.width - width - 4)
            sections.setdefault(heading_of(known), []).append((name.ljust(width), summary))
        for heading, rows in sorted(sections.items(), key=_place):
            with formatter.section(heading):
                formatter.write_dl(rows)


def _place(section: tuple[str, Any]) -> int:
    return HEADINGS.index(section[0]) if section[0] in HEADINGS else len(HEADINGS)


def heading_of(known: Any) -> str:
    heading = getattr(known, "rich_help_panel", None)
    return heading if isinstance(heading, str) else "Commands"


def name_of(argument: Any) -> str:
    """`ID`, or `ID...` where several may stand."""
    name = argument.metavar or argument.name.upper()
    return f"{name}..." if argument.nargs == -1 else str(name)


def usage_pieces(parameters: Iterable[Any]) -> Iterator[str]:
    """`ID... --reason TEXT [OPTIONS]`."""
    known = list(parameters)
    for parameter in known:
        if not _is_option(parameter):
            name = name_of(parameter)
            yield name if parameter.required else f"[{name}]"
    for parameter in known:
        if _is_option(parameter) and parameter.required:
            yield f"{parameter.opts[0]} {parameter.metavar}"
    yield "[OPTIONS]"


def _is_option(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "option")
