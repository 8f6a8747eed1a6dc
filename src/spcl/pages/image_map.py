"""A map of images: two coordinates for each feature, near where features are similar, drawn as inline SVG.

PaCMAP keeps neighbours together and is used where it is installed (``pip install "spcl[report]"``). Otherwise the two
principal components are shown, and the page says so.
"""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from spcl.neighbours.nearest import nearest_neighbours
from spcl.pages.charts import NUM_COLOURS
from spcl.pages.group_cards import GroupedImages
from spcl.pages.pictures import Picture, PictureBook
from spcl.pages.shown_images import ShownImages, in_order
from spcl.randomness import generator

MOST_POINTS = 20_000
SIDE = 1000
"""Width and height of the map in units of its coordinates."""

_MARGIN = 20
_COMPONENTS = 50
_NEIGHBOURS = 10
_FEWEST_FOR_PACMAP = 60
_OVERSAMPLED = 12
_MOST_PICTURES = 4_000


@dataclass(frozen=True)
class Colouring:
    """The map, coloured by one column.

    Attributes:
        name: What the colours mean: ``group``, ``camera`` or ``identity``.
        paths: Colour and SVG path of its points; colour -1: unknown.
        values: Legend: value and colour; empty where there are more values than colours.
    """

    name: str
    paths: tuple[tuple[int, Markup], ...]
    values: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class MapSection:
    """A map of images.

    Attributes:
        colourings: The same points, coloured by each known column.
        method: How the coordinates were computed, in a sentence.
        num_points: Number of points.
        num_images: Number of images; more than the points where a sample is drawn.
        names: File name of each point.
        rows: ``[num_points]`` row of each point's image.
        places: ``[num_points, 2]`` int64 coordinates from 0 to ``SIDE``.
        columns: For each known column, the value of each point.
        pictures: Picture of each point; None: it has none.
    """

    colourings: tuple[Colouring, ...]
    method: str
    num_points: int
    num_images: int
    names: tuple[str, ...]
    rows: NDArray[np.int64]
    places: NDArray[np.int64]
    columns: dict[str, tuple[str, ...]]
    pictures: tuple[Picture | None, ...]

    def data(self, book: PictureBook) -> Markup:
        """Give the points as JSON for the script, safe inside a ``script`` element."""
        kinds: dict[str, int] = {}
        shown: list[list[int] | int] = []
        for picture in self.pictures:
            place = book.place(picture)
            shown.append(0 if place is None else [kinds.setdefault(place[0], len(kinds)), place[1], place[2]])
        columns = {}
        for name, values in self.columns.items():
            known = {value: number for number, value in enumerate(dict.fromkeys(values))}
            columns[name] = {"values": list(known), "of": [known[value] for value in values]}
        plain = {
            "side": SIDE,
            "x": self.places[:, 0].tolist(),
            "y": self.places[:, 1].tolist(),
            "names": self.names,
            "columns": columns,
            "kinds": list(kinds),
            "pictures": shown,
        }
        text = json.dumps(plain, separators=(",", ":"))
        # What could end the element or begin a comment is written as an escape of JSON.
        return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def map_section(images: ShownImages, grouped: GroupedImages | None, book: PictureBook) -> MapSection | None:
    """Lay images out by their features.

    Args:
        images: The images with their features; of more than ``MOST_POINTS`` a random sample is drawn.
        grouped: The group of each image; None: unknown.
        book: Book that the pictures are asked of. Images that the page shows elsewhere have their pictures already.

    Returns:
        None without features, or with fewer than three images.
    """
    if images.features is None or len(images) < 3:
        return None
    rows = np.arange(len(images))
    rng = generator(0, "points of a map")
    if len(rows) > MOST_POINTS:
        rows = np.sort(rng.choice(rows, MOST_POINTS, replace=False))
    places, method = coordinates(images.features[rows])
    columns = _columns(images, grouped, rows)
    with_pictures = set(rows.tolist())
    if len(rows) > _MOST_PICTURES:
        with_pictures = set(rng.choice(rows, _MOST_PICTURES, replace=False).tolist())
    paths = [images.records[row].path for row in rows.tolist()]
    return MapSection(
        colourings=tuple(_coloured(name, values, places) for name, values in columns.items()) or (_plain(places),),
        method=method,
        num_points=len(rows),
        num_images=len(images),
        names=tuple(path.name for path in paths),
        rows=rows,
        places=places,
        columns=columns,
        pictures=tuple(
            book.best_of(path) if row in with_pictures else book.known(path)
            for row, path in zip(rows.tolist(), paths, strict=True)
        ),
    )


