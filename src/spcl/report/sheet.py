"""A contact sheet: rows of images, each with a title."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

matplotlib.use("Agg")

_CELL = 1.0
_TITLE_WIDTH = 1.15
_PIXELS = 150


@dataclass(frozen=True)
class SheetRow:
    """A row of a contact sheet.

    Attributes:
        title: Title of the row.
        note: A second line, smaller.
        images: RGB, of any size, left to right.
    """

    title: str
    note: str
    images: Sequence[Image.Image]


def contact_sheet(path: Path, rows: Sequence[SheetRow], *, caption: str = "left: surest, right: least sure") -> Path:
    """Draw rows of images, each image whole in a cell of the images' usual shape.

    Args:
        path: Path of the PNG file to write.
        rows: At least one image in all.
        caption: Below the rows.

    Returns:
        The path.
    """
    columns = max(len(row.images) for row in rows)
    shapes = [image.height / image.width for row in rows for image in row.images]
    cell_height = float(np.clip(np.median(shapes), 0.5, 2.0)) * _CELL
    width = _TITLE_WIDTH + columns * _CELL
    height = len(rows) * cell_height + 0.3
    figure = Figure(figsize=(width, height), dpi=110, facecolor="white")
    for number, row in enumerate(rows):
        bottom = height - (number + 1) * cell_height
        middle = (bottom + cell_height / 2) / height
        figure.text(0.08 / width, middle + 0.08 / height, row.title, fontsize=10, weight="bold", va="center")
        figure.text(0.08 / width, middle - 0.12 / height, row.note, fontsize=8.5, color="#555555", va="center")
        for place, image in enumerate(row.images):
            left = _TITLE_WIDTH + place * _CELL
            axes = figure.add_axes(
                (left / width, (bottom + 0.03) / height, 0.94 * _CELL / width, (cell_height - 0.06) / height)
            )
            axes.imshow(_contained(image))
            axes.set_anchor("C")
            axes.axis("off")
    figure.text(_TITLE_WIDTH / width, 0.1 / height, caption, fontsize=8.5, color="#555555", va="center")
    figure.savefig(path, format="png")
    return path


def _contained(image: Image.Image) -> Image.Image:
    """The image as large as fits into two cells one above the other; of a line, a pixel is left across it."""
    scale = min(_PIXELS / image.width, 2 * _PIXELS / image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.BICUBIC)
