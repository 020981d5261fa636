"""Diagrams as text: Mermaid for READMEs and wikis, DOT for Graphviz."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from orchestrator.contracts.drawing.captions import heading, patience
from orchestrator.contracts.outlines import Layout, Outline, stages_of
from orchestrator.saga.plan import PlannedStep

_MERMAID_CLASSES: Final = (
    "classDef step fill:#eef4ff,stroke:#3b6fd4,color:#10213f",
    "classDef pivot fill:#fff3c4,stroke:#b7791f,stroke-width:3px,color:#3d2c00",
    "classDef undo fill:#fff,stroke:#c2410c,stroke-dasharray:4 3,color:#7c2d12",
    "classDef end_ fill:#f4f4f5,stroke:#71717a,color:#18181b",
)
_DOT_STEP: Final = 'shape=box style="rounded,filled" fillcolor="#eef4ff" color="#3b6fd4"'
_DOT_PIVOT: Final = 'shape=box style="rounded,filled,bold" fillcolor="#fff3c4" color="#b7791f"'
_DOT_UNDO: Final = 'shape=box style="rounded,dashed" color="#c2410c" fontcolor="#7c2d12"'
_DOT_END: Final = 'shape=box style="rounded,filled" fillcolor="#f4f4f5"'

Drawn = Sequence[tuple[Outline, Layout]]


def mermaid(drawn: Drawn) -> str:
    """One flowchart; each plan is a subgraph of its own."""
    lines = ["flowchart LR", *(f"  {each}" for each in _MERMAID_CLASSES)]
    for number, (outline, layout) in enumerate(drawn):
        lines.append(f'  subgraph g{number}["{_quoted(heading(outline, layout))}"]')
        lines += [f"    {line}" for line in _mermaid_plan(f"g{number}", layout.plan)]
        lines.append("  end")
    return "\n".join(lines) + "\n"


def dot(drawn: Drawn) -> str:
    """One digraph; each plan is a cluster of its own."""
    lines = [
        "digraph sagas {",
        '  rankdir=LR; fontname="Helvetica"; node [fontname="Helvetica" fontsize=11];',
        '  edge [fontname="Helvetica" fontsize=10 color="#52525b"];',
    ]
    for number, (outline, layout) in enumerate(drawn):
        lines.append(f"  subgraph cluster_{number} {{")
        lines.append(f"    label={_dot_text(heading(outline, layout))};")
        lines += [f"    {line}" for line in _dot_plan(f"g{number}", layout.plan)]
        lines.append("  }")
    return "\n".join([*lines, "}"]) + "\n"


def _mermaid_plan(name: str, plan: Sequence[PlannedStep]) -> Iterator[str]:
    stages = stages_of(plan)
    yield f'{name}start(["start"]):::end_'
    for number, stage in enumerate(stages):
        is_parallel = len(stage) > 1
        if is_parallel:
            yield f'subgraph {name}p{number}["in parallel"]'
        for place, step in enumerate(stage):
            kind = "pivot" if step.pivot else "step"
            words = [f"<b>{_quoted(step.name)}</b>", step.action, patience(step)]
            words += ["point of no return"] if step.pivot else []
            yield f'{name}s{number}_{place}["{"<br/>".join(words)}"]:::{kind}'
        if is_parallel:
            yield "end"
    yield f'{name}done(["completed"]):::end_'
    for before, after in pairwise([f"{name}start", *_stage_nodes(name, stages), f"{name}done"]):
        yield f"{before} --> {after}"
    yield from _mermaid_way_back(name, stages)


def _stage_nodes(name: str, stages: Sequence[Sequence[PlannedStep]]) -> Iterator[str]:
    """What a stage is entered and left by: the step, or the box around several."""
    for number, stage in enumerate(stages):
        yield f"{name}p{number}" if len(stage) > 1 else f"{name}s{number}_0"


def _mermaid_way_back(name: str, stages: Sequence[Sequence[PlannedStep]]) -> Iterator[str]:
    ways = _undoing(stages)
    if not ways:
        return
    yield f'{name}failed(["failed"]):::end_'
    for number, place, step in (each for way in ways for each in way):
        yield f'{name}c{number}_{place}["undo: {step.compensation}"]:::undo'
        yield f"{name}s{number}_{place} -.- {name}c{number}_{place}"
    for later, earlier in pairwise(reversed(ways)):
        left = " & ".join(f"{name}c{number}_{place}" for number, place, _ in later)
        right = " & ".join(f"{name}c{number}_{place}" for number, place, _ in earlier)
        yield f"{left} -.-> {right}"
    first = " & ".join(f"{name}c{number}_{place}" for number, place, _ in ways[0])
    yield f"{first} -.-> {name}failed"


def _undoing(
    stages: Sequence[Sequence[PlannedStep]],
) -> list[list[tuple[int, int, PlannedStep]]]:
    """The steps that have a compensation, stage by stage; stages without any are left out."""
    found = [
        [(number, place, step) for place, step in enumerate(stage) if step.compensation]
        for number, stage in enumerate(stages)
    ]
    return [each for each in found if each]


def _dot_plan(name: str, plan: Sequence[PlannedStep]) -> Iterator[str]:
    stages = stages_of(plan)
    yield f'{name}start [label="start" {_DOT_END}];'
    yield f'{name}done [label="completed" {_DOT_END}];'
    for number, stage in enumerate(stages):
        undone = [
            f"{name}c{number}_{place};" for place, step in enumerate(stage) if step.compensation
        ]
        members = [*(f"{name}s{number}_{place};" for place in range(len(stage))), *undone]
        yield f"{{ rank=same; {' '.join(members)} }}"
        for place, step in enumerate(stage):
            look = _DOT_PIVOT if step.pivot else _DOT_STEP
            words = [step.name, step.action, patience(step)]
            words += ["point of no return"] if step.pivot else []
            yield f"{name}s{number}_{place} [label={_dot_text(*words)} {look}];"
    nodes = [
        [f"{name}s{number}_{place}" for place in range(len(stage))]
        for number, stage in enumerate(stages)
    ]
    for before, after in pairwise([[f"{name}start"], *nodes, [f"{name}done"]]):
        yield f"{{ {' '.join(before)} }} -> {{ {' '.join(after)} }};"
    yield from _dot_way_back(name, stages)


def _dot_way_back(name: str, stages: Sequence[Sequence[PlannedStep]]) -> Iterator[str]:
    ways = _undoing(stages)
    if not ways:
        return
    yield f'{name}failed [label="failed" {_DOT_END} color="#c2410c"];'
    yield f"{{ rank=same; {name}start; {name}failed; }}"
    for number, place, step in (each for way in ways for each in way):
        node = f"{name}c{number}_{place}"
        yield f"{node} [label={_dot_text(f'undo: {step.compensation}')} {_DOT_UNDO}];"
        yield f"{name}s{number}_{place} -> {node} [style=dotted dir=none constraint=false];"
    look = '[style=dashed color="#c2410c" constraint=false]'
    named = [[f"{name}c{number}_{place}" for number, place, _ in way] for way in ways]
    for later, earlier in pairwise([*reversed(named), [f"{name}failed"]]):
        yield f"{{ {' '.join(later)} }} -> {{ {' '.join(earlier)} }} {look};"


def _quoted(text: str) -> str:
    """Mermaid knows no escapes in its texts but entities."""
    marks = {"&": "#amp;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "#": "#35;"}
    return "".join(marks.get(each, each) for each in text)


def _dot_text(*lines: str) -> str:
    escaped = [each.replace("\\", "\\\\").replace('"', '\\"') for each in lines]
    return '"' + "\\n".join(escaped) + '"'
