"""A definition as SVG: stages from left to right, what is undone below, the pivot as a line."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from orchestrator.contracts.drawing.captions import forward_from, heading, patience
from orchestrator.contracts.drawing.texts import Drawn
from orchestrator.contracts.outlines import stages_of
from orchestrator.saga.plan import PlannedStep

_MARGIN: Final = 32
_TITLE: Final = 44
_GAP: Final = 56  # between stages: room for an arrow
_BETWEEN: Final = 16  # between steps of one stage
_FRAME: Final = 14  # around steps in parallel
_HEAD: Final = 74
_UNDO: Final = 30
_PADDING: Final = 14
_END: Final = 92  # width of the pills at both ends
_PLANS: Final = 36  # between plans
_NAME_WIDTH: Final = 8.2  # of one character, rather too much: fonts differ
_TEXT_WIDTH: Final = 7.0
_STYLE: Final = """\
text{font-family:'Segoe UI',Roboto,'Helvetica Neue',Arial,'DejaVu Sans',sans-serif;fill:#1f2937}
.title{font-size:18px;font-weight:600}.name{font-size:14px;font-weight:600}
.small{font-size:12px;fill:#4b5563}.undo{font-size:12px;fill:#9a3412}.note{font-size:11px}
.card{fill:#f5f8ff;stroke:#5b84d6;stroke-width:1.2}.pivot{fill:#fff8db;stroke:#b7791f;stroke-width:2.4}
.back{fill:#fff7ed;stroke:#ea7a3b;stroke-width:1.2;stroke-dasharray:5 3}
.frame{fill:none;stroke:#94a3b8;stroke-width:1;stroke-dasharray:2 4}
.end{fill:#eef0f3;stroke:#6b7280}.good{fill:#e8f7ee;stroke:#2f9e5f}.bad{fill:#fdecea;stroke:#c8453a}
.way{stroke:#334155;stroke-width:1.6;fill:none}
.wayback{stroke:#ea7a3b;stroke-width:1.4;fill:none;stroke-dasharray:5 3}
.line{stroke:#b7791f;stroke-width:1.6;stroke-dasharray:7 4}"""
_MARKERS: Final = """\
<marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">\
<path d="M0 0L8 4L0 8z" fill="#334155"/></marker>
<marker id="b" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">\
<path d="M0 0L8 4L0 8z" fill="#ea7a3b"/></marker>"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """A stage and where it stands; `top` is that of its first step."""

    steps: tuple[PlannedStep, ...]
    left: float
    top: float
    width: float

    @property
    def right(self) -> float:
        return self.left + self.width


def svg(drawn: Drawn) -> str:
    """All plans, one below the other."""
    parts: list[str] = []
    y, width = float(_MARGIN), 0.0
    for outline, layout in drawn:
        lines, area = _plan(heading(outline, layout), layout.plan, y)
        parts += lines
        y, width = y + area[1] + _PLANS, max(width, area[0])
    height = y - _PLANS + _MARGIN
    titles = ", ".join(dict.fromkeys(outline.saga_type for outline, _ in drawn))
    size = f'width="{width:g}" height="{height:g}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {width:g} {height:g}"'
    return "\n".join(
        [
            f'{head} role="img">',
            f"<title>{escape(titles)}</title>",
            f"<style>{_STYLE}</style>",
            f"<defs>{_MARKERS}</defs>",
            f'<rect {size} fill="#ffffff"/>',
            *parts,
            "</svg>\n",
        ]
    )


def _plan(title: str, plan: Sequence[PlannedStep], y: float) -> tuple[list[str], tuple[float, ...]]:
    """Its drawing, and how wide and high it is, margins left and right included."""
    stages = stages_of(plan)
    heights = [_height_of(stage) for stage in stages]
    tallest = max(heights)
    axis = y + _TITLE + tallest / 2
    columns = _columns(stages, heights, axis)
    end = columns[-1].right + _GAP
    width = max(end + _END + _MARGIN, 2 * _MARGIN + len(title) * 10)
    lines = [_text(title, _MARGIN, y + 16, "title")]
    lines += [line for column in columns for line in _stage(column)]
    stage = forward_from(plan)
    lines += _ways(columns, axis, end, stage)
    if stage is not None:
        lines += _no_return(columns, stage, (y + _TITLE - 12, y + _TITLE + tallest + 12), end)
    return lines, (width, _TITLE + tallest + 22)


def _columns(
    stages: Sequence[tuple[PlannedStep, ...]], heights: Sequence[float], axis: float
) -> list[_Column]:
    left = float(_MARGIN + _END + _GAP)
    found = []
    for steps, height in zip(stages, heights, strict=True):
        width = max(map(_width_of, steps)) + (2 * _FRAME if len(steps) > 1 else 0)
        found.append(_Column(steps=steps, left=left, top=axis - height / 2, width=width))
        left += width + _GAP
    return found


def _width_of(step: PlannedStep) -> float:
    undo = f"undo: {step.compensation}" if step.compensation else ""
    texts = max(map(len, (step.action, patience(step), undo))) * _TEXT_WIDTH
    return max(len(step.name) * _NAME_WIDTH, texts, 120) + 2 * _PADDING


def _height_of(steps: Sequence[PlannedStep]) -> float:
    inner = sum(map(_height_of_step, steps)) + _BETWEEN * (len(steps) - 1)
    return inner + (2 * _FRAME + 14 if len(steps) > 1 else 0)


def _height_of_step(step: PlannedStep) -> float:
    return _HEAD + (_UNDO if step.compensation else 0)


def _stage(column: _Column) -> Iterator[str]:
    is_parallel = len(column.steps) > 1
    left, top, width = column.left, column.top, column.width
    if is_parallel:
        yield _box("frame", left, top, width, _height_of(column.steps), 10)
        yield _text("in parallel", left + _FRAME, top + 17, "note")
        left, top, width = left + _FRAME, top + _FRAME + 14, width - 2 * _FRAME
    for step in column.steps:
        yield from _step(step, left, top, width)
        top += _height_of_step(step) + _BETWEEN


def _step(step: PlannedStep, left: float, top: float, width: float) -> Iterator[str]:
    text = left + _PADDING
    if step.compensation:  # it looks out from below the card
        yield _box("back", left, top + _HEAD - 10, width, _UNDO + 10, 8)
        yield _text(f"undo: {step.compensation}", text, top + _HEAD + 20, "undo")
    yield _box("pivot" if step.pivot else "card", left, top, width, _HEAD, 8)
    yield _text(step.name, text, top + 23, "name")
    yield _text(step.action, text, top + 43, "small")
    yield _text(patience(step), text, top + 61, "small")


def _ways(
    columns: Sequence[_Column], axis: float, end: float, forward: int | None
) -> Iterator[str]:
    """Forward on the upper line; back, from wherever a step may still refuse, on the lower."""
    ahead, back = axis - 10, axis + 10
    yield from _pill("start", _MARGIN, ahead, "end")
    yield from _pill("completed", end, ahead, "good")
    yield from _pill("failed", _MARGIN, back + 26, "bad")
    edges = [_MARGIN + _END, *(x for each in columns for x in (each.left, each.right)), end]
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        yield _arrow("way", "a", start + 2, stop - 3, ahead)
    yield from _back(columns[:forward], back)


def _back(columns: Sequence[_Column], y: float) -> Iterator[str]:
    left = _MARGIN + _END
    for number, column in enumerate(columns):
        if number == 0:
            path = f"M{column.left - 2:g} {y:g}H{left + 24:g}V{y + 26:g}H{left + 3:g}"
            yield f'<path class="wayback" d="{path}" marker-end="url(#b)"/>'
        else:
            yield _arrow("wayback", "b", column.left - 2, columns[number - 1].right + 3, y)


def _no_return(
    columns: Sequence[_Column], stage: int, span: tuple[float, float], end: float
) -> Iterator[str]:
    """Between the pivot and what follows it: from there on nothing is undone."""
    following = columns[stage].left if stage < len(columns) else end
    x = following - _GAP / 2
    yield f'<path class="line" d="M{x:g} {span[0]:g}V{span[1]:g}"/>'
    yield _text("point of no return", x + 6, span[0] + 8, "note")


def _pill(text: str, left: float, y: float, kind: str) -> Iterator[str]:
    yield _box(kind, left, y - 14, _END, 28, 14)
    x = left + _END / 2
    yield f'<text class="small" x="{x:g}" y="{y + 4:g}" text-anchor="middle">{escape(text)}</text>'


def _arrow(kind: str, marker: str, start: float, stop: float, y: float) -> str:
    return f'<path class="{kind}" d="M{start:g} {y:g}H{stop:g}" marker-end="url(#{marker})"/>'


def _box(kind: str, x: float, y: float, width: float, height: float, round_: float) -> str:
    size = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{round_:g}"'
    return f'<rect class="{kind}" {size}/>'


def _text(text: str, x: float, y: float, kind: str) -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(text)}</text>'
