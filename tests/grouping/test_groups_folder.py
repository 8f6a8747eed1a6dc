"""The folders of groups: the old ones or the new ones, whatever stops the writing, and nothing left beside them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spcl.errors import InputError
from spcl.grouping import groups_folder as written
from spcl.grouping.groups import cluster
from spcl.grouping.groups_folder import FOLDERS, PICTURE, SUMMARY, write_groups
from spcl.records import Record
from tests.gallery.features import unit_rows


@pytest.fixture
def records(tmp_path):
    paths = [tmp_path / "crops" / f"{number}.png" for number in range(6)]
    paths[0].parent.mkdir()
    for path in paths:
        Image.new("RGB", (4, 8)).save(path)
    return tuple(Record(path) for path in paths)


@pytest.fixture
def groups():
    return cluster(np.repeat(unit_rows(2), 3, axis=0), eps=0.5, k1=3, k2=1, min_samples=2)


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def hidden_in(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if entry.name.startswith(".")]


@pytest.fixture
def out(tmp_path, records, groups):
    out = tmp_path / "out"
    out.mkdir()
    write_groups(out, records, groups, folders="copy")
    assert files_in(out / FOLDERS) == {record.path.name for record in records}
    return out


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_stop_while_images_are_copied(out, records, groups, monkeypatch, stop):
    copied = []

    def copy(image, where):
        copied.append(image)
        where.write_bytes(b"half")
        if len(copied) == 3:
            raise stop

    monkeypatch.setattr(written.shutil, "copy2", copy)
    with pytest.raises(KeyboardInterrupt if isinstance(stop, KeyboardInterrupt) else InputError):
        write_groups(out, records, groups, folders="copy")
    assert hidden_in(out) == []
    assert files_in(out / FOLDERS) == {record.path.name for record in records}
    assert json.loads((out / SUMMARY).read_text())["unfinished"]


def test_a_kill_between_the_two_renames(out, records, groups, monkeypatch):
    # What it leaves: the old folders aside, none in their place.
    (out / FOLDERS).rename(out / f".{FOLDERS}.old")
    monkeypatch.setattr(written.shutil, "copy2", lambda image, where: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_groups(out, records, groups, folders="copy")
    assert files_in(out / FOLDERS) == {record.path.name for record in records}
    assert hidden_in(out) == []


def test_an_image_that_has_gone_since_it_was_read(out, records, groups):
    records[1].path.unlink()
    summary = write_groups(out, records, groups, folders="copy")
    assert summary["not_copied"] == [str(records[1].path)]
    assert json.loads((out / SUMMARY).read_text())["not_copied"] == summary["not_copied"]
    assert files_in(out / FOLDERS) == {record.path.name for record in records if record is not records[1]}


@pytest.mark.parametrize("folders", ["link", "copy"])
def test_images_of_one_name_each_have_a_name_of_their_own(tmp_path, groups, folders):
    """And no original is written to, whatever the images are called."""
    paths = [
        tmp_path / name for name in ("1/a.jpg", "1/a~2.jpg", "2/a.jpg", "2/A.jpg", "3/a.jpg", "3/a~3.jpg", "4/é.jpg")
    ]
    for number, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 8), (number, number, number)).save(path, "PNG")
    before = [path.read_bytes() for path in paths]
    one = replace(groups, group=np.zeros(len(paths), np.int64), confidence=np.ones(len(paths)))
    out = tmp_path / "out"
    write_groups(out, tuple(map(Record, paths)), one, folders=folders)
    assert [path.read_bytes() for path in paths] == before
    written_names = [path.name for path in (out / FOLDERS / "0000").iterdir()]
    assert len({name.casefold() for name in written_names}) == len(paths)
    assert sorted(path.read_bytes() for path in (out / FOLDERS / "0000").iterdir()) == sorted(before)
    assert {"a.jpg", "a~2.jpg", "é.jpg"} <= set(written_names)


def test_images_that_are_lines_are_drawn(tmp_path, groups):
    paths = [tmp_path / f"{number}.png" for number in range(6)]
    for number, path in enumerate(paths):
        Image.new("RGB", (2000, 3) if number % 2 else (1, 2000)).save(path)
    write_groups(tmp_path / "out", tuple(map(Record, paths)), groups)
    assert (tmp_path / "out" / PICTURE).stat().st_size > 1000
