"""Thumbnails for a page: each image once, many in one JPEG sheet, as large as the page's budget of bytes permits.

A JPEG of its own costs some hundred bytes beside its pixels, and an image that appears in several places would be
stored several times. A sheet is shown as the background of small elements, each of which shows one cell.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup, escape
from PIL import Image

from spcl.data.image_decoding import UnreadableImageError, identified, open_image
from spcl.randomness import generator

_STEPS = (
    *((176, 74), (152, 72), (128, 70), (112, 70), (96, 68), (80, 64), (72, 60), (64, 56), (56, 50), (48, 45)),
    *((40, 40), (32, 36), (32, 28), (24, 24), (16, 20)),
)
"""Heights in pixels and JPEG qualities, from the best to the smallest."""

_SAMPLE = 48
_SHEET_PIXELS = 1024
_BLOCK = 8
"""Cells are whole blocks of JPEG: colours of one image do not run into the next."""

_MOST_WIDE = 96
"""Largest shown width of a picture of the usual shape in CSS pixels: three of them lie side by side on a phone."""

_SHAPES = (0.4, 2.0)
"""Least and largest width of a cell, as a share of its height."""


@dataclass(frozen=True)
class Picture:
    """A picture that a page shows.

    Attributes:
        path: Path of the image file.
        tier: Pictures of one tier have one size.
    """

    path: Path
    tier: str


@dataclass(frozen=True)
class _Cell:
    sheet: int
    column: int
    row: int
    size: tuple[int, int]


@dataclass
class _Sheet:
    cell: tuple[int, int]
    columns: int
    rows: int
    scale: float
    data: bytes = b""


@dataclass(frozen=True)
class TierSettings:
    """How the pictures of a tier are stored and shown.

    Attributes:
        share: Share of the page's bytes that the tier may take.
        shown_height: Height in CSS pixels at which a picture of the usual shape is shown.
        most_height: Largest stored height in pixels.
    """

    share: float
    shown_height: int
    most_height: int


TIERS = {
    "large": TierSettings(share=0.35, shown_height=128, most_height=176),
    "small": TierSettings(share=0.45, shown_height=96, most_height=128),
    "tiny": TierSettings(share=0.20, shown_height=96, most_height=96),
}
"""``large``: ranked results and pairs; ``small``: groups; ``tiny``: pictures of the map that are shown nowhere else."""


class PictureBook:
    """The pictures of a page: first all are asked for, then they are drawn within a budget, then they are placed."""

    def __init__(self, *, num_threads: int = 1) -> None:
        """Make an empty book.

        Args:
            num_threads: Number of threads that decode images.
        """
        self._wanted: dict[Picture, None] = {}
        self._cells: dict[Picture, _Cell] = {}
        self._sheets: list[_Sheet] = []
        self._num_threads = max(1, num_threads)
        self._shape: float | None = None
        self._classes: dict[tuple[tuple[int, int], float], int] = {}

    def __len__(self) -> int:
        """Count the pictures that were asked for."""
        return len(self._wanted)

    def picture(self, path: Path, tier: str = "small") -> Picture:
        """Ask for a picture; the same image of the same tier is stored once."""
        picture = Picture(path, tier)
        self._wanted[picture] = None
        return picture

    def known(self, path: Path) -> Picture | None:
        """Give a picture of an image that was asked for, of any tier; None: there is none."""
        return next((known for tier in TIERS if (known := Picture(path, tier)) in self._wanted), None)

    def best_of(self, path: Path) -> Picture:
        """Give a picture of an image that was asked for, of any tier; otherwise ask for a tiny one."""
        return self.known(path) or self.picture(path, "tiny")

    def draw(self, budget: int) -> None:
        """Read the images and store their thumbnails, each tier in its share of the budget.

        Args:
            budget: Largest number of bytes that all sheets may take in the page. What a tier does not need, the next
                ones have.
        """
        self._cells, self._sheets = {}, []
        wanted = {tier: [p for p in self._wanted if p.tier == tier] for tier in TIERS}
        left, shares = float(budget), sum(TIERS[tier].share for tier in TIERS if wanted[tier])
        for tier, pictures in wanted.items():
            if not pictures:
                continue
            part = left * TIERS[tier].share / shares
            left -= self._draw_tier(pictures, TIERS[tier], part)
            shares -= TIERS[tier].share

    def _draw_tier(self, pictures: Sequence[Picture], settings: TierSettings, budget: float) -> int:
        """Store the pictures of a tier; gives the number of bytes in the page."""
        shape = self._usual_shape([picture.path for picture in pictures])
        shown = min(settings.shown_height, _MOST_WIDE / shape)
        steps = [step for step in _STEPS if step[0] <= settings.most_height]
        chosen = self._first_that_fits(pictures, steps, shape, budget)
        for at in range(chosen, len(steps)):
            height, quality = steps[at]
            box = (max(_BLOCK, round(height * shape / _BLOCK) * _BLOCK), height)
            if at == chosen or steps[at - 1][0] != height:
                thumbs = self._thumbs([picture.path for picture in pictures], box)
            sheets, cells = _sheets_of(thumbs, box, quality, shown / height, len(self._sheets))
            taken = sum(len(sheet.data) * 4 // 3 + 120 for sheet in sheets)
            if taken <= budget or at == len(steps) - 1:
                break
        self._sheets += sheets
        self._cells |= {picture: cell for picture, cell in zip(pictures, cells, strict=True) if cell is not None}
        return taken

    def _first_that_fits(
        self, pictures: Sequence[Picture], steps: Sequence[tuple[int, int]], shape: float, budget: float
    ) -> int:
        """Estimate the first step at which all pictures fit, from a sample of them."""
        rows = np.arange(len(pictures))
        if len(rows) > _SAMPLE:
            rows = np.sort(generator(0, "sample of pictures").choice(rows, size=_SAMPLE, replace=False))
        height = steps[0][0]
        thumbs = self._thumbs([pictures[row].path for row in rows.tolist()], (round(height * shape), height))
        for at, (height, quality) in enumerate(steps):
            box = (max(_BLOCK, round(height * shape / _BLOCK) * _BLOCK), height)
            smaller = [None if thumb is None else _contained(thumb, box) for thumb in thumbs]
            sheets, _ = _sheets_of(smaller, box, quality, 1.0, 0)
            estimate = sum(len(sheet.data) for sheet in sheets) * 4 / 3 * len(pictures) / len(rows)
            if estimate <= 0.95 * budget:
                return at
        return len(steps) - 1

    def _usual_shape(self, paths: Sequence[Path]) -> float:
        """Give the usual width of the images as a share of their height; it is the same for all tiers."""
        if self._shape is None:
            shapes = [size[0] / size[1] for path in paths[:200] if (size := _size_of(path)) is not None]
            self._shape = float(np.clip(np.median(shapes), *_SHAPES)) if shapes else 0.5
        return self._shape

    def _thumbs(self, paths: Sequence[Path], box: tuple[int, int]) -> list[Image.Image | None]:
        with ThreadPoolExecutor(max_workers=self._num_threads) as pool:
            return list(pool.map(lambda path: _thumb(path, box), paths))

    def is_drawn(self, picture: Picture) -> bool:
        """Whether the image could be read."""
        return picture in self._cells

    def css(self) -> Markup:
        """Give the style rules of the sheets, with their pixels as data URIs."""
        rules = []
        for number, sheet in enumerate(self._sheets):
            width, height = (sheet.scale * side for side in sheet.cell)
            # JPEG bytes in base64 contain no character that ends a style or a string.
            data = base64.b64encode(sheet.data).decode("ascii")
            rules.append(
                f".s{number}{{--w:{width:.4g}px;--h:{height:.4g}px;"
                f"background-size:{sheet.columns * width:.5g}px {sheet.rows * height:.5g}px;"
                f'background-image:url("data:image/jpeg;base64,{data}")}}'
            )
        sizes = sorted({(cell.size, self._sheets[cell.sheet].scale) for cell in self._cells.values()})
        self._classes = {size: number for number, size in enumerate(sizes)}
        rules += [
            f".d{number}{{width:{scale * width:.4g}px;height:{scale * height:.4g}px}}"
            for ((width, height), scale), number in self._classes.items()
        ]
        return Markup("\n".join(rules))

    def place(self, picture: Picture | None) -> tuple[str, int, int] | None:
        """Give the classes, the column and the row of a picture, for the script; None: it could not be read."""
        cell = None if picture is None else self._cells.get(picture)
        if cell is None:
            return None
        kind = self._classes[cell.size, self._sheets[cell.sheet].scale]
        return f"p s{cell.sheet} d{kind}", cell.column, cell.row

    def html(self, picture: Picture, label: str) -> Markup:
        """Give the element that shows a picture.

        Args:
            picture: The picture.
            label: What it shows, for readers that do not see it.
        """
        place = self.place(picture)
        if place is None:
            return Markup('<i class="p none" role="img" aria-label="{}">no picture</i>').format(escape(label))
        classes, column, row = place
        return Markup('<i class="{}" style="--x:{};--y:{}" role="img" aria-label="{}"></i>').format(
            classes, column, row, escape(label)
        )


def _sheets_of(
    thumbs: Sequence[Image.Image | None], box: tuple[int, int], quality: int, scale: float, first: int
) -> tuple[list[_Sheet], list[_Cell | None]]:
    """Draw thumbnails into sheets of cells of one size; gives the sheets and the cell of each thumbnail."""
    columns, rows = (max(1, _SHEET_PIXELS // side) for side in box)
    cells: list[_Cell | None] = []
    parts: list[list[Image.Image]] = []
    for thumb in thumbs:
        if thumb is None:
            cells.append(None)
            continue
        if not parts or len(parts[-1]) == columns * rows:
            parts.append([])
        row, column = divmod(len(parts[-1]), columns)
        parts[-1].append(thumb)
        cells.append(_Cell(first + len(parts) - 1, column, row, thumb.size))
    sheets = []
    for part in parts:
        used = min(columns, len(part)), -(-len(part) // columns)
        sheet = _Sheet(box, used[0], used[1], scale)
        sheet.data = _jpeg(part, box, used, quality)
        sheets.append(sheet)
    return sheets, cells


def _jpeg(thumbs: Iterable[Image.Image], box: tuple[int, int], grid: tuple[int, int], quality: int) -> bytes:
    page = Image.new("RGB", (box[0] * grid[0], box[1] * grid[1]), (127, 127, 127))
    for number, thumb in enumerate(thumbs):
        row, column = divmod(number, grid[0])
        page.paste(thumb, (column * box[0], row * box[1]))
    file = io.BytesIO()
    page.save(file, "JPEG", quality=quality, optimize=True)
    return file.getvalue()


def _size_of(path: Path) -> tuple[int, int] | None:
    try:
        with identified(path) as image:
            return image.size
    except Exception:  # decoders raise errors of many types; drawing shows "no picture"
        return None


def _thumb(path: Path, box: tuple[int, int]) -> Image.Image | None:
    try:
        return _contained(open_image(path), box)
    except UnreadableImageError:
        return None


def _contained(image: Image.Image, box: tuple[int, int]) -> Image.Image:
    """Resize an image to the largest size that lies in a box; of a line, a pixel is left across it."""
    scale = min(box[0] / image.width, box[1] / image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image if size == image.size else image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
