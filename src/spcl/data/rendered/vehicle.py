"""Vehicles: an identity is a combination of body, colours, stripes, wheels and fittings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spcl.data.rendered.canvas import Canvas, Colour, Point, picked, shaded

UNITS = 120.0
"""Height of the surface a vehicle is drawn on, in units; the longest is about 110 long."""

_PAINT: tuple[Colour, ...] = (
    (206, 40, 44),
    (36, 84, 170),
    (238, 238, 234),
    (38, 40, 46),
    (158, 162, 168),
    (36, 122, 84),
    (240, 190, 50),
    (232, 122, 40),
    (110, 62, 44),
    (120, 170, 204),
    (86, 40, 92),
)
_BODIES: dict[str, tuple[float, tuple[Point, ...], tuple[tuple[Point, ...], ...]]] = {
    # Length, outline and windows: x from the back (0) to the front (1), y upward in units of the wheel base line.
    "sedan": (
        100,
        ((0, 10), (0, 26), (0.14, 30), (0.28, 46), (0.62, 46), (0.78, 29), (0.98, 25), (1, 10)),
        (((0.22, 31), (0.31, 43), (0.44, 43), (0.44, 31)), ((0.47, 31), (0.47, 43), (0.6, 43), (0.71, 31))),
    ),
    "hatchback": (
        84,
        ((0, 10), (0, 30), (0.1, 48), (0.58, 48), (0.76, 31), (0.98, 27), (1, 10)),
        (((0.1, 33), (0.15, 45), (0.36, 45), (0.36, 33)), ((0.4, 33), (0.4, 45), (0.56, 45), (0.68, 33))),
    ),
    "van": (
        104,
        ((0, 10), (0, 60), (0.03, 63), (0.7, 63), (0.84, 40), (0.98, 33), (1, 10)),
        (((0.6, 40), (0.6, 57), (0.7, 57), (0.79, 40)),),
    ),
    "truck": (
        112,
        ((0.7, 10), (0.7, 58), (0.9, 58), (0.98, 36), (1, 10)),
        (((0.76, 38), (0.76, 53), (0.88, 53), (0.94, 38)),),
    ),
    "bus": (
        114,
        ((0, 10), (0, 68), (0.02, 70), (0.97, 70), (1, 64), (1, 10)),
        tuple(((x, 42), (x, 62), (x + 0.12, 62), (x + 0.12, 42)) for x in (0.05, 0.2, 0.35, 0.5, 0.65, 0.82)),
    ),
    "pickup": (
        106,
        ((0, 10), (0, 30), (0.42, 30), (0.46, 50), (0.68, 50), (0.8, 32), (0.98, 28), (1, 10)),
        (((0.49, 33), (0.5, 46), (0.66, 46), (0.74, 33)),),
    ),
}


@dataclass(frozen=True)
class Vehicle:
    """The properties of a vehicle that are the same in all its images."""

    body: str
    paint: Colour
    roof: Colour
    decoration: str
    second: Colour
    rims: Colour
    rack: bool
    tinted: bool
    raised: float
    plate: Colour

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Vehicle:
        """A random identity."""
        paint = picked(rng, _PAINT)
        decorations = ("none", "none", "stripes", "columns", "band", "dots", "checks")
        return cls(
            body=tuple(_BODIES)[int(rng.integers(len(_BODIES)))],
            paint=paint,
            roof=picked(rng, _PAINT) if rng.random() < 0.35 else paint,
            decoration=decorations[int(rng.integers(len(decorations)))],
            second=picked(rng, _PAINT),
            rims=picked(rng, ((210, 212, 216), (60, 60, 64), (190, 160, 90)), 10),
            rack=bool(rng.random() < 0.3),
            tinted=bool(rng.random() < 0.4),
            raised=float(rng.uniform(0, 5)),
            plate=picked(rng, ((240, 240, 235), (240, 210, 80)), 8),
        )


def draw_vehicle(canvas: Canvas, what: Vehicle, *, squeeze: float, lights: bool) -> None:
    """Draw an identity from the side, its front to the right.

    Args:
        canvas: Canvas to draw on.
        what: Vehicle to draw.
        squeeze: Visible share of the vehicle's length; below 1 where the camera looks at an angle.
        lights: Whether the lamps are on.
    """
    length, outline, windows = _BODIES[what.body]
    seen = length * squeeze
    left = (canvas.width - seen) / 2
    base = canvas.height - 24

    def at(point: Point) -> Point:
        return left + point[0] * seen, base - point[1] - what.raised + 8

    if what.body == "truck":
        load = [at(point) for point in ((0, 16), (0, 66), (0.67, 66), (0.67, 16))]
        canvas.polygon(load, what.second)
        if what.decoration not in ("none", "band"):
            canvas.fill_pattern(load, what.decoration, what.paint, 5)
    body = [at(point) for point in outline]
    canvas.polygon(body, what.paint)
    low = [at(point) for point in ((0.02, 12), (0.02, 24), (0.98, 24), (0.98, 12))]
    if what.body != "truck" and what.decoration != "none":
        canvas.fill_pattern(
            low if what.decoration in ("dots", "checks", "columns") else body, what.decoration, what.second, 3.2
        )
    highest = max(point[1] for point in outline)
    top = [at((x, y + 0.8)) for x, y in outline if y > highest - 4]
    if len(top) > 1:
        canvas.limb(top[0], top[-1], 4.5, what.roof)
    glass = (38, 44, 52) if what.tinted else (168, 200, 214)
    for window in windows:
        canvas.polygon([at(point) for point in window], glass)
    if what.rack and what.body != "truck":
        ends = (top[0], top[-1])
        canvas.limb((ends[0][0] + 4, ends[0][1] - 5), (ends[1][0] - 4, ends[1][1] - 5), 2.2, (52, 52, 56))
    canvas.limb(at((0.02, 11)), at((0.98, 11)), 3, shaded(what.paint, 0.55))
    canvas.ellipse(at((0.975, 21)), 2.6, 3.4, (255, 246, 190) if lights else (214, 214, 204))
    canvas.ellipse(at((0.02, 22)), 2.0, 3.4, (250, 60, 50) if lights else (150, 30, 34))
    canvas.box(*_plate(at), what.plate)
    for place in (0.2, 0.8):
        centre = (left + place * seen, base + 4)
        canvas.ellipse(centre, 11 * (0.6 + 0.4 * squeeze), 11, (26, 26, 28))
        canvas.ellipse(centre, 6 * (0.6 + 0.4 * squeeze), 6, what.rims)


def _plate(at) -> tuple[float, float, float, float]:  # type: ignore[no-untyped-def]
    x, y = at((0.05, 15))
    return x, y, x + 8, y + 4
