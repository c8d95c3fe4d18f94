"""Line charts as SVG, in colours that the page around them decides."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from matplotlib.colors import to_hex, to_rgb

WIDTH, HEIGHT = 420, 250  # in the chart's own units, in which letters are 12 high
LEFT, RIGHT, TOP, BOTTOM = 40, 406, 44, 218  # of the area with the lines
MOST_POINTS = 500  # of one line: more would not be seen


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        name: what it shows.
        color: its CSS colour.
        iterations: where its points are, in order.
        values: how high they are; where they are not finite, the line has a gap.
        errors: half the height of the band around each point; none if empty.
        dashes: lengths of dashes and gaps; solid if empty.
        width: of the line.
    """

    name: str
    color: str
    iterations: Sequence[int]
    values: Sequence[float]
    errors: Sequence[float] = ()
    dashes: str = ""
    width: float = 1.5


@dataclass(frozen=True)
class Chart:
    """Some lines over the iterations of a run.

    Attributes:
        title: what is shown, with its unit.
        lines: what is drawn, the last one on top.
        x_max: iterations of the run.
        boundaries: first iterations of the tasks, and the end; the tasks' numbers stand between them.
        highest: values cannot be above.
        marked: name and height of a level to be marked, if it is among the values.
    """

    title: str
    lines: Sequence[Line]
    x_max: int
    boundaries: Sequence[int] = ()
    highest: float = math.inf
    marked: tuple[str, float] | None = None
    _span: tuple[float, float] = field(init=False, repr=False, default=(0.0, 1.0))

    def __post_init__(self) -> None:
        object.__setattr__(self, "_span", self._values_shown())

    def svg(self) -> str:
        """The chart as an element for an HTML page."""
        title = html.escape(self.title)
        return (
            f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">'
            f'<text class="title" x="4" y="15">{title}</text>{"".join(self._parts())}</svg>'
        )

    def _parts(self) -> Iterator[str]:
        for value in ticks(*self._span):
            y = self._y(value)
            yield f'<path class="grid-line" d="M{LEFT} {y:.1f}H{RIGHT}"/>'
            yield _label(LEFT - 5, y + 4, f"{value:.10g}", "end")
        for value in ticks(0, self.x_max):
            anchor = "end" if self._x(value) > RIGHT - 8 else "middle"
            place = RIGHT + 8 if anchor == "end" else self._x(value)
            yield _label(place, BOTTOM + 16, f"{value:.10g}", anchor)
        yield _label((LEFT + RIGHT) / 2, HEIGHT - 3, "iteration")
        for number, (first, end) in enumerate(pairwise(self.boundaries), start=1):
            middle = (self._x(first) + self._x(end)) / 2
            name = f"task {number}" if len(self.boundaries) <= 7 else str(number)
            yield _label(middle, TOP - 7, name)
            if end != self.boundaries[-1]:
                yield f'<path class="grid-line" d="M{self._x(end):.1f} {TOP - 4}V{BOTTOM}"/>'
        if self.marked is not None:
            name, level = self.marked
            low, high = self._span
            if low <= level < high:
                y = self._y(level)
                yield f'<path d="M{LEFT} {y:.1f}H{RIGHT}" stroke="currentColor" stroke-dasharray="1 3"/>'
                yield _label(RIGHT, y - 4, name, "end")
        for line in self.lines:
            yield from self._drawn(line)

    def _drawn(self, line: Line) -> Iterator[str]:
        for stretch in _stretches(line):
            if line.errors and any(line.errors[i] > 0 for i in stretch):
                upper = [self._point(line, i, line.errors[i]) for i in stretch]
                lower = [self._point(line, i, -line.errors[i]) for i in reversed(stretch)]
                yield f'<path class="band" style="fill:{line.color}" d="M{"L".join(upper + lower)}Z"/>'
            points = [self._point(line, i) for i in stretch]
            if len(points) == 1:
                x, y = points[0].split()
                yield f'<circle cx="{x}" cy="{y}" r="3" style="fill:{line.color}"/>'
                continue
            dashes = f' stroke-dasharray="{line.dashes}"' if line.dashes else ""
            yield (
                f'<path class="line" style="stroke:{line.color}" stroke-width="{line.width:g}"{dashes} '
                f'd="M{"L".join(points)}"><title>{html.escape(line.name)}</title></path>'
            )

    def _point(self, line: Line, i: int, raised: float = 0.0) -> str:
        low, high = self._span
        # Half-finished trainings have errors that leave the chart.
        value = min(max(line.values[i] + (raised if math.isfinite(raised) else 0.0), low), high)
        return f"{self._x(line.iterations[i]):.1f} {self._y(value):.1f}"

    def _x(self, iteration: float) -> float:
        return LEFT + (RIGHT - LEFT) * iteration / self.x_max

    def _y(self, value: float) -> float:
        low, high = self._span
        return BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low)

    def _values_shown(self) -> tuple[float, float]:
        """The lowest and the highest value of the axis: ticks, but for a highest value that is given."""
        shown = [value for line in self.lines for value in line.values if math.isfinite(value)]
        if not shown:
            return 0.0, 1.0 if math.isinf(self.highest) else self.highest
        if math.isinf(self.highest):  # from 0: the loss
            top = max(max(shown), 1e-12)
            step = _step(0, top)
            return 0.0, step * math.ceil(top / step - 1e-9)
        low = min(shown) - max(
            (error for line in self.lines for error in line.errors if error > 0), default=0.0
        )
        step = _step(low, self.highest)
        return max(0.0, min(step * math.floor(low / step), self.highest - step)), self.highest


def _label(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text class="tick" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'


def ticks(low: float, high: float) -> list[float]:
    """Round numbers from ``low`` to ``high``, at most six.

    >>> ticks(0, 2500)
    [0.0, 500.0, 1000.0, 1500.0, 2000.0, 2500.0]
    """
    step = _step(low, high)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(step * i, 12) for i in range(first, last + 1)]


def _step(low: float, high: float) -> float:
    rough = max(high - low, 1e-12) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))


def _stretches(line: Line) -> Iterator[list[int]]:
    """The points between gaps, thinned out where there are more than can be seen; the last one stays."""
    every = math.ceil(len(line.values) / MOST_POINTS) or 1
    last = len(line.values) - 1
    stretch: list[int] = []
    for i, value in enumerate(line.values):
        if not math.isfinite(value):
            if stretch:
                yield stretch
            stretch = []
        elif i % every == 0 or i == last:
            stretch.append(i)
    if stretch:
        yield stretch


def legible_on_dark(color: str) -> str:
    """Lighten a colour until it stands out from a dark page; leave it as it is if it does.

    >>> legible_on_dark("#E69F00"), legible_on_dark("#000000")
    ('#e69f00', '#8c8c8c')
    """
    red, green, blue = to_rgb(color)
    mixed = 0.0
    while mixed < 1:
        shade = (red + (1 - red) * mixed, green + (1 - green) * mixed, blue + (1 - blue) * mixed)
        if _luminance(*shade) > 0.25:
            break
        mixed += 0.05
    return to_hex(shade)


def _luminance(red: float, green: float, blue: float) -> float:
    """Relative luminance as the Web Content Accessibility Guidelines define it."""
    linear = [
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
        for channel in (red, green, blue)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
