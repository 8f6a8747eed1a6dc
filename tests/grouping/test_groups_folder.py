"""The folders of groups: the old ones or the new ones, whatever stops the writing, and nothing left beside them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spcl import atomic_folders
from spcl.atomic_folders import restore_kept
from spcl.errors import InputError
from spcl.grouping import group_folders, groups_folder
from spcl.grouping.groups import cluster
from spcl.grouping.groups_folder import FOLDERS, PICTURE, SUMMARY, check_folder, write_groups
from spcl.records import Record
from tests.gallery.features import unit_rows
from tests.input_errors import input_error
from tests.trust.killing import each_kill


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


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


def content_of(folder: Path) -> dict[str, bytes | str]:
    """All files and links below a folder, hidden ones included; modes and times do not count."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        found[name] = str(path.readlink()) if path.is_symlink() else b"" if path.is_dir() else path.read_bytes()
    return found


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_stop_while_images_are_copied(tmp_path, out, records, groups, monkeypatch, stop):
    copied, before = [], content_of(out)

    def copy(image, where):
        copied.append(image)
        where.write_bytes(b"half")
        if len(copied) == 3:
            raise stop

    monkeypatch.setattr(group_folders.shutil, "copy2", copy)
    with pytest.raises(KeyboardInterrupt if isinstance(stop, KeyboardInterrupt) else InputError):
        write_groups(out, records, groups, folders="copy")
    assert content_of(out) == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["crops", "out"]


@pytest.fixture
def other_groups():
    return cluster(np.repeat(unit_rows(3), 2, axis=0), eps=0.5, k1=2, k2=1, min_samples=2)


@pytest.fixture
def no_picture(monkeypatch):
    """The picture takes most of the time, and is one file of several."""
    monkeypatch.setattr(groups_folder, "contact_sheet", lambda path, rows: path.write_bytes(b"picture"))


KINDS = ["new", "empty", "old", "old-in-place", "old-without-exchange"]


@pytest.mark.parametrize(("kind", "kills"), [*((kind, 3) for kind in KINDS), *(slow(kind, None) for kind in KINDS)])
def test_a_kill_at_any_point_leaves_old_results_or_new_ones(
    tmp_path, records, groups, other_groups, no_picture, monkeypatch, kind, kills
):
    """And the same command then works, and nothing is left of the killed one."""
    out, replaces = tmp_path / "out", kind.startswith("old")
    if kind == "old-in-place":
        monkeypatch.setattr(atomic_folders, "_can_be_replaced", lambda folder: False)
    if kind == "old-without-exchange":
        monkeypatch.setattr(atomic_folders.sys, "platform", "other")

    def prepare():
        for entry in tmp_path.iterdir():
            if entry.name != "crops":
                shutil.rmtree(entry)
        if kind == "empty":
            out.mkdir()
        elif kind != "new":
            write_groups(out, records, groups, folders="link", odd=[(records[0].path, "a copy")])
            (out / "notes.txt").write_text("mine")
            (out / "more").mkdir()
            (out / "more/notes.txt").write_text("mine")

    def write_again(overwrite=replaces):
        check_folder(out, overwrite=overwrite)
        write_groups(out, records, other_groups, folders="link")

    prepare()
    old = content_of(out) if kind != "new" else {}
    write_again()
    new = content_of(out)
    killed = 0
    for _ in each_kill(write_again, prepare=prepare, most=kills):
        killed += 1
        if kind == "old-without-exchange":
            restore_kept(out)
        seen = {name: value for name, value in (content_of(out) if out.exists() else {}).items() if name[0] != "."}
        is_whole = seen in (old, new)
        assert is_whole or kind == "old-in-place"
        if not is_whole:
            # Entries that are moved one after the other: the summary says so, and the command needs no --overwrite.
            assert json.loads(seen[SUMMARY])["unfinished"]
            check_folder(out, overwrite=False)
        write_again(overwrite=is_whole and seen in (new, old) and bool(seen))
        assert content_of(out) == new
        assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []
    assert killed >= (kills or 8)


def test_what_earlier_versions_left_is_removed(tmp_path, records, groups, no_picture):
    out = tmp_path / "out"
    out.mkdir()
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    (out / f".{SUMMARY}.{process.pid}.tmp").touch()
    check_folder(out, overwrite=False)
    write_groups(out, records, groups)
    assert hidden_in(out) == []
    (out / f".{FOLDERS}.old").mkdir()
    check_folder(out, overwrite=True)
    write_groups(out, records, groups)
    assert hidden_in(out) == []


def test_the_working_folder_stays_the_working_folder(tmp_path, records, groups, no_picture, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.chdir(out)
    for _ in range(2):
        write_groups(Path(), records, groups, folders="link")
        assert Path(SUMMARY).exists() and out.samefile(Path.cwd())
        assert {path.resolve() for path in Path(FOLDERS).rglob("*.png")} == {record.path for record in records}
        assert hidden_in(out) == []


def test_a_link_is_followed_and_one_that_leads_in_a_circle_is_refused(tmp_path, records, groups, no_picture):
    (tmp_path / "link").symlink_to("real/out")
    write_groups(tmp_path / "link", records, groups, folders="link")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real/out" / SUMMARY).exists()
    assert {path.resolve() for path in (tmp_path / "link" / FOLDERS).rglob("*.png")} == {r.path for r in records}
    (tmp_path / "circle").symlink_to("circle")
    with input_error("cannot-write", "circle", "symbolic links"):
        check_folder(tmp_path / "circle", overwrite=False)
    with input_error("cannot-write", "shorter name"):
        check_folder(tmp_path / ("x" * 300), overwrite=False)


@pytest.mark.parametrize("folders", ["link", "copy"])
def test_one_name_that_the_disk_cannot_hold_is_listed(tmp_path, groups, no_picture, folders):
    """Two images have one long name; the second would get a longer one."""
    paths = [tmp_path / folder / ("x" * 251 + ".png") for folder in ("1", "2")]
    paths += [tmp_path / f"{number}.png" for number in range(4)]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 8)).save(path)
    one = replace(groups, group=np.zeros(len(paths), np.int64), confidence=np.ones(len(paths)))
    summary = write_groups(tmp_path / "out", tuple(map(Record, paths)), one, folders=folders)
    assert summary["not_copied"] == [str(paths[1])]
    assert len(list((tmp_path / "out" / FOLDERS / "0000").iterdir())) == len(paths) - 1


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
