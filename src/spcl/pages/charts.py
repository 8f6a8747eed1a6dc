"""Charts as inline SVG: lines over epochs, and histograms. Text in, markup out; no script is needed to read them.

Lines differ in colour and in dashes, so that they are distinguished in print and by readers who do not see colours.
Colours are classes (``c0`` to ``c7``), which the style sheet sets for the light, the dark and the printed page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10

from markupsafe import Markup, escape

WIDTH, HEIGHT = 480, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 10, 28
NUM_COLOURS = 8


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        name: Name in the legend.
        points: Pairs of x and y; y None: no value there.
        colour: Number of its colour; its dashes go with it.
    """

    name: str
    points: Sequence[tuple[float, float | None]]
    colour: int = 0


@dataclass(frozen=True)
class Mark:
    """A vertical line in a chart, with its text."""

    x: float
    text: str


@dataclass(frozen=True)
class Bars:
    """A histogram.

    Attributes:
        name: Name in the legend.
        counts: Height of each bar, as shares or numbers.
        colour: Number of its colour.
    """

    name: str
    counts: Sequence[float]
    colour: int = 0


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Give round numbers between two numbers, both ends covered."""
    if not (isfinite(low) and isfinite(high)) or high <= low:
        high = low + (abs(low) or 1.0)
    raw = (high - low) / max(1, most - 1)
    power = 10.0 ** floor(log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def shown_number(value: float) -> str:
    """Write a number of an axis in few characters."""
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value)}"
    return f"{value:.4g}"


def line_chart(lines: Sequence[Line], *, title: str, x_title: str, percent: bool = False) -> Markup:
    """Draw lines over x.

    Args:
        lines: The lines; values that are None are left out.
        title: What the chart shows, for readers that do not see it.
        x_title: Title of the x axis.
        percent: Whether y is a share, written in percent.
    """
    known = [(x, y) for line in lines for x, y in line.points if y is not None and isfinite(y)]
    if not known:
        return Markup("")
    xs, ys = [x for x, _ in known], [y for _, y in known]
    low = 0.0 if min(ys) >= 0 and min(ys) < 0.6 * max(ys) else min(ys)
    y_ticks, x_ticks = ticks(low, max(ys)), _whole_ticks(min(xs), max(xs))
    plane = _Plane(min(xs), max(xs), y_ticks[0], y_ticks[-1])
    parts = [_axes(plane, x_ticks, y_ticks, x_title, percent=percent)]
    for line in lines:
        parts.append(_drawn(line, plane, percent=percent))
    return _svg(parts, title)


def histogram(
    bars: Sequence[Bars], low: float, high: float, *, title: str, x_title: str, marks: Sequence[Mark] = ()
) -> Markup:
    """Draw histograms over one another, each as a filled step line.

    Args:
        bars: The histograms, with equal numbers of bars over the same range.
        low: Left end of the first bar.
        high: Right end of the last bar.
        title: What the chart shows, for readers that do not see it.
        x_title: Title of the x axis.
        marks: Vertical lines.
    """
    top = max((max(each.counts, default=0.0) for each in bars), default=0.0)
    if not top:
        return Markup("")
    y_ticks = ticks(0.0, top)
    plane = _Plane(low, high, 0.0, y_ticks[-1])
    parts = [
        _axes(plane, [tick for tick in ticks(low, high, 7) if low <= tick <= high], y_ticks, x_title, percent=True)
    ]
    for each in bars:
        width = (high - low) / len(each.counts)
        steps = "".join(
            f"V{plane.y(count):.1f}H{plane.x(low + (number + 1) * width):.1f}"
            for number, count in enumerate(each.counts)
        )
        shape = f"M{plane.x(low):.1f} {plane.y(0):.1f}{steps}V{plane.y(0):.1f}Z"
        parts.append(
            Markup('<path class="area c{} l{}" d="{}"><title>{}</title></path>').format(
                each.colour, each.colour, shape, each.name
            )
        )
    for mark in marks:
        x = plane.x(mark.x)
        is_right = x > 0.6 * WIDTH
        parts.append(
            Markup(
                '<line class="mark" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>'
                '<text class="note" x="{3}" y="{4}" text-anchor="{5}">{6}</text>'
            ).format(
                f"{x:.1f}",
                _TOP,
                HEIGHT - _BOTTOM,
                f"{x + (-4 if is_right else 4):.1f}",
                _TOP + 10,
                "end" if is_right else "start",
                mark.text,
            )
        )
    return _svg(parts, title)


@dataclass(frozen=True)
class _Plane:
    """The map from values to places in the chart."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        share = 0.5 if self.x_high == self.x_low else (value - self.x_low) / (self.x_high - self.x_low)
        return _LEFT + share * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.y_low) / ((self.y_high - self.y_low) or 1.0)
        return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)


def _whole_ticks(low: float, high: float) -> list[float]:
    return [tick for tick in dict.fromkeys(round(value) for value in ticks(low, high, 6)) if low <= tick <= high]


def _axes(plane: _Plane, x_ticks: Sequence[float], y_ticks: Sequence[float], x_title: str, *, percent: bool) -> Markup:
    parts = []
    for value in y_ticks:
        text = f"{shown_number(100 * value)} %" if percent else shown_number(value)
        parts.append(
            Markup(
                '<line class="grid" x1="{}" x2="{}" y1="{y}" y2="{y}"/><text x="{}" y="{}" text-anchor="end">{}</text>'
            ).format(_LEFT, WIDTH - _RIGHT, _LEFT - 5, f"{plane.y(value) + 3.5:.1f}", text, y=f"{plane.y(value):.1f}")
        )
    for value in x_ticks:
        parts.append(
            Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
                f"{plane.x(value):.1f}", HEIGHT - _BOTTOM + 14, shown_number(value)
            )
        )
    parts.append(
        Markup('<text class="title" x="{}" y="{}" text-anchor="end">{}</text>').format(
            WIDTH - _RIGHT, HEIGHT - 2, x_title
        )
    )
    return Markup("").join(parts)


def _drawn(line: Line, plane: _Plane, *, percent: bool) -> Markup:
    """Draw a line with a dot for each value; the dot's title is shown by browsers on hover.

    Figures that only every few epochs have are joined as well.
    """
    points: list[str] = []
    dots = []
    for x, y in line.points:
        if y is None or not isfinite(y):
            continue
        place = f"{plane.x(x):.1f} {plane.y(y):.1f}"
        points.append(place)
        value = f"{100 * y:.1f} %" if percent else f"{y:.4g}"
        if len(line.points) <= 120:
            dots.append(
                Markup('<circle class="c{}" cx="{}" cy="{}" r="2.4"><title>{}, {}: {}</title></circle>').format(
                    line.colour, *place.split(), line.name, shown_number(x), value
                )
            )
    path = "M" + "L".join(points) if len(points) > 1 else ""
    drawn = Markup('<path class="line c{0} l{0}" d="{1}"/>').format(line.colour, path) if path else Markup("")
    return drawn + Markup("").join(dots)


def _svg(parts: Sequence[Markup], title: str) -> Markup:
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, escape(title), Markup("").join(parts)
    )
