"""One image is one file, whatever path leads to it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spcl.data.image_key import image_key, image_keys, kept_path, shown_path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a.jpg").write_bytes(b"a")
    (tmp_path / "real/link.jpg").symlink_to("a.jpg")
    (tmp_path / "linked").symlink_to("real")
    (tmp_path / "real/loop").symlink_to("loop")
    return tmp_path


def test_every_spelling_of_a_file_has_one_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / "real")
    spellings = [
        folder / "real/a.jpg",
        "a.jpg",
        "./a.jpg",
        "../real/a.jpg",
        folder / "real/link.jpg",
        "link.jpg",
        folder / "linked/a.jpg",
        f"{folder}/linked//./a.jpg",
        folder / "linked/link.jpg",
    ]
    assert set(image_keys(spellings)) == {image_key(spellings[0])} == {os.path.realpath(folder / "real/a.jpg")}


def test_many_keys_are_those_of_each(folder: Path) -> None:
    odd = [folder / "gone/b.jpg", folder / "real/loop", folder / "real/..", folder, folder / "linked/loop/x.jpg", "x"]
    assert image_keys(odd) == [image_key(path) for path in odd]
    assert len(set(image_keys(odd[:3]))) == 3


def test_a_kept_path_is_absolute_and_keeps_links(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert kept_path("linked/./link.jpg") == folder / "linked/link.jpg"
    assert kept_path("real/../linked/a.jpg") == folder / "linked/a.jpg"
    (folder / "deep/below").mkdir(parents=True)
    (folder / "short").symlink_to("deep/below")
    # The system means deep/, not the folder that the link lies in.
    assert kept_path("short/../a.jpg") == folder.resolve() / "deep/a.jpg"


def test_a_shown_path_is_relative_below_the_current_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert shown_path(folder / "real/a.jpg") == "real/a.jpg"
    monkeypatch.chdir(folder / "real")
    assert shown_path(folder / "x.jpg") == str(folder / "x.jpg")


def test_many_files_of_one_folder_have_the_keys_of_each(tmp_path: Path) -> None:
    for number in range(60):
        (tmp_path / f"{number}.jpg").touch()
    for number in range(3):
        (tmp_path / f"link{number}.jpg").symlink_to(f"{number}.jpg")
    paths = sorted(tmp_path.iterdir())
    assert image_keys(paths) == [image_key(path) for path in paths]
    assert len(set(image_keys(paths))) == 60
