"""Charts as SVG, in colours that the page sets for light and dark."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

__all__ = ["bars", "curves", "matrix", "reliability"]

_WIDTH, _HEIGHT = 520, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 28, 40
_MOST_NAMED_CLASSES = 30
# Of a row: a cell so dark that what is written on it has to be light.
_STRONG = 0.5


def curves(series: Mapping[str, Sequence[float]], *, x_title: str, y_title: str) -> str:
    """Returns lines over 1, 2, 3, ...: one for each series, with their names above."""
    values = [value for line in series.values() for value in line]
    low, high = min(values), max(values)
    room = (high - low or abs(high) or 1.0) * 0.08
    scale = _Scale((1, max(len(next(iter(series.values()))), 2)), (low - room, high + room))
    parts = [_axes(scale, x_title, y_title, whole_x=True)]
    for number, (name, line) in enumerate(series.items()):
        points = [(scale.x(i), scale.y(value)) for i, value in enumerate(line, start=1)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        color = f"c{number % 4}"
        parts.append(f'<polyline class="line {color}" points="{path}"/>')
        parts += [
            f'<circle class="dot {color}" cx="{x:.1f}" cy="{y:.1f}" r="3">'
            f"<title>{escape(name)}: {value:.4g}</title></circle>"
            for (x, y), value in zip(points, line, strict=True)
        ]
        parts.append(_label(f"{color} name", _LEFT + 110 * number, _TOP - 14, name))
    return _svg(parts, f"{y_title} over {x_title}")


def bars(values: Sequence[int], *, x_title: str, y_title: str, mark: float | None = None) -> str:
    """Returns a histogram of whole numbers; `mark` is a vertical line, unless it is far away."""
    counts, edges = np.histogram(values, bins=min(30, max(values) - min(values) + 1))
    if mark is not None and mark > 2 * edges[-1]:
        mark = None
    last = max(float(edges[-1]), mark or 0.0)
    scale = _Scale(
        (float(min(edges[0], mark or edges[0])), last), (0.0, float(counts.max()) * 1.05)
    )
    parts = [_axes(scale, x_title, y_title, whole_x=True)]
    for count, left, right in zip(counts, edges[:-1], edges[1:], strict=True):
        x, y = scale.x(float(left)), scale.y(float(count))
        width, height = max(scale.x(float(right)) - x - 1, 1), _HEIGHT - _BOTTOM - y
        parts.append(
            f'<rect class="bar" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}">'
            f"<title>{left:.0f} to {right:.0f}: {count}</title></rect>"
        )
    if mark is not None:
        x = scale.x(mark)
        parts.append(
            f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>'
        )
    return _svg(parts, f"{y_title} by {x_title}")


def reliability(points: Sequence[tuple[float, float, int]]) -> str:
    """Returns accuracy over probability: `(probability, accuracy, count)`, and where they agree."""
    scale = _Scale((0.0, 1.0), (0.0, 1.0))
    parts = [_axes(scale, "probability", "accuracy")]
    parts.append(
        f'<line class="mark" x1="{scale.x(0):.1f}" y1="{scale.y(0):.1f}" x2="{scale.x(1):.1f}" '
        f'y2="{scale.y(1):.1f}"/>'
    )
    most = max(count for _, _, count in points)
    for probability, accuracy, count in points:
        radius = 3 + 7 * (count / most) ** 0.5
        parts.append(
            f'<circle class="dot c0" cx="{scale.x(probability):.1f}" cy="{scale.y(accuracy):.1f}" '
            f'r="{radius:.1f}"><title>{count} texts: probability {probability:.2f}, accuracy '
            f"{accuracy:.2f}</title></circle>"
        )
    return _svg(parts, "accuracy over probability")


def matrix(counts: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """Returns a square of counts: rows are what texts are, columns what they were given."""
    size = len(names)
    is_named = size <= _MOST_NAMED_CLASSES
    cell = 28 if is_named else max(600 // size, 2)
    margin = 8 + 7 * min(max(map(len, names)), 24) if is_named else 24
    total = margin + cell * size + 12
    parts = []
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            x, y = margin + j * cell, margin + i * cell
            share = count / max(sum(row), 1)
            kind = "right" if i == j else "wrong"
            title = f"{names[i]}, given {names[j]}: {count}"
            parts.append(
                f'<rect class="{kind}" x="{x}" y="{y}" width="{cell - 1}" height="{cell - 1}" '
                f'style="fill-opacity:{0.06 + 0.94 * share:.2f}">'
                f"<title>{escape(title)}</title></rect>"
            )
            if is_named and count:
                strength = "count strong" if share > _STRONG else "count"
                parts.append(_label(strength, x + cell / 2, y + cell / 2 + 4, str(count)))
    if is_named:
        for i, name in enumerate(names):
            short = name if len(name) <= 24 else f"{name[:23]}…"
            middle = margin + i * cell + cell / 2
            parts.append(_label("row", margin - 6, middle + 4, short))
            parts.append(_label("column", middle + 4, margin - 6, short, is_upright=True))
    return (
        f'<svg viewBox="0 0 {total} {total}" width="{total}" role="img" '
        f'aria-label="confusion of classes">{"".join(parts)}</svg>'
    )


class _Scale:
    """Turns values into places on the chart."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float]):
        self.x_range = x
        self.y_range = y

    def x(self, value: float) -> float:
        return _LEFT + _share(value, self.x_range) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - _share(value, self.y_range) * (_HEIGHT - _TOP - _BOTTOM)


def _share(value: float, limits: tuple[float, float]) -> float:
    low, high = limits
    return (value - low) / (high - low) if high > low else 0.5


def _axes(scale: _Scale, x_title: str, y_title: str, *, whole_x: bool = False) -> str:
    parts = []
    for value in _ticks(scale.y_range, whole=False):
        y = scale.y(value)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(_label("tick y", _LEFT - 6, y + 4, f"{value:.4g}"))
    for value in _ticks(scale.x_range, whole=whole_x):
        parts.append(_label("tick", scale.x(value), _HEIGHT - _BOTTOM + 16, f"{value:.4g}"))
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(_label("title", middle, _HEIGHT - 6, x_title))
    middle = (_HEIGHT - _BOTTOM + _TOP) / 2
    parts.append(_label("title", 12, middle, y_title, is_upright=True))
    return "".join(parts)


def _label(kind: str, x: float, y: float, text: str, *, is_upright: bool = False) -> str:
    turn = " rotate(-90)" if is_upright else ""
    place = f"translate({x:.1f} {y:.1f}){turn}"
    return f'<text class="{kind}" transform="{place}">{escape(text)}</text>'


def _ticks(limits: tuple[float, float], *, whole: bool) -> list[float]:
    """Returns about five round numbers within limits."""
    low, high = limits
    if high <= low:
        return [low]
    step = 10.0 ** np.floor(np.log10((high - low) / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 6)
    step = max(step, 1.0) if whole else step
    first = np.ceil(low / step) * step
    # Zero may come as a tiny number, or with a sign.
    return [round(float(value), 12) + 0.0 for value in np.arange(first, high + step / 1e6, step)]


def _svg(parts: Sequence[str], label: str) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" role="img" '
        f'aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )
