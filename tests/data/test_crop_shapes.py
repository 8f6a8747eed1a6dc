"""The shape of crops is read from headers, upright, and the settings follow from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spcl.data import crop_shapes
from spcl.data.crop_shapes import crop_shape
from spcl.records import Record
from tests.fakes import draw


def images(folder: Path, size: tuple[int, int], count: int = 5, **save) -> list[Record]:
    paths = [folder / f"{size[0]}x{size[1]}-{number}.jpg" for number in range(count)]
    for path in paths:
        Image.fromarray(np.zeros((size[1], size[0], 3), dtype=np.uint8)).save(path, **save)
    return [Record(path) for path in paths]


@pytest.mark.parametrize(
    ("size", "recipe", "seen", "word"),
    [
        ((60, 180), "person", (256, 128), "tall"),
        ((30, 70), "person", (128, 64), "tall"),
        ((300, 150), "vehicle", (224, 224), "wide"),
        ((200, 200), "vehicle", (224, 224), "square"),
        ((60, 60), "vehicle", (112, 112), "square"),
    ],
)
def test_presets_by_shape(tmp_path, size, recipe, seen, word):
    found = crop_shape(images(tmp_path, size))
    assert (found.recipe, found.size) == (recipe, seen)
    assert (found.width, found.height) == size
    assert word in found.reason


def test_turned_images_count_upright_and_broken_ones_not(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    records = images(tmp_path, (180, 60), exif=turned)
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    found = crop_shape([*records, Record(tmp_path / "broken.jpg"), Record(tmp_path / "missing.jpg")])
    assert (found.height, found.width, found.recipe) == (180, 60, "person")
    assert "5 images" in found.reason


def test_a_sample_is_enough_and_the_same_each_time(tmp_path):
    records = images(tmp_path, (60, 180), 30)
    found = crop_shape(records, sample=7)
    assert "7 images" in found.reason
    assert crop_shape(records, sample=7) == found
    assert crop_shape([Record(tmp_path / "missing.jpg")]).size == (256, 128)


def test_images_that_need_an_extra_reader_are_measured(tmp_path, monkeypatch):
    """HEIC is read once its reader is registered, which ``identified`` does."""
    path = draw(tmp_path / "a.png", 1, size=(30, 90))
    monkeypatch.setattr(crop_shapes, "identified", lambda _: Image.open(path))
    assert crop_shape([Record(tmp_path / "a.heic")] * 3).size == (128, 64)
