"""A picture of ranked results: queries, and the gallery images that each of several encoders finds."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from spcl.atomic_files import written_aside
from spcl.data.image_decoding import UnreadableImageError, open_image, resized

matplotlib.use("Agg")

# Colour, line and word show the same, for readers who cannot distinguish red and green and for prints in grey.
_RIGHT, _WRONG, _UNKNOWN = "#1b7837", "#c0272d", "#555555"
_DPI = 150
# All lengths below are inches.
_MARGIN = 0.12
_GAP = 0.08
_BLOCK_GAP = 0.35
_TITLE = 0.32
_LINE = 0.125
_FONT_POINTS = 7.5
_CELL_WIDTH = {True: 1.48, False: 0.62}
"""Width of an image, by whether there is text under the images."""
_PICTURE_HEIGHT = 256
"""Approximate height in pixels: images at the size of the encoder may be too small to look at."""
_GREY = 127
_CHARACTERS = 24
"""Characters that fit into a line under an image, such as a file name of Market-1501."""


@dataclass(frozen=True)
class ShownImage:
    """An image of the picture, with the text under it.

    Attributes:
        pixels: ``[H, W, 3]`` uint8.
        right: Whether it shows the query's object; None: the image is a query, or it is unknown.
        lines: Short lines of text, from top to bottom.
    """

    pixels: NDArray[np.uint8]
    right: bool | None = None
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ranking:
    """The images that one encoder finds.

    Attributes:
        title: Name of the query, with its figures.
        found: The found images of each query, most similar first.
    """

    title: str
    found: Sequence[Sequence[ShownImage]]


def picture_of(path: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The pixels of an image file, ``[H, W, 3]`` uint8; grey where it cannot be read.

    Args:
        path: The image file.
        size: The shape it is shown in, height and width: as the encoder sees it, and large enough to look at.
    """
    scale = max(1, round(_PICTURE_HEIGHT / size[0]))
    height, width = size[0] * scale, size[1] * scale
    try:
        return resized(open_image(path), (width, height))
    except UnreadableImageError:
        return np.full((height, width, 3), _GREY, dtype=np.uint8)


def lines_under(
    path: str | Path, *, similarity: float | None = None, identity: object = None, camera: object = None
) -> tuple[str, ...]:
    """Describe an image in lines that fit under it.

    Args:
        path: Path of the image: its end is shown, in at most two lines.
        similarity: Similarity to the query; None: the image is a query.
        identity: Identity, a number or a name; None: unknown.
        camera: Camera, a number or a name; None: unknown.
    """
    known = {"similarity": None if similarity is None else f"{similarity:.3f}", "identity": identity, "camera": camera}
    lines = [_beginning_of(f"{name} {value}") for name, value in known.items() if value is not None]
    folder, name = str(Path(path).parent), Path(path).name
    if len(str(path)) <= _CHARACTERS:
        return (*lines, str(path))
    if len(name) <= _CHARACTERS:
        return (*lines, _end_of(f"{folder}/"), name)
    # A long name takes both lines.
    return (*lines, _end_of(name[:-_CHARACTERS]), name[-_CHARACTERS:])


def _beginning_of(text: str) -> str:
    return text if len(text) <= _CHARACTERS else text[: _CHARACTERS - 1] + "…"


def _end_of(text: str) -> str:
    return text if len(text) <= _CHARACTERS else "…" + text[1 - _CHARACTERS :]