def coordinates(features: NDArray[np.float32]) -> tuple[NDArray[np.int64], str]:
    """Compute two coordinates for each feature.

    Args:
        features: ``[N, D]`` float32 unit rows, ``N >= 3``.

    Returns:
        ``[N, 2]`` int64 from 0 to ``SIDE``, and a sentence on the method.

    Cost: ``N D`` times some sixty for the principal components; with PaCMAP ``N^2`` times fifty for the neighbours.
    """
    components, share = principal_components(features, _COMPONENTS)
    plain = f"the two principal components of the features, which hold {100 * share:.0f} % of their variance"
    if len(features) < _FEWEST_FOR_PACMAP:
        return _scaled(components[:, :2]), f"Shown are {plain}."
    if find_spec("pacmap") is None:
        return _scaled(components[:, :2]), (
            f'Shown are {plain}: neighbours are not kept together well. pip install "spcl[report]" gives a better map.'
        )
    return _scaled(
        _pacmap(components)
    ), "Computed with PaCMAP: near points are similar images; far distances mean little."


def principal_components(features: NDArray[np.float32], count: int) -> tuple[NDArray[np.float32], float]:
    """Project rows on their first principal components, by a randomised decomposition from a fixed seed.

    Args:
        features: ``[N, D]`` float32.
        count: Largest number of components.

    Returns:
        ``[N, c]`` float32 with at least two columns (zeros where there are fewer components), and the share of the
        variance in the first two.
    """
    centred = features - features.mean(axis=0, keepdims=True)
    width = min(count + _OVERSAMPLED, *centred.shape)
    basis = generator(0, "principal components").standard_normal((centred.shape[1], width)).astype(np.float32)
    for _ in range(3):
        basis, _ = np.linalg.qr(centred.T @ (centred @ basis))
    projected = centred @ basis
    _, lengths, directions = np.linalg.svd(projected, full_matrices=False)
    components = (projected @ directions.T)[:, :count]
    total = float(np.square(centred, dtype=np.float64).sum()) or 1.0
    if components.shape[1] < 2:
        components = np.pad(components, ((0, 0), (0, 2 - components.shape[1])))
    return components.astype(np.float32), min(1.0, float(np.square(lengths[:2]).sum()) / total)


def _pacmap(components: NDArray[np.float32]) -> NDArray[np.float32]:
    import pacmap

    near = nearest_neighbours(_unit(components), _NEIGHBOURS + 1).indices[:, 1:]
    pairs = np.stack([np.repeat(np.arange(len(near)), near.shape[1]), near.reshape(-1)], axis=1).astype(np.int32)
    # The library prints remarks about its seed.
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        layout = pacmap.PaCMAP(
            n_components=2,
            n_neighbors=near.shape[1],
            pair_neighbors=pairs,
            apply_pca=False,
            random_state=0,
            num_iters=(100, 100, 200),
        )
        placed: NDArray[np.float32] = layout.fit_transform(components, init="pca")
    return placed


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (rows / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit


def _scaled(places: NDArray[np.float32]) -> NDArray[np.int64]:
    """Scale both coordinates alike into the map. Far outliers are drawn at its edge, so that the rest fills it."""
    low, high = np.quantile(places, [0.002, 0.998], axis=0)
    middle, extent = (low + high) / 2, float((high - low).max()) or 1.0
    scaled = (places - middle) / extent * (SIDE - 2 * _MARGIN) + SIDE / 2
    kept: NDArray[np.int64] = np.clip(scaled.round(), _MARGIN / 2, SIDE - _MARGIN / 2).astype(np.int64)
    return kept


def _columns(images: ShownImages, grouped: GroupedImages | None, rows: NDArray[np.int64]) -> dict[str, tuple[str, ...]]:
    """Give the values of the known columns; empty text: unknown."""
    columns: dict[str, tuple[str, ...]] = {}
    if grouped is not None and (grouped.group >= 0).any():
        columns["group"] = tuple(
            "" if number < 0 else grouped.titles[number] for number in grouped.group[rows].tolist()
        )
    for name, values in (("camera", images.cameras), ("identity", images.identities), ("track", images.tracks)):
        if any(values[row] is not None for row in rows.tolist()):
            columns[name] = tuple(values[row] or "" for row in rows.tolist())
    return columns


def _coloured(name: str, values: Sequence[str], places: NDArray[np.int64]) -> Colouring:
    known = [value for value in dict.fromkeys(values) if value]
    known.sort(key=in_order)
    colour_of = {value: number % NUM_COLOURS for number, value in enumerate(known)} | {"": -1}
    colours = np.array([colour_of[value] for value in values])
    paths = tuple((int(colour), _dots(places[colours == colour])) for colour in np.unique(colours).tolist())
    legend = tuple((value, colour_of[value]) for value in known) if len(known) <= NUM_COLOURS else ()
    return Colouring(name, paths, legend)


def _plain(places: NDArray[np.int64]) -> Colouring:
    return Colouring("", ((0, _dots(places)),), ())


def _dots(places: NDArray[np.int64]) -> Markup:
    """Draw points as one path: lines of no length with round ends."""
    return Markup("".join(f"M{x} {y}h0" for x, y in places.tolist()))
