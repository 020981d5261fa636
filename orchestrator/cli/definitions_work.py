"""What `saga definitions` does without a database, and what it prints."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.console import RenderableType
from rich.text import Text

from chassis.durations import spoken
from chassis.exit_codes import ExitCode
from messaging.errors import SagaError
from orchestrator.cli.definitions import Format
from orchestrator.cli.failures import say
from orchestrator.cli.given import json_object
from orchestrator.cli.listing import Column, Listing
from orchestrator.cli.output import Output, coloured, print_json, print_parts, text_of
from orchestrator.cli.wording import counted
from orchestrator.contracts.agreements import unmet
from orchestrator.contracts.drawing.captions import heading
from orchestrator.contracts.drawing.svg import svg
from orchestrator.contracts.drawing.texts import dot, mermaid
from orchestrator.contracts.outlines import Layout, Outline, outlines_of
from orchestrator.planning import participants_of
from orchestrator.registry import load_definitions, mistakes_in
from orchestrator.saga.plan import PlannedStep, RetryPolicy

_LIST: Final = (
    Column(title="type"),
    Column(title="plans", is_number=True),
    Column(title="steps", is_number=True),
    Column(title="participants", is_elastic=True),
)
_STEPS: Final = (
    Column(title="stage", is_number=True),
    Column(title="step"),
    Column(title="action"),
    Column(title="compensation"),
    Column(title="timeout", dropped=2),
    Column(title="tries", dropped=1),
    Column(title="more", is_elastic=True),
)
_FORMATS: Final = {Format.MERMAID: mermaid, Format.DOT: dot, Format.SVG: svg}


def outlined(modules: Sequence[str], data: Sequence[str]) -> tuple[Outline, ...]:
    """The definitions in these modules, for the data that the command line gives."""
    given = [json_object(text, "--data") for text in data]
    return outlines_of(load_definitions(modules), given)


def perform_list(modules: Sequence[str], output: Output) -> int:
    outlines = outlined(modules, [])
    if output is Output.JSON:
        print_json([_listed(outline) for outline in outlines])
    else:
        print_parts(Listing(_LIST, [_line(_listed(outline)) for outline in outlines]))
    return ExitCode.DONE


def perform_show(modules: Sequence[str], data: Sequence[str], output: Output) -> int:
    outlines = outlined(modules, data)
    if output is Output.JSON:
        print_json([_shown(outline, layout) for outline, layout in _drawn(outlines)])
    else:
        print_parts(*_plans(outlines))
    return _told(outlines)


def perform_graph(modules: Sequence[str], data: Sequence[str], format_: Format) -> int:
    outlines = outlined(modules, data)
    drawn = [*_drawn(outlines)]
    if drawn:
        print(_FORMATS[format_](drawn), end="")
    return _told(outlines)


def perform_validate(modules: Sequence[str], data: Sequence[str], output: Output) -> int:
    findings = [finding for module in modules for finding in _judged(module, data)]
    problems = [each for each in findings if each["level"] == "problem"]
    if output is Output.JSON:
        print_json({"is_valid": not problems, "findings": findings})
    else:
        print_parts(*(_sentence(each) for each in findings))
    return ExitCode.MISCONFIGURED if problems else ExitCode.DONE


def _drawn(outlines: Sequence[Outline]) -> Iterator[tuple[Outline, Layout]]:
    return ((outline, layout) for outline in outlines for layout in outline.layouts)


def _told(outlines: Sequence[Outline]) -> int:
    """What could not be shown is said, and is no success."""
    problems = [outline.problem for outline in outlines if outline.problem]
    for problem in problems:
        say(problem)
    return ExitCode.MISCONFIGURED if problems else ExitCode.DONE


def _listed(outline: Outline) -> dict[str, Any]:
    kind = type(outline.definition)
    names = {step.name for layout in outline.layouts for step in layout.plan}
    return {
        "saga_type": outline.saga_type,
        "definition": f"{kind.__module__}:{kind.__qualname__}",
        "plans": len(outline.layouts),
        "steps": len(names),
        "participants": sorted(participants_of(outline.definition)),
        "has_examples": outline.is_exemplary,
        "problem": outline.problem,
    }


def _line(listed: Mapping[str, Any]) -> tuple[str, ...]:
    known = bool(listed["plans"])
    return (
        listed["saga_type"],
        str(listed["plans"]) if known else "?",
        str(listed["steps"]) if known else "?",
        ", ".join(listed["participants"]),
    )


def _shown(outline: Outline, layout: Layout) -> dict[str, Any]:
    return {
        "saga_type": outline.saga_type,
        "title": layout.title,
        "data": [dict(data) for data in layout.data],
        "on_compensation_exhausted": outline.definition.on_compensation_exhausted,
        "steps": [_step(step) for step in layout.plan],
    }


def _step(step: PlannedStep) -> dict[str, Any]:
    return {
        "name": step.name,
        "stage": step.stage,
        "action": step.action,
        "compensation": step.compensation,
        "timeout": step.timeout.total_seconds(),
        "on_timeout": step.on_timeout.value,
        "retry": _policy(step.retry),
        "compensation_retry": _policy(step.compensation_retry),
        "payload": None if step.payload is None else list(step.payload),
        "pivot": step.pivot,
    }


def _policy(policy: RetryPolicy) -> dict[str, Any]:
    return {
        "max_attempts": policy.max_attempts,
        "initial": policy.initial.total_seconds(),
        "maximum": policy.maximum.total_seconds(),
        "multiplier": policy.multiplier,
        "jitter": policy.jitter,
    }


def _plans(outlines: Sequence[Outline]) -> Iterator[RenderableType]:
    for number, (outline, layout) in enumerate(_drawn(outlines)):
        if number:
            yield Text()
        yield text_of(heading(outline, layout), "bold")
        yield Listing(_STEPS, [_row(step) for step in layout.plan])


def _row(step: PlannedStep) -> tuple[str | None, ...]:
    more = [
        "point of no return" if step.pivot else "",
        f"sends {', '.join(step.payload)}" if step.payload is not None else "",
        f"on timeout: {step.on_timeout}" if step.retry.max_attempts > 1 else "",
    ]
    return (
        str(step.stage + 1),
        step.name,
        step.action,
        step.compensation,
        spoken(step.timeout),
        str(step.retry.max_attempts),
        "; ".join(each for each in more if each),
    )


def _judged(module: str, data: Sequence[str]) -> Iterator[dict[str, Any]]:
    try:
        outlines = outlined([module], data)
    except SagaError as error:
        about = {"saga_type": None, "module": module, "level": "problem"}
        yield from ({**about, "detail": str(each)} for each in mistakes_in(module) or [error])
        return
    for outline in outlines:
        about = {"saga_type": outline.saga_type, "module": module}
        problems = list(dict.fromkeys(unmet(outline)))
        yield from ({**about, "level": "problem", "detail": each} for each in problems)
        if outline.problem:
            yield {**about, "level": "warning", "detail": outline.problem}
        elif not problems:
            plans = counted(len(outline.layouts), "plan")
            detail = f"{plans}, all in order" if outline.is_exemplary else f"{plans}; no examples"
            yield {**about, "level": "ok", "detail": detail}


def _sentence(finding: Mapping[str, Any]) -> Text:
    line = coloured(finding["level"])
    return line.append_text(Text(f"  {finding['saga_type'] or finding['module']}: ")).append_text(
        text_of(finding["detail"])
    )
