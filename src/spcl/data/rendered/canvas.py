"""A drawing surface in an object's own units, transparent until something is drawn on it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]


class Canvas:
    """Draws in units of which ``height`` make the whole height.

    Args:
        pixels: Width and height of the surface, pixels.
        height: Its height in units; the width follows.
    """

    def __init__(self, pixels: tuple[int, int], height: float) -> None:
        self.image = Image.new("RGBA", pixels, (0, 0, 0, 0))
        self._draw = ImageDraw.Draw(self.image)
        self._scale = pixels[1] / height
        self.width = pixels[0] / self._scale
        self.height = height

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """A filled polygon."""
        self._draw.polygon([self._at(point) for point in points], fill=colour)

    def ellipse(self, centre: Point, radius_x: float, radius_y: float, colour: Colour) -> None:
        """A filled ellipse."""
        x, y = centre
        box = [self._at((x - radius_x, y - radius_y)), self._at((x + radius_x, y + radius_y))]
        self._draw.ellipse([*box[0], *box[1]], fill=colour)

    def limb(self, start: Point, end: Point, thickness: float, colour: Colour) -> None:
        """A line with round ends."""
        self._draw.line([self._at(start), self._at(end)], fill=colour, width=max(1, round(thickness * self._scale)))
        for joint in (start, end):
            self.ellipse(joint, thickness / 2, thickness / 2, colour)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour, radius: float = 0) -> None:
        """A filled rectangle, with round corners where asked for."""
        corners = [*self._at((left, top)), *self._at((right, bottom))]
        if corners[2] <= corners[0] or corners[3] <= corners[1]:
            return
        self._draw.rounded_rectangle(corners, radius=radius * self._scale, fill=colour)

    def fill_pattern(self, points: Sequence[Point], pattern: str, colour: Colour, step: float) -> None:
        """Lay a pattern over the inside of a polygon: ``stripes``, ``columns``, ``checks``, ``dots`` or ``band``."""
        size = self.image.size
        inside = Image.new("L", size, 0)
        ImageDraw.Draw(inside).polygon([self._at(point) for point in points], fill=255)
        marks = Image.new("L", size, 0)
        pen = ImageDraw.Draw(marks)
        every = max(2.0, step * self._scale)
        left, top, right, bottom = inside.getbbox() or (0, 0, 0, 0)
        if pattern in ("stripes", "checks"):
            for y in np.arange(top, bottom, 2 * every):
                pen.rectangle((left, y, right, y + every - 1), fill=255)
        if pattern in ("columns", "checks"):
            for x in np.arange(left, right, 2 * every):
                pen.rectangle((x, top, x + every - 1, bottom), fill=255)
        if pattern == "dots":
            for row, y in enumerate(np.arange(top + every / 2, bottom, 1.7 * every)):
                for x in np.arange(left + (row % 2) * every, right, 2 * every):
                    pen.ellipse((x, y, x + every, y + every), fill=255)
        if pattern == "band":
            middle = (top + bottom) / 2
            pen.rectangle((left, middle - every, right, middle + every), fill=255)
        both = np.minimum(np.asarray(inside), np.asarray(marks))
        self.image.paste(Image.new("RGBA", size, (*colour, 255)), mask=Image.fromarray(both))

    def _at(self, point: Point) -> tuple[float, float]:
        return point[0] * self._scale, point[1] * self._scale


def shaded(colour: Colour, factor: float) -> Colour:
    """A colour made darker (below 1) or lighter (above)."""
    red, green, blue = (min(255, max(0, round(value * factor))) for value in colour)
    return red, green, blue


def swung(origin: Point, length: float, angle: float) -> Point:
    """The end of a limb that hangs from a point, ``angle`` radians off the vertical."""
    return origin[0] + length * math.sin(angle), origin[1] + length * math.cos(angle)


def picked(rng: np.random.Generator, options: Sequence[Colour], jitter: int = 14) -> Colour:
    """One of several colours, a little changed: two identities rarely share one exactly."""
    base = options[int(rng.integers(len(options)))]
    red, green, blue = (int(np.clip(value + rng.integers(-jitter, jitter + 1), 0, 255)) for value in base)
    return red, green, blue
