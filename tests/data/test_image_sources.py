"""One door for every command: what is given is what is used, and what is not used is counted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from spcl.data.catalogue import load_dataset
from spcl.data.folder_dataset import split_for_evaluation
from spcl.data.image_decoding import open_image
from spcl.data.image_endings import IMAGE_SUFFIXES
from spcl.data.image_files import what_is_there
from spcl.data.image_sources import images_of
from spcl.data.source_options import SourceOptions
from spcl.errors import InputError
from spcl.training_run.checks import check_training_sets
from tests.fakes import draw, write_fake
from tests.input_errors import input_error


def names(table, folder: Path) -> list[str]:
    return [str(record.path.relative_to(folder)) for record in table.records]


def test_images_of_every_ending_are_read_and_the_rest_is_counted(tmp_path):
    import pillow_heif

    pillow_heif.register_heif_opener()
    picture = Image.new("RGB", (16, 32), (200, 20, 20))
    picture.save(tmp_path / "a.jpg")
    for name in ("a.jfif", "a.jpe", "A.JPG", "no_ending", "1620000000.123"):
        (tmp_path / name).write_bytes((tmp_path / "a.jpg").read_bytes())
    # Pillow reads AVIF from 11.3 on.
    avif = ("a.avif",) if ".avif" in Image.registered_extensions() else ()
    for name in ("a.png", "a.gif", "a.heic", "a.jp2", "a.bmp", "a.webp", "a.tiff", "a.ppm", *avif):
        picture.save(tmp_path / name)
    (tmp_path / "photo.JPEG").write_bytes((tmp_path / "a.heic").read_bytes())  # as telephones send them
    for name in ("1.CR2", "2.cr2", "3.nef", "4.jxl"):
        (tmp_path / name).write_bytes(b"II*\0raw")
    (tmp_path / "raw_without").write_bytes(bytes(range(256)))
    for name in ("readme.txt", "README", "labels.json", "Thumbs.db", ".DS_Store", "t.csv", "film.mp4"):
        (tmp_path / name).write_text("no image")
    found = images_of(tmp_path)
    assert len(found) == 15 + len(avif)
    for record in found.records:
        red, green, _ = open_image(record.path).getpixel((4, 4))
        assert red > 180 and green < 40, record.path
    (note,) = found.notes
    assert note.startswith("not read: 2 .cr2, 1 .jxl, 1 .nef, 1 without ending; the first is ")
    assert sorted(path.name for path, _ in found.left_out) == ["1.CR2", "2.cr2", "3.nef", "4.jxl", "raw_without"]
    # Training and evaluation read by the same rule and say the same.
    dataset = load_dataset(tmp_path)
    assert [record.path for record in dataset.train] == [record.path for record in found.records]
    assert note in dataset.notes
    assert load_dataset(f"{tmp_path}/./").train == dataset.train


def test_heic_without_its_extra_names_the_package_to_install(tmp_path, monkeypatch):
    from spcl.data import image_decoding, image_endings

    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(20))
    monkeypatch.setattr(image_decoding, "learn_heif", lambda: False)
    monkeypatch.setattr(image_endings, "learn_heif", lambda: False)
    with input_error("unreadable-image", 'pip install "spcl[heic]"'):
        open_image(tmp_path / "a.heic")


def test_a_folder_without_images_is_described(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "1.nef").write_bytes(b"MM\0*")
    for read in (images_of, load_dataset):
        with input_error("no-images", "1 .nef"):
            read(tmp_path)


def test_links_that_lead_nowhere_and_closed_folders_are_counted(tmp_path, monkeypatch):
    draw(tmp_path / "a.jpg", 1)
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nothing.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "empty").mkdir()
    (tmp_path / "round").symlink_to(tmp_path)
    closed, walk = tmp_path / "closed", os.walk

    def walk_as_another_user(top, onerror):
        for place in walk(top, onerror=onerror):
            if Path(place[0]) == tmp_path:
                onerror(PermissionError(13, "Permission denied", str(closed)))
            yield place

    monkeypatch.setattr("spcl.data.image_files.os.walk", walk_as_another_user)
    found = images_of(tmp_path)
    assert names(found, tmp_path) == ["a.jpg"]
    assert [path.name for path, _ in found.left_out] == ["closed", "gone.jpg", "loop.jpg"]
    assert "Permission denied" in found.notes[0]
    assert "3 link(s) or folder(s)" in found.notes[0]

    def nothing(top, onerror):
        onerror(PermissionError(13, "Permission denied", str(top)))
        return iter(())

    monkeypatch.setattr("spcl.data.image_files.os.walk", nothing)
    with input_error("unreadable-file", "Permission denied"):
        images_of(tmp_path)


def test_odd_names(tmp_path, monkeypatch):
    odd = ["line\nbreak.jpg", "Ko\u0308ln.jpg", "Köln.jpg", "-x.jpg", "a, b.jpg", "100%.jpg", "c3.jpg.png"]
    for name in odd:
        draw(tmp_path / "market1501" / name, 1)
    monkeypatch.chdir(tmp_path / "market1501")
    found = {image.path.name for image in images_of(".").records}
    assert len(found) == len(list(Path().iterdir())) >= 6
    assert load_dataset(".").name == "market1501"
    monkeypatch.chdir(tmp_path)
    # A folder called like a registered data set is that folder, unless the data set is there.
    for source in ("market1501", "market1501/", "./market1501", Path("market1501")):
        assert len(images_of(source)) == len(found)
        assert len(load_dataset(source).train) == len(found)
    write_fake("market1501", tmp_path / "data")
    both = load_dataset("market1501", tmp_path / "data")
    assert both.query
    assert "give ./market1501" in both.notes[-1]


def test_each_image_is_one_row_however_it_is_spelt(tmp_path, monkeypatch):
    first, second = draw(tmp_path / "crops" / "a_c1.jpg", 1), draw(tmp_path / "crops" / "b_c2.jpg", 2)
    (tmp_path / "crops" / "A0_link.jpg").symlink_to("a_c1.jpg")
    (tmp_path / "other").symlink_to("crops")
    monkeypatch.chdir(tmp_path)
    found = images_of("crops")
    assert [record.path for record in found.records] == [first, second]
    assert found.columns == {"camera": ["1", "2"]}
    assert "1 path(s) lead to images that are given already" in found.notes[-1]
    spelt = [
        "crops/a_c1.jpg",
        "./crops/../crops/a_c1.jpg",
        first,
        "other/a_c1.jpg",
        "crops/A0_link.jpg",
        "other",
        second,
    ]
    assert [record.path for record in images_of([*spelt[:-2], second]).records] == [first, second]
    assert [record.path for record in images_of(spelt).records] == [first, tmp_path / "other" / "b_c2.jpg"]
    assert len(load_dataset("crops").train) == 2
    given = images_of([first, "crops/a_c1.jpg", second], columns={"identity": [None, "x", "y"]})
    assert given.columns["identity"] == ["x", "y"]
    with input_error("identity-contradiction", "'x'", "'z'"):
        images_of([first, "crops/a_c1.jpg"], columns={"identity": ["x", "z"]})
    with input_error("length-mismatch"):
        images_of([first, second], columns={"identity": ["x"]})


def test_one_file_in_two_classes_is_an_error_that_names_both(tmp_path):
    draw(tmp_path / "ann" / "1.jpg", 1)
    draw(tmp_path / "ben" / "2.jpg", 2)
    (tmp_path / "ben" / "3.jpg").symlink_to("../ann/1.jpg")
    with input_error("identity-contradiction", "ann/1.jpg (image 1) has 'ann'", "ben/3.jpg (image 3) has 'ben'"):
        load_dataset(tmp_path, labelled=True)


def test_training_without_labels_takes_one_file_in_two_identity_folders_once(tmp_path):
    for number, who in enumerate(("ann", "ben")):
        draw(tmp_path / who / "1.jpg", number)
    (tmp_path / "ben" / "3.jpg").symlink_to("../ann/1.jpg")
    found, grouped = load_dataset(tmp_path), images_of(tmp_path)
    assert [record.path for record in found.train] == [record.path for record in grouped.records]
    assert [record.identity for record in found.train] == [None, 1]
    assert any("1 path(s) lead to images" in note for note in found.notes)
    assert any("1 path(s) lead to images" in note for note in grouped.notes)
    assert any("1 image(s) have two identities" in note for note in found.notes)
    (tmp_path / "ben" / "3.jpg").unlink()
    (tmp_path / "ben" / "4.jpg").write_bytes((tmp_path / "ann" / "1.jpg").read_bytes())
    first_alone = load_dataset(tmp_path, options=SourceOptions(duplicates="first"))
    assert [record.identity for record in first_alone.train] == [None, 1]


def test_one_image_in_query_and_gallery_under_two_names_is_an_error(tmp_path):
    draw(tmp_path / "query" / "ann" / "1.jpg", 1)
    draw(tmp_path / "gallery" / "ben" / "2.jpg", 2)
    (tmp_path / "gallery" / "ben" / "3.jpg").symlink_to("../../query/ann/1.jpg")
    with input_error("identity-contradiction", "'ann'", "'ben'"):
        load_dataset(tmp_path)


def test_an_image_in_two_splits_is_reported(tmp_path):
    for split, shots in (("train", "12"), ("query", "23"), ("gallery", "345")):
        for shot in shots:
            for who in ("ann", "ben"):
                draw(tmp_path / "images" / who / f"{shot}.jpg", 1)
                (tmp_path / "set" / split / who).mkdir(parents=True, exist_ok=True)
                (tmp_path / "set" / split / who / f"{shot}.jpg").symlink_to(tmp_path / "images" / who / f"{shot}.jpg")
    dataset = load_dataset(tmp_path / "set")
    assert any("2 image(s) are both query and gallery" in note for note in dataset.notes)
    assert any("2 image(s) are in the training and the test split" in note for note in dataset.notes)
    assert len(dataset.query) == 4


def test_tables_named_after_a_folder_are_taken_by_every_reader(tmp_path):
    for number in range(4):
        draw(tmp_path / "crops" / f"{number}.jpg", number)
    for split, rows in (("train", (0, 1)), ("query", (2,)), ("gallery", (3,))):
        lines = ["path,identity,lane", *(f"crops/{row}.jpg,cow{row},{row}" for row in rows)]
        (tmp_path / f"crops_{split}.csv").write_text("\n".join(lines))
        (tmp_path / f"alone_{split}.csv").write_text("\n".join(lines))
    for source in (tmp_path / "crops", tmp_path / "alone", str(tmp_path / "alone")):
        found = images_of(source)
        assert found.splits == ("train", "train", "query", "gallery")
        assert found.columns["lane"] == [0, 1, 2, 3]
        assert found.columns["identity"] == ["cow0", "cow1", "cow2", "cow3"]
        assert len(load_dataset(source).train) == 2
    assert any(
        "is read from the tables next to it: crops_train.csv" in note for note in images_of(tmp_path / "crops").notes
    )
    draw(tmp_path / "crops" / "new.jpg", 9)
    with input_error("ambiguous-folder", "crops_train.csv"):
        images_of(tmp_path / "crops")
    assert len(images_of(tmp_path / "crops", SourceOptions(layout="all"))) == 5


def test_cameras_are_used_only_if_all_are_known_and_this_is_reported(tmp_path):
    for number in range(10):
        draw(tmp_path / (f"{number}_c{number % 2 + 1}.jpg" if number < 7 else f"{number}.jpg"), number)
    note = "cameras were read from 7 of 10 file names and are not used in training: 7.jpg"
    assert any(note in text for text in images_of(tmp_path).notes)
    assert any(note in text for text in load_dataset(tmp_path).notes)
    assert {record.camera for record in load_dataset(tmp_path).train} == {None}
    assert images_of(tmp_path).columns["camera"] == ["1", "2"] * 3 + ["1", None, None, None]


@pytest.mark.parametrize("folders", [("cam01", "cam02"), ("camera_2", "camera_1"), ("c3", "C10"), ("Cam 1", "Cam 2")])
def test_folders_of_cameras_are_no_identities(tmp_path, folders):
    for folder in folders:
        for shot in range(2):
            draw(tmp_path / folder / f"person{shot}.jpg", shot)
    for labelled in (False, True):
        dataset = load_dataset(tmp_path, labelled=labelled)
        assert {record.identity for record in dataset.train} == {None}
        assert {record.camera for record in dataset.train} == {0, 1}
        assert any("are read as cameras" in note for note in dataset.notes)
    assert set(images_of(tmp_path).columns["camera"]) in ({"1", "2"}, {"3", "10"})
    asked = load_dataset(tmp_path, labelled=True, options=SourceOptions(identity_from="folder"))
    assert {record.identity for record in asked.train} == {0, 1}
    assert any("named like cameras and are read as identities" in note for note in asked.notes)
    asked_of_table = images_of(tmp_path, SourceOptions(identity_from="folder"))
    assert sorted(set(asked_of_table.columns["identity"])) == sorted(folders)
    assert any("named like cameras" in note for note in asked_of_table.notes)


def test_identities_that_are_asked_for_are_found_or_missed_aloud(tmp_path):
    for number in range(3):
        draw(tmp_path / "crops" / f"000{number}_c1_0.jpg", number)
    by_name = SourceOptions(identity_from="name")
    found = images_of(tmp_path / "crops", by_name)
    assert found.columns["identity"] == [None, "0001", "0002"]
    assert "identities were found for 2 of 3 images" in found.notes
    with input_error("no-identities", "holiday.jpg"):
        images_of(draw(tmp_path / "holiday.jpg", 1), by_name)
    by_folder = images_of(tmp_path / "crops", SourceOptions(identity_from="folder"))
    assert "all 3 images lie in one folder and have one identity, 'crops'" in by_folder.notes
    with input_error("no-identities", "is a folder"):
        images_of(tmp_path / "crops", SourceOptions(identity_from="table"))
    (tmp_path / "t.csv").write_text("path\ncrops/0001_c1_0.jpg\n")
    with input_error("no-identities", "t.csv"):
        images_of(tmp_path / "t.csv", SourceOptions(identity_from="table"))
    # The training folder of Market-1501 alone, as a labelled source.
    named = load_dataset(tmp_path / "crops", labelled=True)
    assert [record.identity for record in named.train] == [None, 0, 1]


def test_folders_and_names_that_contradict_each_other_are_an_error_with_both_readings(tmp_path):
    for source in ("a", "b"):
        for who in (1, 2):
            for shot in range(3):
                draw(tmp_path / "both" / source / f"000{who}_c1s1_00000{shot}_00.jpg", who)
    with input_error("ambiguous-folder", "--identity-from folder", "--identity-from name", "/both/a --source"):
        load_dataset(tmp_path / "both", labelled=True)
    assert {record.identity for record in load_dataset(tmp_path / "both").train} == {None}
    for how, count in (("folder", 2), ("name", 2)):
        found = load_dataset(tmp_path / "both", labelled=True, options=SourceOptions(identity_from=how))
        assert len({record.identity for record in found.train}) == count
    # A number that counts the images of a folder is no identity.
    for who in ("ann", "ben"):
        for shot in range(3):
            draw(tmp_path / "tracks" / who / f"000{shot}_c1.jpg", shot)
    assert {record.identity for record in load_dataset(tmp_path / "tracks", labelled=True).train} == {0, 1}


def test_duplicates_first_leaves_out_copies(tmp_path):
    path = draw(tmp_path / "a.jpg", 1)
    (tmp_path / "b.jpg").write_bytes(path.read_bytes())
    other = bytearray(path.read_bytes())
    other[-1] ^= 1
    (tmp_path / "c.jpg").write_bytes(bytes(other))
    assert len(images_of(tmp_path)) == 3
    found = images_of(tmp_path, SourceOptions(duplicates="first"))
    assert names(found, tmp_path) == ["a.jpg", "c.jpg"]
    assert found.left_out == ((tmp_path / "b.jpg", f"a copy of {path}"),)
    assert found.notes[-1].startswith("1 image(s) are copies of others, byte for byte")


def test_every_ending_is_named_in_lower_case():
    assert all(ending == ending.lower() and ending.startswith(".") for ending in IMAGE_SUFFIXES)


def test_identities_of_a_table_come_from_where_they_are_asked_for(tmp_path):
    rows = []
    for who in ("ann", "ben"):
        for number in (1, 2):
            draw(tmp_path / who / f"000{number}_c1.jpg", number)
            rows.append(f"{who}/000{number}_c1.jpg,x{who}{number}")
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["path,identity", *rows]))
    for asked, expected in (
        ("auto", [0, 1, 2, 3]),
        ("table", [0, 1, 2, 3]),
        ("folder", [0, 0, 1, 1]),
        ("name", [0, 1] * 2),
    ):
        options = SourceOptions(identity_from=asked)
        for source in (table, f"train={table}"):
            dataset = load_dataset(source, labelled=True, options=options)
            assert [record.identity for record in dataset.train] == expected, asked
            found = images_of(source, options, labelled=True)
            assert [record.identity for record in found.records] == expected
            assert len(set(images_of(source, options).columns["identity"])) == len(set(expected))
    (tmp_path / "bare.csv").write_text("path\nann/0001_c1.jpg\n")
    for read in (load_dataset, images_of):
        with input_error("no-identities", "bare.csv"):
            read(tmp_path / "bare.csv", labelled=True, options=SourceOptions(identity_from="table"))
    draw(tmp_path / "plain.jpg", 1)
    (tmp_path / "plain.csv").write_text("path\nplain.jpg\n")
    for read in (load_dataset, images_of):
        with input_error("no-identities", "plain.csv"):
            read(tmp_path / "plain.csv", labelled=True, options=SourceOptions(identity_from="name"))


def test_options_of_tables_without_a_table_are_reported(tmp_path):
    draw(tmp_path / "a.jpg", 1)
    options = SourceOptions(columns="path=file", time_format="%Y")
    note = f"--columns path=file and --time-format %Y are not used: {tmp_path} is not a table"
    assert note in images_of(tmp_path, options).notes
    assert note in load_dataset(tmp_path, options=options).notes


def test_the_error_of_camera_folders_explains_missing_identities(tmp_path):
    for camera in (1, 2):
        for who in (1, 2):
            draw(tmp_path / "source" / f"cam{camera}" / f"person{who}.jpg", who)
    dataset = load_dataset(tmp_path / "source", labelled=True)
    with pytest.raises(InputError, match=r"a source must be labelled.*the folders cam1, cam2 are read as cameras"):
        check_training_sets(dataset, dataset)


def test_folders_of_identities_may_hold_folders(tmp_path):
    for who in ("ann", "ben"):
        for place in ("cam1", "cam2/old"):
            draw(tmp_path / "herd" / who / place / "1.jpg", len(who + place))
    with input_error("ambiguous-folder", "--identity-from folder", "--identity-from top-folder"):
        load_dataset(tmp_path / "herd", labelled=True)
    asked = SourceOptions(identity_from="top-folder")
    assert [record.identity for record in load_dataset(tmp_path / "herd", labelled=True, options=asked).train] == [
        0,
        0,
        1,
        1,
    ]
    assert images_of(tmp_path / "herd", asked).columns["identity"] == ["ann", "ann", "ben", "ben"]
    draw(tmp_path / "herd" / "all.jpg", 1)
    assert "identities were found for 4 of 5 images" in images_of(tmp_path / "herd", asked).notes
    with input_error("no-identities"):
        images_of(tmp_path / "herd" / "ann" / "cam1", asked)


def test_splits_are_known_in_capitals_and_an_empty_name_is_no_folder(tmp_path, monkeypatch):
    for split in ("Train", "Query", "Gallery"):
        draw(tmp_path / split / "ann" / f"{split}.jpg", 1)
    dataset = load_dataset(tmp_path, labelled=True)
    assert [len(part) for part in (dataset.train, dataset.query, dataset.gallery)] == [1, 1, 1]
    monkeypatch.chdir(tmp_path)
    for read in (images_of, load_dataset):
        with input_error("empty-name"):
            read("")


def test_a_table_is_read_once_for_images_and_columns(tmp_path, monkeypatch):
    draw(tmp_path / "a.jpg", 1)
    (tmp_path / "t.csv").write_text("path,identity,lane\na.jpg,ann,3\n")
    calls = []
    from spcl.data import listed_images

    read = listed_images.read_table
    monkeypatch.setattr(listed_images, "read_table", lambda *given: calls.append(given[0]) or read(*given))
    assert images_of(tmp_path / "t.csv", labelled=True).columns["lane"] == [3]
    assert calls == [tmp_path / "t.csv"]


def test_the_error_of_an_evaluation_explains_missing_identities(tmp_path):
    for camera in (1, 2):
        draw(tmp_path / "cams" / f"cam{camera}" / "person1_1.jpg", camera)
    with input_error("no-identities", "cam1, cam2"):
        split_for_evaluation(load_dataset(tmp_path / "cams", labelled=True))
    (tmp_path / "t.csv").write_text("path,identity\ncams/cam1/person1_1.jpg,unknown\n")
    with input_error("no-identities", "'unknown' (1)"):
        split_for_evaluation(load_dataset(tmp_path / "t.csv", labelled=True))


def test_a_missing_path_is_described_by_a_similar_name_and_not_by_the_content_of_its_folder(tmp_path: Path) -> None:
    for name in ("cattle", "private", "other"):
        (tmp_path / name).mkdir()

    similar = what_is_there(tmp_path / "cattel")
    assert similar == f"{tmp_path / 'cattel'} does not exist; did you mean {tmp_path / 'cattle'}?"
    assert what_is_there(tmp_path / "nofile" / "images") == f"{tmp_path / 'nofile'} does not exist"


def test_thumbnails_of_systems_are_counted_and_not_taken(tmp_path):
    for name in ("a/x.jpg", "a/@eaDir/x.jpg/SYNOFILE_THUMB_M.jpg", "__MACOSX/a/x.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        draw(tmp_path / name, 0)
    table = images_of(tmp_path)
    assert names(table, tmp_path) == ["a/x.jpg"]
    assert {path.name for path, _ in table.left_out} == {"@eaDir", "__MACOSX"}
    assert any("@eaDir" in note or "__MACOSX" in note for note in table.notes)


def test_two_tables_for_one_split_are_an_error(tmp_path):
    for ending in ("csv", "tsv"):
        (tmp_path / f"x_train.{ending}").write_text("path\na.jpg\n")
    with input_error("split-given-twice", "x_train.csv", "x_train.tsv"):
        images_of(tmp_path / "x")
