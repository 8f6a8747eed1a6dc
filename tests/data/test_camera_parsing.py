"""Camera numbers in the names of files and folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from spcl.data.camera_parsing import camera_in_folder, camera_in_name


@pytest.mark.parametrize(
    ("name", "camera"),
    [
        ("0002_c1s1_000451_03.jpg", 1),
        ("0002_c12_000451.jpg", 12),
        ("c3.jpg", 3),
        ("gate-cam07-0001.png", 7),
        ("cam2left_1.jpg", 2),
        ("0002_C4.jpg", 4),
        # Parts of UUIDs and hashes are no cameras.
        ("7f3c1b2a-c4f1-4d1e-9a55-0123456789ab.jpg", None),
        ("img_c20ffab.jpg", None),
        ("abc3.jpg", None),
        ("crop_colour.jpg", None),
    ],
)
def test_the_camera_in_a_file_name(name, camera):
    assert camera_in_name(Path("folder", name)) == camera


@pytest.mark.parametrize(("name", "camera"), [("cam01", 1), ("camera_2", 2), ("c3", 3), ("cam", None), ("c3a", None)])
def test_the_camera_that_a_folder_is_named_after(name, camera):
    assert camera_in_folder(name) == camera
