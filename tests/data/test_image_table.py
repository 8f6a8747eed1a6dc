"""Whatever a user points at becomes records."""

from __future__ import annotations

import pandas as pd
import pytest
from PIL import Image

from spcl.data.image_sources import images_of
from spcl.data.source_options import SourceOptions
from tests.fakes import draw, write_fake
from tests.input_errors import input_error


def test_a_folder_with_all_below_it(tmp_path):
    for name in ("b/2_c3.jpg", "a_c9.jpg", "b/deep/er/1_c3.PNG", ".hidden/x_c1.jpg"):
        draw(tmp_path / name, 1)
    (tmp_path / "b" / "notes.txt").write_text("no image")
    found = images_of(tmp_path).records
    assert [str(record.path.relative_to(tmp_path)) for record in found] == [
        "a_c9.jpg",
        "b/2_c3.jpg",
        "b/deep/er/1_c3.PNG",
    ]
    assert [record.camera for record in found] == [1, 0, 0]
    assert all(record.identity is None for record in found)


def test_a_file_a_list_and_files_without_cameras(tmp_path):
    path = draw(tmp_path / "one.jpg", 1)
    assert [record.path for record in images_of(path).records] == [path]
    both = images_of([path, draw(tmp_path / "two_c1.jpg", 1)]).records
    assert [record.camera for record in both] == [None, None]


def test_identities_only_when_asked_for_and_never_shared_by_train_and_test(tmp_path):
    folder = write_fake("market1501", tmp_path)
    assert {record.identity for record in images_of("market1501", SourceOptions(data_dir=str(tmp_path))).records} == {
        None
    }
    labelled = images_of(folder, labelled=True).records
    train = {record.identity for record in labelled if "train" in str(record.path)}
    assert train
    assert train.isdisjoint({record.identity for record in labelled if "train" not in str(record.path)})


def test_distractors_are_no_object(tmp_path):
    """Hundreds of different objects under one number: taken for one, they spoil a calibration."""
    folder = write_fake("market1501", tmp_path)
    for images in ("market1501", folder):
        found = images_of(images, SourceOptions(data_dir=str(tmp_path)), labelled=True).records
        unknown = [record.path.name[:5] for record in found if record.identity is None]
        assert unknown == ["0000_", "0000_"]
    # Where an identity 0 is searched for, it is one.
    draw(folder / "query" / "0000_c6s1_000000_00.jpg", 9)
    assert all(record.identity is not None for record in images_of(folder, labelled=True).records)


def test_linked_folders_are_entered_once(tmp_path):
    crops = tmp_path / "crops"
    for name in ("crops/b/1.jpg", "crops/c/1.jpg", "crops/link.jpg", "elsewhere/d/1.jpg", "elsewhere/.hidden/1.jpg"):
        draw(tmp_path / name, 1)
    (crops / "a").symlink_to(crops / "b")
    (crops / "b" / "up").symlink_to(crops)
    (crops / "e").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(crops)
    (crops / "gone.jpg").symlink_to(tmp_path / "nothing.jpg")
    found = [str(record.path.relative_to(crops)) for record in images_of(crops).records]
    assert found == ["b/1.jpg", "c/1.jpg", "e/d/1.jpg", "link.jpg"]


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda path: path.mkdir(), "no-images"),
        (lambda path: None, "no-such-source"),
        (lambda path: path.write_text("x"), "wrong-file-kind"),
    ],
)
def test_a_source_without_images_is_an_error_that_names_it(tmp_path, make, code):
    make(tmp_path / "given")
    with input_error(code, tmp_path / "given"):
        images_of(tmp_path / "given")


@pytest.mark.parametrize("layout", ["table", "tables", "folders", "market"])
def test_one_identity_in_several_splits_is_one(tmp_path, layout):
    rows = []
    for number in range(1, 4):
        for shot, split in enumerate(("train", "query", "gallery")):
            if layout == "market":
                place = {"train": "bounding_box_train", "gallery": "bounding_box_test"}.get(split, split)
                path = tmp_path / "own" / place / f"{number:04d}_c{shot + 1}s1_00.png"
            else:
                path = tmp_path / "own" / split / f"cow {number}" / f"{shot}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 8)).save(path)
            rows.append((str(path), f"{number:04d}" if layout == "market" else f"cow {number}", split))
    table = pd.DataFrame(rows, columns=["path", "identity", "split"])
    table.to_csv(tmp_path / "t.csv", index=False)
    for split, part in table.groupby("split"):
        part.drop(columns="split").to_csv(tmp_path / f"{split}.csv", index=False)
    images = {
        "table": tmp_path / "t.csv",
        "tables": ",".join(f"{split}={tmp_path / split}.csv" for split in ("train", "query", "gallery")),
    }.get(layout, tmp_path / "own")
    words = {str(path): word for path, word, _ in rows}
    found = images_of(images, labelled=True).records
    assert len(found) == 9
    pairs = {(record.identity, words[str(record.path)]) for record in found}
    assert len(pairs) == 3
    assert {identity for identity, _ in pairs} == {0, 1, 2}


def test_registered_numbers_stay_apart_whatever_lies_beside(tmp_path, monkeypatch):
    """MSMT17 numbers training and test identities from 0, and its folders are called train and test."""
    write_fake("msmt17", tmp_path)
    elsewhere = images_of("msmt17", SourceOptions(data_dir=str(tmp_path)), labelled=True).records
    (tmp_path / "msmt17" / "train").mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path)
    here = images_of("msmt17", SourceOptions(data_dir=str(tmp_path)), labelled=True).records
    assert [record.identity for record in here] == [record.identity for record in elsewhere]


def test_embedding_leaves_out_notes_that_concern_training(tmp_path):
    draw(tmp_path / "a.jpg", 1)
    (tmp_path / "t.csv").write_text("path;identity\na.jpg;cow\n")
    assert images_of(tmp_path / "t.csv").notes == (f"{tmp_path / 't.csv'}: columns are separated by semicolons",)


def test_cameras_that_only_some_images_have_are_not_compared_and_reported(tmp_path):
    with_camera = draw(tmp_path / "a" / "x_c1.jpg", 1).parent
    without = draw(tmp_path / "b" / "y.jpg", 2).parent
    table = images_of([with_camera, without])
    assert [record.camera for record in table.records] == [None, None]
    assert table.columns["camera"] == ["1", None]
    assert "cameras are not compared: 1 of 2 images have none" in table.notes
