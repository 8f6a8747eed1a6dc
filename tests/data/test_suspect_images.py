"""Copies, thumbnails and too small images are named."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from spcl.data.byte_identical import byte_identical
from spcl.data.image_sources import images_of
from spcl.data.suspect_images import image_sizes, thumbnails, without_small_images
from tests.input_errors import input_error


def picture(path, width, height, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_copies_and_thumbnails_are_named_and_small_images_left_out(tmp_path):
    for number in range(10):
        picture(tmp_path / f"{number}.png", 64 + number, 128, number)
    (tmp_path / "x_copy.png").write_bytes((tmp_path / "3.png").read_bytes())
    picture(tmp_path / "thumb.png", 10, 20, 50)
    (tmp_path / "broken.png").write_bytes(b"no image")
    table, odd = without_small_images(images_of(tmp_path))
    assert len(table) == 13
    assert odd.copies == ((tmp_path / "x_copy.png", tmp_path / "3.png"),)
    assert odd.small == ((tmp_path / "thumb.png", (10, 20)),)
    assert odd.rows() == [
        (tmp_path / "x_copy.png", f"a copy of {tmp_path / '3.png'}"),
        (tmp_path / "thumb.png", "far smaller than the rest: 10 x 20"),
    ]
    assert [note.split(",")[0] for note in odd.notes] == [
        "1 image(s) are copies of others",
        "1 image(s) are far smaller than the rest",
    ]
    table, odd = without_small_images(images_of(tmp_path), min_size=20)
    assert len(table) == 12
    assert table.left_out == ((tmp_path / "thumb.png", "10 x 20 pixels, smaller than --min-size 20"),)
    assert odd.small == ()
    # What is no image is no small one: reading it reports that.
    assert tmp_path / "broken.png" in {record.path for record in table.records}
    (tmp_path / "broken.png").unlink()
    with input_error("no-images", "--min-size 500", "73 pixels"):
        without_small_images(images_of(tmp_path), min_size=500)


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        ([], []),
        ([100], []),
        ([100] * 9 + [24], [9]),
        ([100] * 9 + [26], []),  # less than a sixteenth of the pixels
        ([100] * 9 + [0], []),  # no image
        ([100] * 5 + [10] * 5, []),  # images of many sizes have no thumbnails
    ],
)
def test_a_thumbnail_is_a_small_exception(sides, expected):
    sizes = np.array([(side, side) for side in sides], dtype=np.int64).reshape(-1, 2)
    assert thumbnails(sizes).tolist() == expected


def test_only_files_of_equal_length_are_read(tmp_path, monkeypatch):
    contents = {"a": b"1", "b": b"22", "c": b"23", "d": b"22", "e": b"", "f": b""}
    paths = [tmp_path / name for name in contents]
    for path in paths:
        path.write_bytes(contents[path.name])
    opened = []
    original = type(paths[0]).open
    monkeypatch.setattr(type(paths[0]), "open", lambda self, *how: (opened.append(self.name), original(self, *how))[1])
    assert byte_identical([*paths, tmp_path / "gone"]) == {3: 1}
    assert opened == ["b", "c", "d"]
    assert image_sizes(paths[:1]).tolist() == [[0, 0]]
