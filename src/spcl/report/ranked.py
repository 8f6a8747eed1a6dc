"""A picture of ranked results: queries, and what each of several encoders finds for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spcl.engine.whole_files import written_aside

matplotlib.use("Agg")

_FRAMES = {True: "#2e9e4f", False: "#d64545", None: None}


@dataclass(frozen=True)
class Ranking:
    """What one encoder finds.

    Attributes:
        title: Its name, with its figures.
        images: For each query, the found images ``[H, W, 3]`` uint8, nearest first.
        correct: For each query, whether each of them shows the query's object; None where that is not known.
    """

    title: str
    images: Sequence[Sequence[NDArray[np.uint8]]]
    correct: Sequence[Sequence[bool | None]]


def ranked_picture(path: Path, queries: Sequence[NDArray[np.uint8]], rankings: Sequence[Ranking]) -> Path:
    """Draw one row a query: the query, then what each encoder finds, framed green where right, red where wrong.

    Args:
        path: Where to write, as PNG: the old picture or the new one, whole. Its folder is made.
        queries: ``[H, W, 3]`` uint8 each.
        rankings: The encoders, left to right.

    Returns:
        The path.

    Raises:
        InputError: If it cannot be written.
    """
    height, width = queries[0].shape[:2]
    shown = max((len(row) for ranking in rankings for row in ranking.images), default=0)
    columns = 1 + len(rankings) * shown
    cell = 0.62
    gaps, margin = 0.5 * len(rankings), 0.05
    figure_width = columns * cell + gaps + margin
    row_height = cell * height / width + 0.08
    figure = Figure(figsize=(figure_width, len(queries) * row_height + 0.55), dpi=150, facecolor="white")
    top = 1 - 0.5 / (len(queries) * row_height + 0.55)

    def place(row: int, column: int, block: int, image: NDArray[np.uint8], frame: str | None) -> None:
        left = (column * cell + block * 0.5 + 0.05) / figure_width
        total = len(queries) * row_height + 0.55
        axes = figure.add_axes(
            (left, top - (row + 1) * row_height / total, 0.9 * cell / figure_width, 0.92 * (row_height - 0.06) / total)
        )
        axes.imshow(image, aspect="auto")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_color(frame or "#555555")
            spine.set_linewidth(2.4 if frame else 0.8)

    figure.text(0.05 / figure_width, top + 0.012, "query", fontsize=9, weight="bold")
    for number, ranking in enumerate(rankings):
        start = 1 + number * shown
        figure.text(
            (start * cell + (number + 1) * 0.5 + 0.05) / figure_width,
            top + 0.012,
            ranking.title,
            fontsize=9,
            weight="bold",
        )
    for row, query in enumerate(queries):
        place(row, 0, 0, query, None)
        for number, ranking in enumerate(rankings):
            for at, (image, right) in enumerate(zip(ranking.images[row], ranking.correct[row], strict=True)):
                place(row, 1 + number * shown + at, number + 1, image, _FRAMES[right])
    with written_aside(path) as aside:
        # The name aside does not tell the format.
        figure.savefig(aside, format="png")
    return path
