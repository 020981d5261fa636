"""Plots as SVG, by hand: a few lines over a logarithmic axis, or bars with their spread."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import log10
from typing import Final

from bench.results import Spread

_WIDTH, _HEIGHT = 720, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 170, 40, 45
_COLOURS: Final = ("#2166ac", "#b2182b", "#1b7837", "#e08214", "#762a83", "#525252")
_BAR = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    at: float
    value: Spread


def bars(title: str, values: Mapping[str, Spread]) -> str:
    """One bar for each name; a thin line shows its spread."""
    highest = max((value.highest for value in values.values()), default=1) or 1
    scale = (_WIDTH - 210) / highest
    height = 50 + len(values) * _BAR
    return _svg(height, title, [each for row in _bars(values, scale) for each in row])


def lines(title: str, axis: str, unit: str, series: Mapping[str, Sequence[Point]]) -> str:
    """One line for each name over the logarithm of what it depends on; 0 stands left of 1."""
    points = [point for each in series.values() for point in each]
    places = sorted({point.at for point in points})
    frame = _Frame(
        lowest=_place(places[0]),
        highest=_place(places[-1]),
        top=max(point.value.highest for point in points) or 1,
    )
    shapes = [*frame.axes(places, axis, unit)]
    for number, (name, found) in enumerate(series.items()):
        shapes += _curve(frame, number, name, found)
    return _svg(_HEIGHT, title, shapes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """Where values lie on the paper."""

    lowest: float
    highest: float
    top: float

    def x(self, at: float) -> float:
        width = _WIDTH - _LEFT - _RIGHT
        return _LEFT + width * (_place(at) - self.lowest) / ((self.highest - self.lowest) or 1)

    def y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / self.top

    def axes(self, places: Sequence[float], axis: str, unit: str) -> Iterator[str]:
        for quarter in range(5):
            value = self.top * quarter / 4
            y = self.y(value)
            yield _stroke(_LEFT, y, _WIDTH - _RIGHT, y, "#dddddd")
            yield _text(_LEFT - 8, y + 4, f"{value:,.0f}", anchor="end")
        for at in places:
            yield _text(self.x(at), _HEIGHT - _BOTTOM + 18, _short(at), anchor="middle")
        yield _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, axis, anchor="middle")
        yield _text(8, _TOP - 10, unit)


def _curve(frame: _Frame, number: int, name: str, found: Sequence[Point]) -> Iterator[str]:
    colour = _COLOURS[number % len(_COLOURS)]
    places = [(frame.x(point.at), frame.y(point.value.median)) for point in found]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    for point, (x, y) in zip(found, places, strict=True):
        low, high = frame.y(point.value.lowest), frame.y(point.value.highest)
        yield _stroke(x, low, x, high, colour)
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
    yield _text(_WIDTH - _RIGHT + 12, _TOP + 10 + 18 * number, name, colour=colour)


def _bars(values: Mapping[str, Spread], scale: float) -> Iterator[Sequence[str]]:
    for number, (name, value) in enumerate(values.items()):
        y, width = 40 + number * _BAR, value.median * scale
        colour = _COLOURS[number % len(_COLOURS)]
        middle = y + 9
        yield (
            _text(140, y + 13, name, anchor="end"),
            f'<rect x="150" y="{y}" width="{width:.1f}" height="18" fill="{colour}"/>',
            _stroke(
                150 + value.lowest * scale, middle, 150 + value.highest * scale, middle, "#000"
            ),
            _text(156 + value.highest * scale, y + 13, f"{value.median:,.0f}"),
        )


def _place(at: float) -> float:
    return log10(at) if at >= 1 else -1.0


def _short(at: float) -> str:
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if at >= size:
            return f"{at / size:g}{letter}"
    return f"{at:g}"


def _stroke(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}"/>'


def _text(x: float, y: float, said: str, *, anchor: str = "start", colour: str = "#222") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"'
    return f"<text {place}>{escape(said)}</text>"


def _svg(height: int, title: str, shapes: Sequence[str]) -> str:
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">'
    )
    background = f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>'
    head = f'<text x="8" y="18" font-size="14" font-weight="bold">{escape(title)}</text>'
    return "\n".join((opening, background, head, *shapes, "</svg>")) + "\n"