def ranked_picture(path: Path, queries: Sequence[ShownImage], rankings: Sequence[Ranking]) -> Path:
    """Draw one row for each query: the query, then the images that each encoder finds.

    A right image has a solid green frame and the word "right" or a tick, a wrong one a dashed red frame and the word
    "wrong" or a cross.

    Args:
        path: Path of the PNG file; its folder is created. An old picture is replaced when the new one is complete.
        queries: Images of the queries, all of one size.
        rankings: The encoders, from left to right.

    Returns:
        The path.

    Raises:
        InputError: If the file cannot be written.
    """
    shown = [*queries, *(image for ranking in rankings for row in ranking.found for image in row)]
    has_text = any(image.lines for image in shown)
    num_lines = max(len(_all_lines(image, has_text=has_text)) for image in shown)
    columns = max((len(row) for ranking in rankings for row in ranking.found), default=0)
    cell = _CELL_WIDTH[has_text]
    height, width = queries[0].pixels.shape[:2]
    image_height = (cell - _GAP) * height / width
    row_height = image_height + num_lines * _LINE + 0.12
    block = columns * cell + _BLOCK_GAP
    figure_width = 2 * _MARGIN + cell + len(rankings) * block
    figure_height = _MARGIN + _TITLE + len(queries) * row_height
    figure = Figure(figsize=(figure_width, figure_height), dpi=_DPI, facecolor="white")
    # One plane in inches, from the upper left corner, holds everything: an Axes for each image takes seconds.
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, figure_width), ylim=(figure_height, 0))
    axes.axis("off")
    starts = [_MARGIN + cell + _BLOCK_GAP + number * block for number in range(len(rankings))]
    for left, title in zip([_MARGIN, *starts], ["query", *(ranking.title for ranking in rankings)], strict=True):
        axes.text(left, _MARGIN + 0.15, title, fontsize=9, weight="bold", va="baseline", parse_math=False)
    for row, query in enumerate(queries):
        top = _MARGIN + _TITLE + row * row_height
        size = (cell - _GAP, image_height)
        _place(axes, (_MARGIN, top), size, query, has_text=has_text)
        for start, ranking in zip(starts, rankings, strict=True):
            for column, image in enumerate(ranking.found[row]):
                _place(axes, (start + column * cell, top), size, image, has_text=has_text)
    with written_aside(path) as aside, warnings.catch_warnings():
        # A file's name may hold letters that the font lacks; they are drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        # The name aside has no ending that says the format.
        figure.savefig(aside, format="png")
    return path


def _all_lines(image: ShownImage, *, has_text: bool) -> tuple[str, ...]:
    """The lines under an image, the word first."""
    if not has_text or image.right is None:
        return image.lines
    return ("✓ right" if image.right else "✗ wrong", *image.lines)


def _place(
    axes: Axes, corner: tuple[float, float], size: tuple[float, float], image: ShownImage, *, has_text: bool
) -> None:
    """Draw an image with its frame, its mark and its lines; ``corner`` is the upper left one, in inches."""
    (left, top), (width, height) = corner, size
    colour = _UNKNOWN if image.right is None else _RIGHT if image.right else _WRONG
    limits = axes.get_xlim(), axes.get_ylim()
    axes.imshow(image.pixels, extent=(left, left + width, top + height, top), aspect="auto", interpolation="bilinear")
    axes.set(xlim=limits[0], ylim=limits[1])
    axes.add_patch(
        Rectangle(
            corner,
            width,
            height,
            fill=False,
            edgecolor=colour,
            linewidth=0.8 if image.right is None else 2.4,
            linestyle=(0, (3, 1.6)) if image.right is False else "solid",
        )
    )
    if image.right is not None and not has_text:
        mark = "✓" if image.right else "✗"
        badge = {"boxstyle": "square,pad=0.15", "facecolor": "white", "edgecolor": colour, "linewidth": 0.8}
        axes.text(left + 0.09, top + 0.1, mark, fontsize=7, color=colour, ha="center", va="center", bbox=badge)
    for number, (line, is_mark) in enumerate(_marked(_all_lines(image, has_text=has_text), image)):
        axes.text(
            left,
            top + height + 0.06 + number * _LINE,
            line,
            fontsize=_FONT_POINTS,
            color=colour if is_mark else "black",
            weight="bold" if is_mark else "normal",
            va="top",
            parse_math=False,
        )


def _marked(lines: tuple[str, ...], image: ShownImage) -> Iterable[tuple[str, bool]]:
    """Each line, and whether it is the word "right" or "wrong"."""
    return ((line, number == 0 and image.right is not None) for number, line in enumerate(lines))
