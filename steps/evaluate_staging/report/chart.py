"""A chart of the report: matplotlib draws it, the page colours it.

Matplotlib knows fixed colours only, the page has three sets of them: light, dark and paper. So each colour here is a stand-in, which becomes
the page's CSS variable when the SVG is written; text stays text, in the page's font and size.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from html import escape
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

Colour = Literal["ink", "soft", "line", "page", "ours", "theirs", "passed", "failed"]
"""A colour variable of report.html.j2."""
_STAND_INS: dict[Colour, str] = {
    "ink": "#010a01",
    "soft": "#010a02",
    "line": "#010a03",
    "page": "#010a04",
    "ours": "#010a05",
    "theirs": "#010a06",
    "passed": "#010a07",
    "failed": "#010a08",
}
_SIZE = (6.6, 3.2)  # inches of 72 points: wide enough for two beside each other
_LOG_FROM = 20.0
"""From this ratio of the largest to the smallest value on, a linear scale would squeeze the small ones."""
_LOG_SPAN = 3000.0
"""A logarithmic axis shows no more than this ratio: gaps of a microsecond, tokens that came together, would take all the room."""
_STYLE: Any = {
    "svg.fonttype": "none",  # text, not outlines
    "svg.hashsalt": "report",  # the same chart is the same bytes
    "font.size": 10.0,
    "axes.edgecolor": _STAND_INS["soft"],
    "axes.labelcolor": _STAND_INS["soft"],
    "xtick.color": _STAND_INS["soft"],
    "ytick.color": _STAND_INS["soft"],
    "grid.color": _STAND_INS["line"],
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.xmargin": 0.02,
    "legend.frameon": False,
    "legend.labelcolor": _STAND_INS["ink"],
}


class Chart:
    """One chart. Draw into it, then take `svg()`."""

    def __init__(self, title: str, x_label: str, y_label: str) -> None:
        """`title`: what it shows, for those who cannot see it."""
        self._title = title
        with mpl.rc_context(_STYLE):
            self._figure = Figure(figsize=_SIZE, layout="constrained")
            self._axes = self._figure.add_subplot(xlabel=x_label, ylabel=y_label)
            self._axes.tick_params(length=0)
            self._axes.patch.set_visible(False)
            self._figure.patch.set_visible(False)
        for axis in (self._axes.xaxis, self._axes.yaxis):
            axis.set_major_locator(MaxNLocator(6))
            axis.set_major_formatter(lambda value, _: label(value))

    def fit_x(self, values: Sequence[float]) -> None:
        """Fit the x axis to these values: from zero, or logarithmic where a tail would squeeze the rest."""
        if _is_long_tailed(values):
            self._axes.set_xscale("log")
            self._axes.set_xlim(*_log_limits(values))
            _name_powers(self._axes.xaxis)
        else:
            self._axes.set_xlim(0, max(values) * 1.04 or 1)

    def fit_y(self, values: Sequence[float]) -> None:
        """Fit the y axis to these values, likewise."""
        if _is_long_tailed(values):
            self._axes.set_yscale("log")
            self._axes.set_ylim(*_log_limits(values))
            _name_powers(self._axes.yaxis)
        else:
            self._axes.set_ylim(0, max(values) * 1.12 or 1)

    def name_y(self, ticks: Sequence[tuple[float, str]], top: float) -> None:
        """Give the y axis a range from zero to `top` with these values named."""
        self._axes.set_ylim(0, top)
        self._axes.set_yticks([value for value, _ in ticks], [words for _, words in ticks])

    def line(self, points: Sequence[tuple[float, float]], colour: Colour, *, words: str = "", filled: bool = False) -> None:
        """Draw a line through points; `words` name it in the legend, `filled` paints what is below it, too."""
        if not points:
            return
        x, y = [point[0] for point in points], [point[1] for point in points]
        self._axes.plot(x, y, color=_STAND_INS[colour], linewidth=2, solid_joinstyle="round", label=words or "_")
        if filled:
            self._axes.fill_between(x, y, color=_STAND_INS[colour], alpha=0.13, linewidth=0)

    def dot(self, x: float, y: float, colour: Colour) -> None:
        """Draw a point."""
        self._axes.plot([x], [y], "o", color=_STAND_INS[colour], markersize=7, zorder=4)

    def across(self, y: float, colour: Colour, words: str) -> None:
        """Draw a dashed line over the whole width, with words above its end."""
        self._axes.axhline(y, color=_STAND_INS[colour], linewidth=1.2, linestyle=(0, (4, 3)))
        self._axes.annotate(
            words, (1, y), (-2, 3), xycoords=("axes fraction", "data"), textcoords="offset points", ha="right", **_ink(colour)
        )

    def bound(self, x: float, y: float, colour: Colour, words: str, *, on_the_left: bool) -> None:
        """Draw a bound at one height: a triangle there, a dashed line down to the axis, words beside it."""
        self._axes.vlines(x, self._axes.get_ylim()[0], y, color=_STAND_INS[colour], linewidth=1.2, linestyle=(0, (4, 3)))
        self._axes.plot([x], [y], "v", color=_STAND_INS[colour], markersize=9, zorder=4)
        offset, side = ((-8, 0), "right") if on_the_left else ((8, 0), "left")
        self._axes.annotate(words, (x, y), offset, textcoords="offset points", ha=side, va="center", zorder=5, **_ink(colour))

    def legend(self) -> None:
        """Name the lines that have words."""
        with mpl.rc_context(_STYLE):
            self._axes.legend(loc="upper left")

    def svg(self) -> str:
        """Return the chart, to be put into the page: it follows the page's colours, and names nothing outside it."""
        written = io.StringIO()
        with mpl.rc_context(_STYLE):
            self._figure.savefig(written, format="svg", metadata={"Date": None})
        drawn = written.getvalue()
        box = re.search(r'viewBox="[^"]*"', drawn)
        inner = re.sub(r"<metadata>.*?</metadata>", "", drawn[drawn.index(">", drawn.index("<svg")) + 1 :], flags=re.DOTALL)
        inner = re.sub(r'<g id="[a-zA-Z]+[\d._]*">', "<g>", inner)  # the same in every chart, and an id is to be one's own
        inner = re.sub(r"font: [\d.]+px '[^;]*;", "", inner)
        for colour, stand_in in _STAND_INS.items():
            inner = inner.replace(stand_in, f"var(--{colour})")
        head = f'<svg class="chart" {box[0] if box else ""} role="img" aria-label="{escape(self._title)}">'
        return head + re.sub(r"\s*\n\s*", " ", inner).strip()


def label(value: float) -> str:
    """Format a number beside an axis."""
    return f"{value:,.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.3g}"


def _ink(colour: Colour) -> dict[str, Any]:
    """Make words in a colour legible over lines."""
    paper = {"facecolor": _STAND_INS["page"], "edgecolor": "none", "alpha": 0.8, "pad": 1}
    return {"color": _STAND_INS["ink" if colour == "soft" else colour], "bbox": paper}


def _is_long_tailed(values: Sequence[float]) -> bool:
    smallest = min((value for value in values if value > 0), default=1.0)
    return max(values) > _LOG_FROM * smallest


def _log_limits(values: Sequence[float]) -> tuple[float, float]:
    high = max(values)
    return max(min(value for value in values if value > 0), high / _LOG_SPAN) / 1.15, high * 1.15


def _name_powers(axis: Axis) -> None:
    """Name powers of ten on a logarithmic axis, and twice and five times these."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=8))
    axis.set_major_formatter(lambda value, _: label(value))
    axis.set_minor_formatter(NullFormatter())
