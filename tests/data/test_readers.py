"""Data sets from names, folders and tables: what is read, and what is said when it cannot be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

import spcl
from spcl.data.catalogue import REGISTERED, load_dataset
from spcl.data.folder_dataset import split_for_evaluation
from spcl.data.image_decoding import check_images
from spcl.data.image_sources import images_of
from spcl.data.msmt17_vehicleid import vehicleid_draw
from spcl.data.source_options import SourceOptions
from spcl.data.synthetic import SyntheticSpec, write_market1501
from spcl.errors import InputError
from spcl.records import Record, ReIDDataset
from spcl.training_run.checks import check_training_sets
from tests.fakes import CAMERAS, draw, write_fake
from tests.input_errors import input_error


@pytest.mark.parametrize("name", list(REGISTERED))
def test_registered_sets_are_numbered_from_zero(name, tmp_path):
    write_fake(name, tmp_path)
    dataset = load_dataset(name, tmp_path)
    expected = 6 if name == "vehiclex" else 3
    assert sorted({record.identity for record in dataset.train}) == list(range(expected))
    assert list(dataset.train) == sorted(dataset.train, key=lambda record: record.path)
    cameras = {record.camera for record in dataset.train}
    if name == "vehicleid":
        assert cameras == {None}
    elif name == "personx":
        assert cameras == set(range(6))
    else:
        first = {"vehiclex": 6}.get(name, 1)
        assert cameras == {camera - first for camera in CAMERAS[name]}
    if name != "vehiclex":
        identities = {record.identity for record in dataset.query}
        assert len(identities) == 3
        assert identities <= {record.identity for record in dataset.gallery}
    assert any("published" in note for note in dataset.notes)


def test_market_leaves_junk_out_and_keeps_distractors(tmp_path):
    write_fake("market1501", tmp_path)
    gallery = load_dataset("market1501", tmp_path).gallery
    assert sum(record.identity == 0 for record in gallery) == 2
    assert all(record.identity != -1 for record in gallery)


def test_msmt17_trains_on_both_of_its_lists(tmp_path):
    write_fake("msmt17", tmp_path)
    assert len(load_dataset("msmt17", tmp_path).train) == 3 * 3 * 2


def test_vehicleid_draws_one_gallery_image_of_each_identity(tmp_path):
    write_fake("vehicleid", tmp_path)
    dataset = load_dataset("vehicleid", tmp_path)
    assert len(dataset.gallery) == len({record.identity for record in dataset.gallery}) == 3
    assert dataset.protocol == "vehicleid"
    assert len(load_dataset("vehicleid:1600", tmp_path).gallery) == 3
    with input_error("setting-out-of-range", "'900'"):
        load_dataset("vehicleid:900", tmp_path)
    with input_error("incomplete-data-set", "test_list_2400.txt"):
        load_dataset("vehicleid:2400", tmp_path)
    draws = {vehicleid_draw(dataset.query + dataset.gallery, seed)[1] for seed in range(10)}
    assert len(draws) > 1
    assert vehicleid_draw(dataset.query, 3) == vehicleid_draw(dataset.query, 3)


def test_what_is_missing_is_named(tmp_path):
    with input_error("incomplete-data-set", "bounding_box_train", "  market1501/Market"):
        load_dataset("market1501", tmp_path)
    with input_error("no-such-source", "'market1501'"):
        load_dataset("market1502", tmp_path)
    folder = write_fake("msmt17", tmp_path)
    (folder / "list_query.txt").write_text("0000/x.jpg\n")
    with input_error("malformed-table", "list_query.txt, line 1", "'0000/x.jpg'"):
        load_dataset("msmt17", tmp_path)
    (folder / "list_query.txt").write_text("0003/0003_000_01_x.jpg 3\n")
    with input_error("missing-images", "0003_000_01_x.jpg"):
        load_dataset("msmt17", tmp_path)


def test_a_file_name_without_identity_and_camera_is_an_error(tmp_path):
    folder = write_fake("market1501", tmp_path)
    draw(folder / "query" / "holiday.jpg", 1)
    with input_error("file-name-not-understood", "holiday.jpg"):
        load_dataset("market1501", tmp_path)


def test_describe_datasets_lists_all_with_their_problems(tmp_path, capsys):
    write_fake("veri", tmp_path)
    (tmp_path / "personx/PersonX").mkdir(parents=True)
    found = spcl.describe_datasets(tmp_path)
    statuses = {status.name: status for status in found}
    assert set(statuses) == set(REGISTERED)
    assert statuses["market1501"].problem == "not found"
    assert "bounding_box_train" in statuses["personx"].problem
    assert statuses["veri"].problem is None
    assert statuses["veri"].counts["train"] == (3, 18)
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["data_dir"] == str(tmp_path)
    veri = next(row for row in plain["datasets"] if row["name"] == "veri")
    assert (veri["problem"], veri["counts"]["train"]) == (None, [3, 18])
    assert veri["published"]["train"] == [[575, 576], [37746, 37778]]
    assert capsys.readouterr() == ("", "")


def test_any_folder_in_the_market_layout(tmp_path):
    folder = write_fake("market1501", tmp_path)
    dataset = load_dataset(folder)
    assert {record.camera for record in dataset.train} == {0, 1, 2}
    assert len(dataset.query) == 9


def test_a_folder_of_ones_own_may_have_more_than_nine_cameras(tmp_path):
    spec = SyntheticSpec(
        cameras=12, images_per_camera=2, train_identities=2, test_identities=2, height=32, width=16, seed=3
    )
    dataset = load_dataset(write_market1501(tmp_path / "street", spec))
    for records in (dataset.train, dataset.query, dataset.gallery):
        assert sorted({record.camera for record in records}) == list(range(12))
    tenth = next(record for record in dataset.train if "_c10s" in record.path.name)
    assert tenth.camera == 9


@pytest.mark.parametrize("name", ["market1501", "veri", "street"])
def test_a_training_folder_of_any_name_is_enough(tmp_path, name):
    for identity in (3, 5):
        draw(tmp_path / name / "bounding_box_train" / f"{identity:04d}_c1s1_000000_00.jpg", identity)
    dataset = load_dataset(tmp_path / name)
    assert [record.identity for record in dataset.train] == [0, 1]
    assert not dataset.query


def test_a_market_layout_for_tests_only(tmp_path):
    folder = write_fake("market1501", tmp_path)
    whole = load_dataset(folder)
    shutil.rmtree(folder / "bounding_box_train")
    dataset = load_dataset(folder)
    assert dataset.train == ()
    assert (dataset.query, dataset.gallery) == (whole.query, whole.gallery)
    with pytest.raises(InputError, match="no training images; give a data set with a training split"):
        check_training_sets(None, dataset)
    shutil.rmtree(folder / "query")
    with input_error("no-identities"):
        split_for_evaluation(load_dataset(folder))


def test_images_outside_the_splits_and_junk_are_reported(tmp_path):
    folder = write_fake("market1501", tmp_path)
    draw(folder / "gt_bbox" / "0001_c1s1_000001_00.jpg", 1)
    (note,) = load_dataset(folder).notes
    assert note == (
        f"not used: 3 image(s) below {folder} that are outside the splits or of identity -1 (junk); "
        "the first is bounding_box_test/-1_c1s1_000900_00.jpg"
    )


@pytest.mark.parametrize("name", ["2024-01-05_c1_001.jpg", "--5_c1s1_1.jpg", "-_c1s1_1.jpg"])
def test_a_name_without_a_number_before_the_camera_is_named(tmp_path, name):
    draw(tmp_path / "bounding_box_train" / name, 1)
    with input_error("file-name-not-understood", name):
        load_dataset(tmp_path)


def test_a_folder_per_identity(tmp_path):
    for name in ("anna", "bert"):
        for shot in range(3):
            draw(tmp_path / "cows" / name / f"{shot}.PNG", len(name) + shot)
    dataset = load_dataset(tmp_path / "cows")
    assert [record.identity for record in dataset.train] == [0, 0, 0, 1, 1, 1]
    assert {record.camera for record in dataset.train} == {None}
    assert dataset.protocol == "no-camera"
    divided = split_for_evaluation(dataset)
    assert len(divided.query) == 2
    assert len(divided.gallery) == 4
    assert not {record.path for record in divided.query} & {record.path for record in divided.gallery}


def test_a_folder_per_identity_with_splits_and_cameras(tmp_path):
    for split in ("train", "query", "gallery"):
        for name in ("7", "12"):
            draw(tmp_path / split / name / f"x_c{3 if split == 'query' else 5}_0.jpg", int(name))
    dataset = load_dataset(tmp_path)
    assert [record.identity for record in dataset.query] == [1, 0]  # folders in text order, numbers in their own
    assert {record.camera for record in dataset.query} == {0}
    assert {record.camera for record in dataset.gallery} == {1}
    assert dataset.protocol == "market1501"


def test_query_and_gallery_with_a_folder_per_identity_need_no_training_folder(tmp_path):
    for split in ("query", "gallery"):
        for name in ("ann", "ben"):
            draw(tmp_path / split / name / f"x_c{1 if split == 'query' else 2}.jpg", 1)
    dataset = load_dataset(tmp_path)
    assert dataset.train == ()
    assert [record.identity for record in dataset.query] == [0, 1]
    assert [record.identity for record in dataset.gallery] == [0, 1]
    with pytest.raises(InputError, match="no training images"):
        check_training_sets(None, dataset)


@pytest.mark.parametrize("seed", range(5))
def test_each_identity_keeps_an_image_in_the_gallery(seed):
    shots = {0: (0, 1), 1: (0, 0, 1), 2: (0, 1, 2), 3: (4,), 4: (2, 2)}
    train = tuple(
        Record(Path(f"{identity}_{at}.jpg"), identity, camera)
        for identity, cameras in shots.items()
        for at, camera in enumerate(cameras)
    )
    divided = split_for_evaluation(ReIDDataset("cows", train), seed=seed)
    assert {record.identity for record in divided.gallery} == set(shots)
    assert len(divided.query) + len(divided.gallery) == len(train)
    for identity in (0, 1, 2):
        assert any(
            query.identity == found.identity == identity and query.camera != found.camera
            for query in divided.query
            for found in divided.gallery
        )
    # A checkpoint of other data has not seen them.
    assert divided.notes == ("queries and gallery were drawn from the training split",)


@pytest.mark.parametrize(
    ("files", "labelled", "expected"),
    [
        (["1.jpg", "b/day1/2.jpg"], False, [None, None]),
        (["a/1.jpg", "b/day1/2.jpg"], False, [None, None]),
        (["a/x/1.jpg", "b/y/2.jpg"], False, [None, None]),
        (["a/1.jpg", "b/2.jpg"], False, [0, 1]),
        (["1.jpg", "2.jpg"], True, [None, None]),
        (["train/a/1.jpg", "train/b/x/2.jpg"], False, [None, None]),
        (["train/a/1.jpg", "train/b/2.jpg"], False, [0, 1]),
    ],
)
def test_without_labels_all_images_below_a_folder_are_meant(tmp_path, files, labelled, expected):
    for number, name in enumerate(files):
        draw(tmp_path / name, number)
    dataset = load_dataset(tmp_path, labelled=labelled)
    assert [str(record.path.relative_to(tmp_path)) for record in dataset.train] == files
    assert [record.identity for record in dataset.train] == expected


@pytest.mark.parametrize(
    ("files", "labelled", "choices"),
    [
        (["a/1.jpg", "b/day1/2.jpg"], True, {"dataset": 1, "all": 2}),
        (["1.jpg", "a/1.jpg", "b/2.jpg"], True, {"dataset": 2, "all": 3}),
        (["train/a/1.jpg", "test/a/2.jpg"], False, {"dataset": 1, "all": 2}),
        (["bounding_box_train/0001_c1s1_0.jpg", "2026-05-01/1.jpg"], False, {"dataset": 1, "all": 2}),
    ],
)
def test_where_much_would_stay_unused_one_has_to_choose(tmp_path, files, labelled, choices):
    for number, name in enumerate(files):
        draw(tmp_path / name, number)
    with input_error("ambiguous-folder", f"{len(files)} images", "--layout dataset") as caught:
        load_dataset(tmp_path, labelled=labelled)
    assert "1.jpg" in str(caught.value) or "2.jpg" in str(caught.value)
    for layout, count in choices.items():
        dataset = load_dataset(tmp_path, labelled=labelled, options=SourceOptions(layout=layout))
        assert len(dataset.train) == count
        assert any(note.startswith(f"not used: {len(files) - count} image(s)") for note in dataset.notes) == (
            layout == "dataset"
        )


def test_a_few_unused_images_stand_in_the_notes(tmp_path):
    for number in range(12):
        draw(tmp_path / f"id{number % 3}" / f"{number}.jpg", number)
    draw(tmp_path / "overview.jpg", 1)
    dataset = load_dataset(tmp_path, labelled=True)
    assert len(dataset.train) == 12
    assert f"not used: 1 image(s) below {tmp_path} that are at other depths; the first is overview.jpg" in dataset.notes
    # The folders of the original data set that no evaluation uses are no other reading.
    folder = write_fake("market1501", tmp_path / "m")
    for number in range(200):
        draw(folder / "gt_bbox" / f"0001_c1s1_{number:06d}_00.jpg", 1)
    assert load_dataset(folder).query


def test_a_flat_folder_is_unlabelled(tmp_path):
    for number in range(4):
        draw(tmp_path / f"{number}.jpg", number)
    dataset = load_dataset(tmp_path)
    assert [record.identity for record in dataset.train] == [None] * 4
    with input_error("no-identities"):
        split_for_evaluation(dataset)


def test_images_at_other_depths_are_unlabelled_crops(tmp_path):
    """What ``spcl cluster`` groups, ``spcl train`` learns from: the same images, and no identities."""
    draw(tmp_path / "deep" / "day0" / "cam1" / "1.jpg", 1)
    draw(tmp_path / "deep" / "day1" / "cam1" / "1.jpg", 1)
    draw(tmp_path / "deep" / ".hidden" / "1.jpg", 1)
    draw(tmp_path / "mixed" / "1.jpg", 1)
    draw(tmp_path / "mixed" / "ann" / "2.jpg", 1)
    for name in ("deep", "mixed"):
        dataset = load_dataset(tmp_path / name)
        assert [record.path for record in dataset.train] == [
            record.path for record in images_of(tmp_path / name).records
        ]
        assert [record.identity for record in dataset.train] == [None] * 2
        assert dataset.notes[0] == "all 2 images below the folder are taken, without identities"


def test_an_image_is_no_data_set(tmp_path):
    with input_error("not-a-data-set", "1.jpg", tmp_path):
        load_dataset(draw(tmp_path / "1.jpg", 1))


def test_an_empty_folder_is_named(tmp_path):
    with input_error("no-images", "is empty"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_manifest(tmp_path, suffix):
    rows = []
    for number in range(6):
        draw(tmp_path / "crops" / f"{number}.png", number)
        rows.append(
            {
                "path": f"crops/{number}.png",
                "identity": ["b", "a", None][number % 3],
                "camera": 10 * number,
                "split": ["train", "query", "gallery"][number // 2],
            }
        )
    table = pd.DataFrame(rows)
    path = tmp_path / f"all.{suffix}"
    table.to_csv(path, index=False) if suffix == "csv" else table.to_parquet(path)
    dataset = load_dataset(path)
    assert dataset.train == (
        Record(tmp_path / "crops/0.png", 1, 0),
        Record(tmp_path / "crops/1.png", 0, 1),
    )
    assert [record.identity for record in dataset.query] == [None, 1]
    assert [record.camera for record in dataset.gallery] == [4, 5]


def test_a_manifest_for_each_split(tmp_path):
    for split, identities in (("train", (9, 9)), ("query", (3,)), ("gallery", (3, 4))):
        lines = ["path,identity,camera"]
        for number, identity in enumerate(identities):
            draw(tmp_path / split / f"{number}.png", identity)
            lines.append(f"{split}/{number}.png,{identity},{number}")
        (tmp_path / f"set_{split}.csv").write_text("\n".join(lines))
    by_prefix = load_dataset(tmp_path / "set")
    parts = ",".join(f"{split}={tmp_path}/set_{split}.csv" for split in ("train", "query", "gallery"))
    by_parts = load_dataset(parts)
    for dataset in (by_prefix, by_parts):
        assert [record.identity for record in dataset.train] == [0, 0]
        assert [record.identity for record in dataset.query] == [0]
        assert [record.identity for record in dataset.gallery] == [0, 1]
        assert dataset.protocol == "market1501"


@pytest.mark.parametrize(
    ("text", "code", "value"),
    [
        ("image,identity\na.png,1\n", "no-such-column", "image, identity"),
        ("path,split\na.png,test\n", "no-such-split", "'test'"),
        ("path\nb.png\n", "missing-images", "b.png"),
        ("path,identity\n", "empty-table", "bad.csv"),
        ("path,identity\n,3\n", "malformed-table", "line 2"),
        ("path,identity,Identity \na.png,1,2\n", "column-given-twice", "'Identity '"),
        ("path,Path\na.png,a.png\n", "column-given-twice", "'Path'"),
        ("path,identity\na.png,x,1\n", "malformed-table", "3 cells in line 2"),
    ],
)
def test_a_bad_manifest_is_named(tmp_path, text, code, value):
    draw(tmp_path / "a.png", 1)
    (tmp_path / "bad.csv").write_text(text)
    with input_error(code, value):
        load_dataset(tmp_path / "bad.csv")


def test_words_for_not_known_in_a_manifest_are_counted_and_unknown(tmp_path):
    names = ["NA", "0", "Anna", "-1", "unknown", ""]
    lines = ["path,identity,camera,"]
    for number, name in enumerate(names):
        draw(tmp_path / f"{number}.png", number)
        lines.append(f"{number}.png,{name},{name},")
    (tmp_path / "all.csv").write_text("\n".join(lines))
    # A comma at the end of each line, the first one's included or not.
    for text in ("\n".join(lines), "\n".join([lines[0][:-1], *lines[1:]])):
        (tmp_path / "all.csv").write_text(text)
        dataset = load_dataset(tmp_path / "all.csv")
        train = dataset.train
        assert [record.path.name for record in train] == [f"{number}.png" for number in range(6)]
        assert [record.identity for record in train] == [None, 0, 1, None, None, None]
        assert [record.camera for record in train] == [None, 0, 1, None, None, None]
        note = "3 cells hold 'NA' (1), '-1' (1), 'unknown' (1) and count as unknown"
        assert {f"identity: {note}", f"camera: {note}"} <= set(dataset.notes)


def test_tables_for_each_split_are_distinguished_from_paths(tmp_path):
    draw(tmp_path / "a.png", 1)
    (tmp_path / "a.csv").write_text("path\na.png\n")
    table = tmp_path / "a.csv"
    with input_error("split-given-twice", "train"):
        load_dataset(f"train={table},train={table}")
    assert len(load_dataset(f"train = {table}").train) == 1
    for missing in ("runs/lr=0.1/crops", "a=b"):
        with input_error("no-such-source", f"'{missing}'"):
            load_dataset(missing)
        with input_error("no-such-source", missing):
            images_of(missing)


@pytest.mark.parametrize("identity", ["--5", "²", "5-", "-"])
def test_a_list_with_an_identity_that_is_no_number_is_named(tmp_path, identity):
    folder = write_fake("msmt17", tmp_path)
    (folder / "list_query.txt").write_text(f"0003/0003_000_01_x.jpg {identity}\n", encoding="utf-8")
    with input_error("malformed-table", "list_query.txt, line 1"):
        load_dataset("msmt17", tmp_path)


@pytest.mark.parametrize("form", ["{0}/all.csv", "train={0}/all_train.csv"])
def test_a_manifest_may_list_images_that_have_gone_where_they_are_left_out(tmp_path, form):
    draw(tmp_path / "a.png", 1)
    for name in ("all.csv", "all_train.csv"):
        (tmp_path / name).write_text("path,camera\na.png,1\nb.png,2\n")
    if form.endswith("all.csv"):
        (tmp_path / "all_train.csv").unlink()
    with input_error("missing-images", "1 of 2", "b.png"):
        load_dataset(form.format(tmp_path))
    expected = (Record(tmp_path / "a.png", camera=0), Record(tmp_path / "b.png", camera=1))
    assert load_dataset(form.format(tmp_path), keep_missing=True).train == expected
    assert images_of(form.format(tmp_path)).records == expected
    assert check_images(expected, sample=None) == [(tmp_path / "b.png", "there is no such file")]
    # A table that lies elsewhere is told before anything is done.
    (tmp_path / "a.png").unlink()
    with input_error("missing-images", "2 of 2"):
        images_of(form.format(tmp_path))


def test_options_that_a_registered_data_set_does_not_take_are_reported(tmp_path):
    folder = write_fake("market1501", tmp_path) / "bounding_box_train"
    first = min(folder.glob("*.jpg"))
    (folder / first.name.replace(".jpg", "9.jpg")).write_bytes(first.read_bytes())
    whole = load_dataset("market1501", tmp_path)
    options = SourceOptions(data_dir=str(tmp_path), duplicates="first", columns="path=file")
    found = load_dataset("market1501", options=options)
    assert len(found.train) == len(whole.train) - 1
    assert any("--columns path=file is not used" in note for note in found.notes)
    with input_error("option-does-not-apply", "--identity-from folder", "market1501"):
        load_dataset("market1501", tmp_path, labelled=True, options=SourceOptions(identity_from="folder"))


def test_identities_of_a_table_are_not_those_of_a_layout(tmp_path):
    folder = write_fake("market1501", tmp_path)
    with input_error("no-identities", "table"):
        load_dataset(folder, labelled=True, options=SourceOptions(identity_from="table"))


def test_lists_of_names_in_other_encodings_and_long_names(tmp_path):
    folder = write_fake("msmt17", tmp_path)
    text = (folder / "list_train.txt").read_text()
    (folder / "list_train.txt").write_bytes(text.encode("utf-16"))
    assert len(load_dataset("msmt17", tmp_path).train) == 3 * 3 * 2
    for line, code in (
        (f"{'a' * 300}/0_0_01_.jpg 3", "missing-images"),
        ("a/0_0_01_.jpg " + "9" * 5000, "malformed-table"),
        (f"a/0_0_{'9' * 5000}_.jpg 3", "file-name-not-understood"),
        ("\x00 3", "unknown-encoding"),
    ):
        (folder / "list_train.txt").write_text(text + line)
        with input_error(code):
            load_dataset("msmt17", tmp_path)
