"""Cameras, identities and further columns come back as the user wrote them, not as training numbers them."""

from __future__ import annotations

from datetime import datetime

import pandas as pd
import pytest

from spcl.data.image_sources import images_of
from spcl.data.source_options import SourceOptions
from tests.fakes import draw
from tests.input_errors import input_error


def columns_of(images, **options):
    return images_of(images, SourceOptions(**options)).columns


def test_cameras_of_file_names_even_where_not_all_have_one(tmp_path):
    for name in ("a/0042_c3_1.jpg", "a/0043_c12_1.jpg", "b/plain.jpg"):
        draw(tmp_path / name, 1)
    assert columns_of(tmp_path) == {"camera": ["3", "12", None]}
    assert columns_of(tmp_path / "b") == {}
    assert columns_of([tmp_path / "a/0042_c3_1.jpg"]) == {"camera": ["3"]}


def test_identities_of_folders_and_of_names(tmp_path):
    for name in ("ann/0042_c3_1.jpg", "ben/-1_c2.jpg", "ben/-10_c2.jpg", "ben/0000_c2.jpg", "ben/plain.jpg"):
        draw(tmp_path / name, 1)
    found = columns_of(tmp_path, identity_from="folder")["identity"]
    assert found == ["ann", "ben", "ben", "ben", "ben"]
    # In Market-1501's names -1 and 0000 are many objects each.
    assert columns_of(tmp_path, identity_from="name")["identity"] == ["0042", "-10", None, None, None]


def test_the_folder_of_a_bare_file_name(tmp_path, monkeypatch):
    draw(tmp_path / "ann" / "1.jpg", 1)
    monkeypatch.chdir(tmp_path / "ann")
    assert columns_of("1.jpg", identity_from="folder") == {"identity": ["ann"]}


@pytest.fixture
def table(tmp_path):
    for number in range(4):
        draw(tmp_path / "c" / f"{number}_c9.jpg", number)
    return pd.DataFrame(
        {
            "Path": [f"c/{number}_c9.jpg" for number in (2, 0, 1, 3)],
            "identity": ["007", "cow", None, "7"],
            "camera": ["north gate", "3", "03", None],
            "time": ["2026-01-01 08:00", None, "2026-01-02", None],
            "lane": ["1", "2", None, "-3"],
            "Speed km/h": ["1.5", "2", "3e2", None],
            "ticket": ["007", "8", "9", "10"],
            "split": ["train", "query", "gallery", "train"],
            "nothing": [None] * 4,
        }
    )


def test_every_column_of_a_csv(tmp_path, table):
    table.to_csv(tmp_path / "m.csv", index=False)
    found = images_of(tmp_path / "m.csv")
    columns = found.columns
    # The training images come first.
    assert [record.path.name[0] for record in found.records] == ["2", "3", "0", "1"]
    assert columns == {
        "identity": ["007", "7", "cow", None],
        "camera": ["north gate", None, "3", "03"],
        "time": [datetime(2026, 1, 1, 8), None, None, datetime(2026, 1, 2)],
        "lane": [1, -3, 2, None],
        "speed_km_h": [1.5, None, 2.0, 300.0],
        "ticket": ["007", "10", "8", "9"],
        "split": ["train", "train", "query", "gallery"],
    }


def test_marks_of_an_empty_cell_count_among_numbers_and_times_only(tmp_path):
    for number in range(3):
        draw(tmp_path / f"{number}.jpg", number)
    (tmp_path / "m.csv").write_text(
        "path,identity,lane,speed,time,word\n0.jpg,NA,1,nan,2026-01-01,NA\n1.jpg,null,N/A,1.5,NA,x\n2.jpg,b,3,2,,y\n"
    )
    assert columns_of(tmp_path / "m.csv") == {
        "identity": [None, None, "b"],
        "lane": [1, None, 3],
        "speed": [None, 1.5, 2.0],
        "time": [datetime(2026, 1, 1), None, None],
        "word": ["NA", "x", "y"],
    }


def test_columns_that_come_to_have_one_name_are_named(tmp_path):
    draw(tmp_path / "0.jpg", 1)
    (tmp_path / "m.csv").write_text("path,gate-1,gate 1\n0.jpg,a,b\n")
    with input_error("column-given-twice", "'gate-1'", "'gate 1'", "'gate_1'"):
        columns_of(tmp_path / "m.csv")


def test_a_parquet_table_keeps_its_types(tmp_path, table):
    moments = pd.to_datetime(["2026-01-01 08:00", None, "2026-01-02 00:00", None])
    table.assign(time=moments, lane=[1, 2, 3, 4], camera=[3.0, None, 4.0, 5.0]).to_parquet(tmp_path / "m.parquet")
    columns = columns_of(tmp_path / "m.parquet")
    assert columns["time"] == [pd.Timestamp("2026-01-01 08:00"), None, None, pd.Timestamp("2026-01-02")]
    assert columns["lane"] == [1, 4, 2, 3]
    assert columns["camera"] == ["3", "5", None, "4"]


def test_a_table_for_each_split(tmp_path, table):
    table[:2].drop(columns="split").to_csv(tmp_path / "a.csv", index=False)
    table[2:].drop(columns=["split", "lane"]).to_csv(tmp_path / "b.csv", index=False)
    columns = columns_of(f"train={tmp_path / 'a.csv'},gallery={tmp_path / 'b.csv'}")
    # Text in the one table is text in both.
    assert columns["ticket"] == ["007", "8", "9", "10"]
    assert columns["lane"] == [1, 2, None, None]


def test_folders_called_unknown_are_no_identity(tmp_path):
    for name in ("ann/1.jpg", "ben/1.jpg", "Unknown/1.jpg", "unknown/2.jpg", "-1/3.jpg"):
        draw(tmp_path / name, 1)
    for options in (SourceOptions(identity_from="folder"), SourceOptions()):
        table = images_of(tmp_path, options, labelled=True)
        known = {record.path.parent.name for record in table.records if record.identity is not None}
        assert known == {"ann", "ben"}
        assert any("3 images lie in folders called" in note and "count as unknown" in note for note in table.notes)


def test_columns_get_our_names_and_times_a_form(tmp_path):
    draw(tmp_path / "0.jpg", 1)
    (tmp_path / "m.csv").write_text("datei;wer;wann\n0.jpg;Müller;01.03.2026\n", encoding="latin-1")
    columns = columns_of(tmp_path / "m.csv", columns="path=datei,identity=wer,time=wann", time_format="%d.%m.%Y")
    assert columns == {"identity": ["Müller"], "time": [datetime(2026, 3, 1)]}


def test_numbers_that_would_lose_digits_stay_text(tmp_path):
    draw(tmp_path / "a.jpg", 1)
    draw(tmp_path / "b.jpg", 2)
    rows = "path,post,large,weight\na.jpg,1234567890123456789,1e400,1.5\nb.jpg,1234567890123456788,2,2\n"
    (tmp_path / "t.csv").write_text(rows)
    columns = images_of(tmp_path / "t.csv").columns
    assert columns["post"] == ["1234567890123456789", "1234567890123456788"]
    assert columns["large"] == ["1e400", "2"]
    assert columns["weight"] == [1.5, 2.0]
