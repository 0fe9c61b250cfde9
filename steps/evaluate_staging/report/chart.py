"""A chart as SVG text. Colours are the page's (CSS classes), so that it follows dark mode and paper; nothing is imported to draw it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

_WIDTH, _HEIGHT = 520, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 16, 14, 40
_TICKS = 5
_LOG_SPAN = 3000.0
"""A logarithmic scale shows no more than this ratio: gaps of a microsecond, tokens that came together, would take all the room."""
_LOG_FROM = 20.0
"""From this ratio of the largest to the smallest value on, a linear scale would squeeze the small ones."""


@dataclass(frozen=True)
class Scale:
    """Values to places along an axis, with the values that are written beside it."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    is_log: bool = False

    def place(self, value: float) -> float:
        """0 at the axis's beginning, 1 at its end; values beyond are put at the edge."""
        low, high = self.low, self.high
        if self.is_log:
            low, high, value = math.log10(low), math.log10(high), math.log10(max(value, self.low))
        return min(1.0, max(0.0, (value - low) / (high - low)))


def linear(values: Sequence[float], *, from_zero: bool = True, to_the_end: bool = False) -> Scale:
    """A scale of round numbers around the values; `to_the_end`: it ends at the largest value, round or not."""
    low, high = (0.0 if from_zero else min(values)), max(values)
    if high <= low:
        high = low + (abs(low) or 1.0)
    step = _round_step((high - low) / (_TICKS - 1))
    first, last = math.floor(low / step), math.ceil(high / step - 1e-9)
    end = high if to_the_end else last * step
    return Scale(first * step, end, tuple((n * step, label(n * step)) for n in range(first, last + 1) if n * step <= end))


def logarithmic(values: Sequence[float]) -> Scale:
    """A scale of powers of ten (and twice and five times these, where there are few); what is too small for it is put at its edge."""
    high = max(max(values), 1e-3)
    low = max(min(values), high / _LOG_SPAN)
    low, high = low / 1.15, high * 1.15
    decades = math.log10(high / low)
    factors = (1, 2, 5) if decades < 2.2 else (1, 3) if decades < 3.2 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    marks = [factor * 10.0**power for power in powers for factor in factors]
    return Scale(low, high, tuple((mark, label(mark)) for mark in marks if low <= mark <= high), is_log=True)


def fitting(values: Sequence[float]) -> Scale:
    """Linear, or logarithmic where a tail would squeeze the rest."""
    smallest = min((value for value in values if value > 0), default=1.0)
    return logarithmic([value for value in values if value > 0]) if max(values) > _LOG_FROM * smallest else linear(values)


def label(value: float) -> str:
    """A number beside an axis."""
    return f"{value:,.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.3g}"


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)


@dataclass
class Chart:
    """One chart. Draw into it, then take `svg()`."""

    title: str
    """What it shows, for those who cannot see it."""
    x: Scale
    y: Scale
    x_label: str
    y_label: str
    _drawn: list[str] = field(default_factory=list)

    def line(self, points: Sequence[tuple[float, float]], kind: str, *, filled: bool = False) -> None:
        """A line through points; `kind` is its CSS class. `filled` paints what is below it, too."""
        if not points:
            return
        path = "M" + "L".join(f"{self._x(x):.1f} {self._y(y):.1f}" for x, y in points)
        if filled:
            floor, first, last = self._y(self.y.low), self._x(points[0][0]), self._x(points[-1][0])
            self._drawn.append(f'<path class="fill {kind}" d="{path}L{last:.1f} {floor:.1f}L{first:.1f} {floor:.1f}Z"/>')
        self._drawn.append(f'<path class="line {kind}" d="{path}"/>')

    def dot(self, x: float, y: float, kind: str, says: str) -> None:
        """A point; `says` is shown when the mouse is over it."""
        place = f'cx="{self._x(x):.1f}" cy="{self._y(y):.1f}"'
        self._drawn.append(f'<circle class="dot {kind}" {place} r="4.5"><title>{escape(says)}</title></circle>')

    def across(self, y: float, kind: str, says: str) -> None:
        """A dashed line over the whole width, with words above its end."""
        at = self._y(y)
        self._drawn.append(f'<path class="mark {kind}" d="M{_LEFT} {at:.1f}H{_WIDTH - _RIGHT}"/>')
        above = at - 5 if at > _TOP + 14 else at + 13
        self._text(_WIDTH - _RIGHT - 2, above, says, f"says {kind}", "end")

    def bound(self, x: float, y: float, kind: str, says: str) -> None:
        """A bound at one height: a triangle there, a dashed line down to the axis, words beside it on the side with more room."""
        left, top = self._x(x), self._y(y)
        self._drawn.append(f'<path class="mark {kind}" d="M{left:.1f} {top:.1f}V{_HEIGHT - _BOTTOM}"/>')
        self._drawn.append(f'<path class="dot {kind}" d="M{left - 5:.1f} {top - 9:.1f}h10l-5 9z"/>')
        roomy = self.x.place(x) < 0.6
        self._text(left + (9 if roomy else -9), top - 1, says, f"says {kind}", "start" if roomy else "end")

    def legend(self, entries: Sequence[tuple[str, str]]) -> None:
        """Which line is which, in the upper left corner; `entries` are CSS classes and words."""
        for row, (kind, says) in enumerate(entries):
            y = _TOP + 8 + 16 * row
            self._drawn.append(f'<path class="line {kind}" d="M{_LEFT + 8} {y}h18"/>')
            self._text(_LEFT + 32, y + 4, says, "says", "start")

    def svg(self) -> str:
        """The chart."""
        head = f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(self.title)}">'
        return "".join([head, *self._axes(), *self._drawn, "</svg>"])

    def _axes(self) -> list[str]:
        parts: list[str] = []
        right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
        for value, words in self.y.ticks:
            at = self._y(value)
            parts.append(f'<path class="grid" d="M{_LEFT} {at:.1f}H{right}"/>')
            parts.append(f'<text class="tick" x="{_LEFT - 7}" y="{at + 4:.1f}" text-anchor="end">{escape(words)}</text>')
        for value, words in self.x.ticks:
            at = self._x(value)
            parts.append(f'<path class="grid" d="M{at:.1f} {_TOP}V{bottom}"/>')
            parts.append(f'<text class="tick" x="{at:.1f}" y="{bottom + 16}" text-anchor="middle">{escape(words)}</text>')
        parts.append(f'<path class="axis" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>')
        middle = (_LEFT + right) / 2
        parts.append(
            f'<text class="axis-label" x="{middle}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(self.x_label)}</text>'
        )
        up = (_TOP + bottom) / 2
        parts.append(
            f'<text class="axis-label" transform="translate(12 {up}) rotate(-90)" text-anchor="middle">{escape(self.y_label)}</text>'
        )
        return parts

    def _text(self, x: float, y: float, words: str, kind: str, anchor: str) -> None:
        self._drawn.append(f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>')

    def _x(self, value: float) -> float:
        return _LEFT + self.x.place(value) * (_WIDTH - _LEFT - _RIGHT)

    def _y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - self.y.place(value) * (_HEIGHT - _BOTTOM - _TOP)
