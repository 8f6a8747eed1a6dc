"""Random files of galleries, files of features, and filters."""

from __future__ import annotations

import random
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from spcl.gallery.features_file import FeaturesFile, features_writer
from spcl.gallery.gallery import Gallery
from spcl.gallery.matrix_file import finish_pair
from spcl.monitoring.reference import read_reference
from tests.gallery.features import names, unit_rows
from tests.trust.mutations import WORDS, damaged_bytes, damaged_text
from tests.trust.workers import EntryPoint, TryInput

_FILTERS = (
    "camera != 3 and time >= '2026-01-01 08:00'",
    "camera in (1, '2', 3.0)",
    "not (identity like 'cow%') or lane > 3.5",
    "time between '2026-01-01' and '2026-01-02 09:30'",
    "identity is not null and night",
    "speed * 2 < lane + 1.5e1",
    "path like 'gate/%' or path = 'a.png'",
    "camera > 3 and camera <= 10",
    "'it''s' = identity",
    "lower(identity) = 'cow 1'",
    "lane % 2 = 0 and (camera is null or camera not in ('x'))",
    "cast(lane as text) = '3'",
    "speed - -1 >= 0",
)
_FILTER_WORDS = (
    *WORDS[:30],
    " and ",
    " or ",
    " not ",
    " in (",
    ")",
    "(",
    " between ",
    " like ",
    " is null",
    "= ",
    "<>",
    "!=",
    " time ",
    " path ",
    " vector ",
    "key",
    "null",
    "''",
    "1 = 1",
    "camera",
    "identity",
    "select 1",
    ";",
    "--",
    "/*",
    "case when",
    "date '2026-01-01'",
)


def _columns(num: int) -> dict[str, list[object]]:
    return {
        "identity": [f"cow {number // 5}" if number % 2 else None for number in range(num)],
        "camera": [str(number % 4) if number % 7 else None for number in range(num)],
        "time": [datetime(2026, 1, 1) + timedelta(hours=number) for number in range(num)],
        "lane": list(range(num)),
        "speed": [number / 2 for number in range(num)],
        "night": [number % 2 == 0 for number in range(num)],
    }


def _gallery(folder: Path, num: int = 20) -> Gallery:
    made = Gallery.create(folder, fingerprint="x", dim=8)
    made.add_features(unit_rows(num), names(num), columns=_columns(num))
    return made


def _filters(folder: Path) -> TryInput:
    gallery = _gallery(folder / "g")
    gallery.tidy()

    def try_input(rng: random.Random) -> None:
        where = damaged_text(rng, _FILTERS, _FILTER_WORDS)
        if rng.random() < 0.2:
            where = f" {rng.choice(('and', 'or'))} ".join([where, *rng.sample(_FILTERS, 2)])
        number = gallery.count(where)
        assert 0 <= number <= 20
        assert len(gallery.search(unit_rows(1)[0], k=30, where=where)[0]) == number

    return try_input


def _files(folder: Path) -> TryInput:
    """One file of a gallery is damaged: the table's, or one beside it."""
    whole = folder / "whole"
    made = _gallery(whole)
    made.remove("lane = 3")
    made.tidy()
    files = [path.relative_to(whole) for path in sorted(whole.rglob("*")) if path.is_file() and path.stat().st_size]
    data = {path: (whole / path).read_bytes() for path in files}
    place = folder / "g"
    shutil.copytree(whole, place)

    def try_input(rng: random.Random) -> None:
        for path in rng.sample(files, rng.choice((1, 1, 2))):
            (place / path).write_bytes(damaged_bytes(rng, [data[path]]))
        try:
            opened = Gallery.open(place)
            opened.count("camera = 1")
            opened.search(unit_rows(1)[0], k=3)
            opened.enrolled()
            read_reference(place, "x")
        finally:
            for path in files:
                (place / path).write_bytes(data[path])

    return try_input


def _features(folder: Path) -> TryInput:
    from spcl.gallery.columns import described

    table = described(names(9), columns=_columns(9))
    samples = []
    for at in range(2):
        path = folder / f"whole{at}.parquet"
        with features_writer(path, 8, {"fingerprint": "x", "flip": bool(at)}) as writer:
            writer.write(table, unit_rows(9))
        samples.append(path.read_bytes())
    path = folder / "features.parquet"

    def try_input(rng: random.Random) -> None:
        path.write_bytes(damaged_bytes(rng, samples))
        opened = FeaturesFile(path)
        for part, rows in opened.parts():
            assert len(part) == len(rows) and np.isfinite(rows).all()

    return try_input


def _pairs(folder: Path) -> TryInput:
    """Left-overs of a matrix that was being written, beside it."""
    from spcl.gallery.columns import described

    table = described(names(9), columns=_columns(9))
    with features_writer(folder / "f.npy", 8, {}) as writer:
        writer.write(table, unit_rows(9))
    data = {path: path.read_bytes() for path in folder.iterdir()}

    def try_input(rng: random.Random) -> None:
        for path, content in data.items():
            path.write_bytes(damaged_bytes(rng, [content]) if rng.random() < 0.5 else content)
        finish_pair(folder / "f.npy")

    return try_input


ENTRY_POINTS = (
    EntryPoint("filter", _filters),
    EntryPoint("files of a gallery", _files),
    EntryPoint("features, Parquet", _features),
    EntryPoint("features, npy", _pairs),
)
