"""Charts one below the other over one axis of time, as SVG. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, RIGHT, HEIGHT, GAP, TOP = 900, 60, 20, 170, 56, 30


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart: what it is, its colour, and its points (seconds, value)."""

    name: str
    colour: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Some lines over time; as *steps*, or as *dots*."""

    title: str
    lines: Sequence[Line]
    steps: bool = False
    dots: bool = False

    @property
    def highest(self) -> float:
        """A round number above all points."""
        most = max((value for line in self.lines for _, value in line.points), default=1.0) or 1.0
        power = 10 ** math.floor(math.log10(most))
        return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= most)


def height_of(charts: int) -> int:
    """Of a picture of so many."""
    return TOP + charts * (HEIGHT + GAP)


def draw(charts: Sequence[Chart], *, until: float) -> str:
    """All of them."""
    height = height_of(len(charts))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12" fill="#222">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for number, chart in enumerate(charts):
        parts += _chart(chart, top=TOP + number * (HEIGHT + GAP), until=until)
    return "\n".join([*parts, "</svg>\n"])


def _chart(chart: Chart, *, top: int, until: float) -> list[str]:
    highest, bottom = chart.highest, top + HEIGHT

    def x(at: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * at / until, 1)

    def y(value: float) -> float:
        return round(bottom - HEIGHT * value / highest, 1)

    parts = [f'<text x="{LEFT}" y="{top - 10}" font-weight="bold">{escape(chart.title)}</text>']
    for share in (0, 0.5, 1):
        at = y(highest * share)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4}" text-anchor="end">{highest * share:g}</text>')
    every = next(step for step in (5, 10, 20, 30, 60, 120, 300) if until / step <= 12)
    seconds = range(0, int(until) + 1, every)
    parts += [f'<text x="{x(second)}" y="{bottom + 16}" text-anchor="middle">{second} s</text>' for second in seconds]
    for number, line in enumerate(chart.lines):
        at = WIDTH - RIGHT - 130 * (len(chart.lines) - number)
        parts.append(f'<text x="{at}" y="{top + 12}" fill="{line.colour}">■ {escape(line.name)}</text>')
        if chart.dots:
            parts += [f'<circle cx="{x(t)}" cy="{y(v)}" r="1.8" fill="{line.colour}" fill-opacity="0.6"/>' for t, v in line.points]
            continue
        points: list[str] = []
        for before, (t, v) in zip([None, *line.points], line.points, strict=False):
            if chart.steps and before is not None:
                points.append(f"{x(t)},{y(before[1])}")
            points.append(f"{x(t)},{y(v)}")
        parts.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{line.colour}" stroke-width="1.6"/>')
    return parts
