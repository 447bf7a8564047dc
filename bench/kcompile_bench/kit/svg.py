"""Charts as inline SVG: axes, lines, points and intervals.

Colours are classes: the page decides them, for light, dark and print.

Drawn 560 wide with 14-point text: on a phone that shrinks to about two thirds, and can still be read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

__all__ = ["Axis", "Chart", "Point", "Row", "Series", "forest", "standalone"]

WIDTH = 560
_LEFT, _RIGHT, _TOP = 78, 14, 12
_MARKS = ("circle", "square", "diamond", "triangle")


class Point(NamedTuple):
    """A point; `low` and `high` are the ends of its interval along y, where it has one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


class Series(NamedTuple):
    """A line or a cloud. `colour` is a class name (``m-nftables``)."""

    name: str
    colour: str
    points: Sequence[Point]
    line: bool = True
    marks: bool = True


class Axis(NamedTuple):
    """A scale with its label. `ticks`: values with their texts; empty: chosen automatically."""

    label: str
    low: float
    high: float
    log: bool = False
    ticks: Sequence[tuple[float, str]] = ()

    def place(self, value: float) -> float:
        """The share of the axis, 0 to 1; values outside are moved to the edge."""
        if self.log:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return min(1.0, max(0.0, share))

    def shown(self) -> list[tuple[float, str]]:
        return list(self.ticks) or (
            _log_ticks(self.low, self.high) if self.log else _ticks(self.low, self.high)
        )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    raw = (high - low) / 5
    step = 10 ** math.floor(math.log10(raw))
    step *= next(m for m in (1, 2, 2.5, 5, 10) if m * step >= raw)
    first = math.ceil(low / step - 1e-9)
    return [(n * step, _number(n * step)) for n in range(first, int(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    factors = (1,) if high / low > 200 else (1, 2, 5)
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values = [factor * 10.0**exponent for exponent in exponents for factor in factors]
    shown = [(v, _number(v)) for v in values if low * 0.999 <= v <= high * 1.001]
    return shown if len(shown) > 2 else _ticks(low, high)


class Chart:
    """One chart. `title` is read by screen readers."""

    def __init__(self, title: str, x: Axis, y: Axis, height: int = 340) -> None:
        self.title, self.x, self.y = title, x, y
        self.height = height
        self._parts: list[str] = []
        self._legend: list[tuple[str, str, int]] = []

    @property
    def _bottom(self) -> int:
        return self.height - 50

    def _px(self, value: float) -> float:
        return _LEFT + self.x.place(value) * (WIDTH - _LEFT - _RIGHT)

    def _py(self, value: float) -> float:
        return self._bottom - self.y.place(value) * (self._bottom - _TOP)

    def add(self, series: Series, offset: float = 0.0) -> None:
        """Draw `series`, its marks moved `offset` pixels to the right."""
        number = len(self._legend)
        self._legend.append((series.name, series.colour, number))
        places = [(self._px(p.x) + offset, self._py(p.y), p) for p in series.points]
        if series.line and len(places) > 1:
            path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in places)
            self._parts.append(f'<path class="line {series.colour} d{number % 3}" d="{path}"/>')
        for x, y, p in places if series.marks else ():
            if p.low is not None and p.high is not None:
                bar = f"M{x:.1f} {self._py(p.low):.1f}V{self._py(p.high):.1f}"
                self._parts.append(f'<path class="bar {series.colour}" d="{bar}"/>')
            self._parts.append(_mark(number, x, y, series.colour))

    def band(self, low: float, high: float, text: str) -> None:
        """Shade the values of y from `low` to `high`: the noise."""
        top, bottom = self._py(high), self._py(low)
        left, right = _LEFT, WIDTH - _RIGHT
        size = f'width="{right - left}" height="{bottom - top:.1f}"'
        self._parts.insert(0, f'<rect class="noise" x="{left}" y="{top:.1f}" {size}/>')
        at = f'x="{right - 4}" y="{top - 4:.1f}"'
        self._parts.append(f'<text class="small" {at} text-anchor="end">{escape(text)}</text>')

    def svg(self) -> str:
        """The whole drawing with axes and legend."""
        parts = [*self._axes(), *self._parts]
        height = self.height
        x, row = _LEFT, 0
        for name, colour, number in self._legend:
            width = 30 + 7.6 * len(name)
            if x + width > WIDTH and x > _LEFT:
                x, row = _LEFT, row + 1
            y = height + 8 + 20 * row
            parts.append(f'<path class="line {colour} d{number % 3}" d="M{x:.0f} {y}h20"/>')
            parts.append(_mark(number, x + 10, y, colour))
            parts.append(f'<text x="{x + 26:.0f}" y="{y + 5}">{escape(name)}</text>')
            x += width
        height += 20 * (row + 1) if self._legend else 0
        return _wrapped(self.title, height, parts)

    def _axes(self) -> list[str]:
        right, bottom = WIDTH - _RIGHT, self._bottom
        parts = []
        for value, text in self.y.shown():
            y = self._py(value)
            parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{right}"/>')
            parts.append(f'<text x="{_LEFT - 8}" y="{y + 5:.1f}" text-anchor="end">{escape(text)}</text>')
        for value, text in self.x.shown():
            x = self._px(value)
            parts.append(f'<path class="grid" d="M{x:.1f} {_TOP}V{bottom}"/>')
            parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{escape(text)}</text>')
        parts.append(f'<path class="axis" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>')
        below = f'x="{(_LEFT + right) / 2:.0f}" y="{bottom + 40}"'
        parts.append(f'<text {below} text-anchor="middle">{escape(self.x.label)}</text>')
        beside = f'transform="translate(15 {(_TOP + bottom) / 2:.0f}) rotate(-90)"'
        parts.append(f'<text {beside} text-anchor="middle">{escape(self.y.label)}</text>')
        return parts


def _mark(number: int, x: float, y: float, colour: str) -> str:
    match _MARKS[number % len(_MARKS)]:
        case "circle":
            return f'<circle class="mark {colour}" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'
        case "square":
            return f'<rect class="mark {colour}" x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8"/>'
        case "diamond":
            return f'<path class="mark {colour}" d="M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z"/>'
        case _:
            return f'<path class="mark {colour}" d="M{x:.1f} {y - 6:.1f}l6 10h-12z"/>'


def _wrapped(title: str, height: float, parts: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title, quote=True)}">'
    return f"{head}<title>{escape(title)}</title>{''.join(parts)}</svg>"


def standalone(svg: str, style: str) -> str:
    """A drawing as a file of its own, with the page's `style` in it."""
    head, _, rest = svg.partition(">")
    height = head.split('viewBox="0 0 ')[1].split('"')[0].split()[1]
    size = f'xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}"'
    return (
        f'{head} {size}><style>{escape(style)}</style><rect class="page" width="100%" height="100%"/>{rest}\n'
    )


class Row(NamedTuple):
    """A line of a forest plot: a value with its interval, or a heading (no value).

    `claimed` fills the mark.
    """

    label: str
    colour: str = ""
    value: float | None = None
    low: float = 0.0
    high: float = 0.0
    text: str = ""
    claimed: bool = True


def forest(
    title: str,
    label: str,
    rows: Sequence[Row],
    reference: float | None,
    noise: float | None = None,
    log: bool = False,
) -> str:
    """Values with intervals, one under the other, and a line at `reference`; `noise` shades what lies within
    it around the reference.
    """
    measured = [row for row in rows if row.value is not None]
    values = [value for row in measured for value in (row.low, row.high)]
    if reference is not None:
        values.append(reference)
    low, high = min(values), max(values)
    room = (high - low) * 0.06 or 0.1
    if log:
        axis = Axis(label, low * 0.9, high * 1.1, log=True)
    else:
        axis = Axis(label, max(0, low - room), high + room)
    left, right, step = 150, WIDTH - 142, 24
    bottom = _TOP + step * len(rows) + 4

    def px(value: float) -> float:
        return left + axis.place(value) * (right - left)

    parts = []
    if noise and reference is not None:
        a, b = px(reference / (1 + noise)), px(reference * (1 + noise))
        parts.append(
            f'<rect class="noise" x="{a:.1f}" y="{_TOP}" width="{b - a:.1f}" height="{bottom - _TOP}"/>'
        )
    for value, text in axis.shown():
        parts.append(f'<path class="grid" d="M{px(value):.1f} {_TOP}V{bottom}"/>')
        parts.append(
            f'<text x="{px(value):.1f}" y="{bottom + 18}" text-anchor="middle">{escape(text)}</text>'
        )
    if reference is not None:
        parts.append(f'<path class="axis" d="M{px(reference):.1f} {_TOP}V{bottom}"/>')
    for number, row in enumerate(rows):
        y = _TOP + step * number + step / 2 + 2
        if row.value is None:
            parts.append(f'<text class="head row" x="4" y="{y + 5:.1f}">{escape(row.label)}</text>')
            continue
        parts.append(f'<text x="{left - 8}" y="{y + 5:.1f}" text-anchor="end">{escape(row.label)}</text>')
        parts.append(f'<path class="bar {row.colour}" d="M{px(row.low):.1f} {y:.1f}H{px(row.high):.1f}"/>')
        hollow = "" if row.claimed else " hollow"
        centre = f'cx="{px(row.value):.1f}" cy="{y:.1f}"'
        parts.append(f'<circle class="mark {row.colour}{hollow}" {centre} r="5"/>')
        parts.append(f'<text x="{right + 8}" y="{y + 5:.1f}">{escape(row.text)}</text>')
    below = f'x="{(left + right) / 2:.0f}" y="{bottom + 40}"'
    parts.append(f'<text {below} text-anchor="middle">{escape(label)}</text>')
    return _wrapped(title, bottom + 50, parts)
