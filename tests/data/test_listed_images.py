"""Images of tables: which file a path means, each image once, contradictions, groups, words for not known."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from pathlib import Path

import pytest

from spcl.data.catalogue import load_dataset
from spcl.data.listed_images import listed_images
from spcl.data.source_options import SourceOptions
from spcl.data.table_options import TableOptions
from tests.input_errors import input_error


@pytest.fixture
def crops(tmp_path, monkeypatch):
    """A folder ``data`` with four files, and the current folder next to it; only names of files are read."""
    for name in ("a.jpg", "b.jpg", "sub/c.jpg", "sub/d é.jpg"):
        (tmp_path / "data" / "img" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / "img" / name).touch()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "data" / "img"


def listed(path: Path, text: str, **options):
    path.write_text(text, encoding="utf-8")
    return listed_images({"": path}, TableOptions(**options))


def test_paths_are_relative_to_the_table_or_else_to_the_current_folder(crops, monkeypatch):
    rows = "path\nimg/a.jpg\nimg/../img/sub/c.jpg\n"
    expected = [crops / "a.jpg", crops / "sub" / "c.jpg"]
    found = listed(crops.parent / "t.csv", rows)
    assert found.paths == expected and not found.notes and not found.missing
    moved = listed(crops.parent.parent / "elsewhere" / "t.csv", rows)
    assert moved.missing == [Path.cwd() / "img/a.jpg", Path.cwd() / "img/sub/c.jpg"]
    monkeypatch.chdir(crops.parent)
    found = listed(crops.parent.parent / "elsewhere" / "t.csv", rows + f"{crops / 'b.jpg'}\n")
    assert found.paths == [*expected, crops / "b.jpg"]
    assert "its paths are relative to the current folder" in found.notes[0]
    # One image beside the table decides for the table's folder.
    (crops.parent.parent / "elsewhere" / "img").mkdir()
    (crops.parent.parent / "elsewhere" / "img" / "a.jpg").touch()
    found = listed(Path("../elsewhere/t.csv"), rows)
    assert found.paths[0] == crops.parent.parent / "elsewhere" / "img" / "a.jpg"
    assert found.missing == [crops.parent.parent / "elsewhere" / "img" / "sub" / "c.jpg"]


@pytest.mark.parametrize(
    "written",
    [
        "img\\sub\\c.jpg",
        '" img/sub/c.jpg "',
        "'img/sub/c.jpg'",
        "“img\\sub/c.jpg”",
        ".\\img\\sub\\c.jpg",
        "{0}/sub/c.jpg",
        " {0}/sub/c.jpg",
    ],
)
def test_paths_as_other_programs_write_them(crops, written):
    row = written.format(crops)
    assert listed(crops.parent / "t.csv", f"path;x\n{row};1\n").paths == [crops / "sub" / "c.jpg"]


def test_a_path_as_it_is_written_comes_first(crops):
    for name in ("sub\\c.jpg", "'a.jpg'", " a.jpg "):
        (crops / name).touch()
        assert listed(crops / "t.csv", f'path\n"{name}"\n').paths == [crops / name]
    (crops / "caf\udce9.jpg").touch()
    (crops / "two\nlines.jpg").touch()
    (crops / "list.txt").write_text("caf\\udce9.jpg\ntwo\\nlines.jpg\n")
    assert listed_images({"": crops / "list.txt"}).missing == []
    decomposed = unicodedata.normalize("NFD", "sub/d é.jpg")
    assert decomposed != "sub/d é.jpg"
    assert listed(crops / "t.csv", f"path\n{decomposed}\n").paths == [crops / "sub" / "d é.jpg"]
    with input_error("missing-images", "quote"):
        load_manifest_of(crops / "t.csv", 'path,x\n"a.jpg,1\nb.jpg",2\n')


def test_the_error_of_a_list_with_labels_asks_for_a_table(crops):
    with input_error("missing-images", "path, identity"):
        load_manifest_of(crops / "list.txt", "a.jpg 12\nb.jpg 13\n")


def load_manifest_of(path: Path, text: str):
    path.write_text(text)
    return load_dataset(path)


def test_many_images_of_a_folder(crops):
    for number in range(60):
        (crops / f"{number}.jpg").touch()
    found = listed(crops / "t.csv", "path\n" + "".join(f"{number}.jpg\n" for number in range(70)))
    assert [path.name for path in found.missing] == [f"{number}.jpg" for number in range(60, 70)]


def test_rows_that_repeat_an_image_count_once(crops):
    (crops.parent / "link").symlink_to(crops)
    rows = f"path,identity,camera,time,lane\nimg/a.jpg,cow,,2026-01-01,3\n{crops}/a.jpg,cow,2,2026-01-01T00:00,\n"
    rows += "img/b.jpg,,,,\nlink/./a.jpg,unknown,2,,3\nimg\\b.jpg,bull,1,,\n"
    found = listed(crops.parent / "t.csv", rows)
    assert found.paths == [crops / "a.jpg", crops / "b.jpg"]
    assert found.columns == {
        "identity": ["cow", "bull"],
        "camera": ["2", "1"],
        "time": [datetime(2026, 1, 1), None],
        "lane": ["3", None],
    }
    assert "3 row(s) repeat an image of an earlier row; each image is used once" in found.notes


@pytest.mark.parametrize(
    ("rows", "values"),
    [
        ("a.jpg,cow,1,,\nb.jpg,,,,\n./a.jpg,bull,1,,\n", ("identity", "cow", 2, "bull", 4)),
        ("a.jpg,,1,,\n./a.jpg,,2,,\n", ("camera", "1", 2, "2", 3)),
        ("a.jpg,,,2026-01-01,\na.jpg,,,2026-01-02,\n", ("time", "2026-01-01 00:00:00", 2, "2026-01-02 00:00:00", 3)),
        ("a.jpg,,,,left\n\na.jpg,,,,right\n", ("lane", "left", 2, "right", 4)),
    ],
)
def test_rows_that_contradict_each_other_are_named(crops, rows, values):
    name, first, line, second, other = values
    code = "identity-contradiction" if name == "identity" else "value-contradiction"
    with input_error(code, name, crops / "a.jpg", f"{first!r} in line {line}", f"{second!r} in line {other}"):
        listed(crops / "t.csv", "path,identity,camera,time,lane\n" + rows)


def test_contradictions_are_found_between_splits_and_tables(crops):
    (crops / "a.csv").write_text("path,identity\na.jpg,cow\nb.jpg,cow\n")
    (crops / "b.csv").write_text("path,identity\na.jpg,bull\nsub/c.jpg,bull\n")
    with input_error("identity-contradiction", "'cow' in line 2", "a.csv", "'bull' in line 2", "b.csv"):
        load_dataset(f"query={crops}/a.csv,gallery={crops}/b.csv")
    (crops / "b.csv").write_text("path,identity\na.jpg,cow\nsub/c.jpg,bull\n")
    # An image may be a query and in the gallery.
    dataset = load_dataset(f"query={crops}/a.csv,gallery={crops}/b.csv")
    assert [len(split) for split in (dataset.train, dataset.query, dataset.gallery)] == [0, 2, 2]


def test_whole_numbers_that_pandas_wrote_beside_missing_ones(crops):
    found = listed(crops / "t.csv", "path,identity,camera\na.jpg,3.0,1.0\nb.jpg,,2.5\nsub/c.jpg,-1.0,\n")
    assert found.columns == {"identity": ["3", None, None], "camera": ["1.0", "2.5", None]}


def test_a_group_is_an_identity_where_there_is_none(crops):
    rows = "path,group,confidence\na.jpg,0,0.9\nb.jpg,-1,0\nsub/c.jpg,0,0.8\n"
    found = listed(crops / "t.csv", rows)
    assert found.columns["identity"] == ["0", None, "0"] and "group" not in found.columns
    assert any("'group' is read as identity" in note for note in found.notes)
    assert any("identity: 1 cells hold '-1' (1)" in note for note in found.notes)
    found = listed(crops / "t.csv", rows.replace("confidence", "identity"))
    assert found.columns["identity"] == ["0.9", "0", "0.8"] and found.columns["group"] == ["0", "-1", "0"]
    found = listed(crops / "t.csv", rows, columns="herd=group")
    assert "identity" not in found.columns and found.columns["herd"] == ["0", "-1", "0"]
    assert [record.identity for record in load_manifest_of(crops / "t.csv", rows).train] == [0, None, 0]


def test_an_identity_that_stands_for_the_unknown_is_warned_of(crops):
    names = [f"cow{number % 5}" for number in range(15)] + ["x"] * 20
    for number in range(len(names)):
        (crops / f"{number}.jpg").touch()
    rows = "".join(f"{number}.jpg,{name}\n" for number, name in enumerate(names))
    note = load_manifest_of(crops / "t.csv", "path,identity\n" + rows).notes[0]
    assert note.startswith("the identity 'x' has 20 images")


def test_a_time_is_named_with_its_line_and_read_in_a_given_form(crops):
    rows = "file;taken\na.jpg;01.03.2026\nb.jpg;13.03.2026\n"
    with input_error("not-a-time", "'01.03.2026' in line 2", "t.csv", "--time-format"):
        listed(crops / "t.csv", rows, columns="path=file,time=taken")
    found = listed(crops / "t.csv", rows, columns="path=file,time=taken", time_format="%d.%m.%Y")
    assert found.columns["time"] == [datetime(2026, 3, 1), datetime(2026, 3, 13)]
    # Training does not use times.
    assert len(load_dataset(crops / "t.csv", options=SourceOptions(columns="path=file,time=taken")).train) == 2


def test_results_of_a_search_are_no_facts_of_an_image(crops):
    found = listed(crops / "t.csv", "path,identity,similarity\na.jpg,cow,0.9\n")
    assert list(found.columns) == ["identity"]
    assert "'similarity' is not used" in found.notes[0] and "--columns my_similarity=similarity" in found.notes[0]
    rows = "path,rank,found_path,similarity,found_lane\na.jpg,1,/x.jpg,0.9,3\na.jpg,2,/y.jpg,0.8,4\nb.jpg,,,,\n"
    found = listed(crops / "t.csv", rows)
    assert found.paths == [crops / "a.jpg", crops / "b.jpg"] and not found.columns
    kept = listed(crops / "t.csv", "path,distance\na.jpg,3\n", columns="my_distance=distance")
    assert kept.columns == {"my_distance": ["3"]}


def test_cameras_of_file_names_where_the_table_has_no_column_of_them(crops):
    (crops / "1_c3.jpg").touch()
    found = listed(crops / "t.csv", "path,group\n1_c3.jpg,0\n")
    assert found.columns["camera"] == ["3"]
    assert any("cameras are read from the file names" in note for note in found.notes)
    assert "camera" not in listed(crops / "t.csv", "path,group\n1_c3.jpg,0\na.jpg,0\n").columns


def test_a_number_may_be_written_with_and_without_decimals(crops):
    found = listed(crops / "t.csv", "path,lane\nimg/a.jpg,3\nimg/a.jpg,3.0\n")
    assert found.columns["lane"] == ["3"]
    with input_error("value-contradiction", "'007'", "'7'"):
        listed(crops / "t.csv", "path,lane\nimg/a.jpg,007\nimg/a.jpg,7\n")


def test_whole_numbers_with_and_without_decimals_are_one_identity(crops):
    found = listed(crops / "t.csv", "path,identity\na.jpg,1.0\nb.jpg,1\nsub/c.jpg,-1\n")
    assert found.columns["identity"] == ["1", "1", None]
    found = listed(crops / "t.csv", "path,identity\na.jpg,1.0\nb.jpg,1\nsub/c.jpg,v2.0\n")
    assert found.columns["identity"] == ["1.0", "1", "v2.0"]
    found = listed(crops / "t.csv", "path,identity\na.jpg,007\nb.jpg,7\n")
    assert found.columns["identity"] == ["007", "7"]


def test_a_group_is_an_identity_beside_an_empty_column_of_identities(crops):
    found = listed(crops / "t.csv", "path,group,identity\na.jpg,0,\nb.jpg,1,\n")
    assert found.columns["identity"] == ["0", "1"]
    found = listed(crops / "t.csv", "path,group,identity\na.jpg,0,\nb.jpg,1,lea\n")
    assert found.columns["identity"] == [None, "lea"] and found.columns["group"] == ["0", "1"]


def test_columns_that_look_like_ours_under_another_name_are_named(crops):
    found = listed(crops / "t.csv", "path,pid,camid\na.jpg,1,2\nb.jpg,2,1\n")
    assert any("--columns identity=pid" in note for note in found.notes)
    assert any("--columns camera=camid" in note for note in found.notes)
    found = listed(crops / "t.csv", "path,pid,identity,camera\na.jpg,1,lea,2\nb.jpg,2,tom,3\n")
    assert not found.notes
    found = listed(crops / "t.csv", "path,pid\na.jpg,1\nb.jpg,2\n", columns="identity=pid")
    assert found.columns["identity"] == ["1", "2"] and not found.notes
