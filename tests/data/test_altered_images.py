"""Altered copies of crops: another look at the same thing, the same one each time."""

from __future__ import annotations

import numpy as np

from spcl.data.altered_images import AlteredImageStore, altered
from spcl.data.image_store import ImageStore
from spcl.records import Record
from tests.fakes import draw


def test_a_copy_is_mirrored_shifted_and_in_other_light():
    image = np.zeros((32, 16, 3), dtype=np.uint8)
    image[12:20, 2:5] = 200
    copy = altered(image, np.random.default_rng(1))
    assert copy.shape == image.shape
    assert copy.dtype == np.uint8
    rows, columns = np.nonzero(copy[..., 0])
    # The block of 8 x 3 stands on the other side, at most two pixels off.
    assert (len(np.unique(rows)), len(np.unique(columns))) == (8, 3)
    assert abs(rows.min() - 12) <= 2
    assert abs(columns.min() - 11) <= 2
    assert len({int(copy[..., channel].max()) for channel in range(3)}) == 1
    assert copy.max() not in (0, 200)
    assert image.max() == 200


def test_the_same_copy_whenever_and_with_whomever_it_is_read(tmp_path):
    records = [Record(draw(tmp_path / f"{number}.png", number)) for number in range(5)]
    store = AlteredImageStore(records, size=(32, 16))
    whole = store.read(np.arange(5))
    again = AlteredImageStore(records, size=(32, 16), memory=0).read(np.array([3, 1]))
    np.testing.assert_array_equal(again, whole[[3, 1]])
    assert (whole != ImageStore(records, size=(32, 16)).read(np.arange(5))).any(axis=(1, 2, 3)).all()
