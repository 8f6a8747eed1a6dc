"""Tracks, frames and boxes: from tables and file names into records; what is read only beside a column track."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest

from spcl.data.catalogue import load_dataset
from spcl.data.image_sources import images_of
from spcl.data.source_options import SourceOptions
from spcl.records import Record, tracks_of
from tests.input_errors import input_error

HEAD = "path,camera,track,frame,x,y,w,h,time\n"


@pytest.fixture
def crops(tmp_path):
    for name in ("a", "b", "c", "d"):
        (tmp_path / f"{name}.jpg").touch()
    return tmp_path


def written(crops, text):
    (crops / "t.csv").write_text(text, encoding="utf-8")
    return crops / "t.csv"


def test_a_table_gives_track_frame_time_and_box(crops):
    table = written(
        crops,
        HEAD
        + "a.jpg,2,17,4,1.5,2,10,20,2026-03-01 12:00:00\n"
        + "b.jpg,2,17,5,,2,10,20,2026-03-01 12:00:01\n"
        + "c.jpg,3,17,4,0,0,1,1,\n"
        + "d.jpg,3,-1,9,0,0,1,1,\n",
    )
    for records in (load_dataset(table).train, images_of(table).records):
        assert [record.track for record in records] == ["2/17", "2/17", "3/17", None]
        assert [record.frame for record in records] == [4, 5, 4, None]
        assert [record.box for record in records] == [(1.5, 2, 10, 20), None, (0, 0, 1, 1), None]
        assert records[0].time == datetime(2026, 3, 1, 12) and records[2].time is None
        assert tracks_of(records).tolist() == [0, 0, 1, -1]
    found = images_of(table)
    note = "track known for 3 of 4 images: 2 track(s); frame or time known for 3 of these images"
    assert note in found.notes and note in load_dataset(table).notes
    # The columns are there for search and galleries, too.
    assert found.columns["track"][:3] == ["17", "17", "17"] and found.columns["frame"] == [4, 5, 4, 9]


def test_a_track_without_a_camera_is_one_track_of_the_table_and_tables_are_apart(crops):
    first = written(crops, "path,track\na.jpg,t1\nb.jpg,t1\n")
    assert [record.track for record in load_dataset(first).train] == ["t1", "t1"]
    second = crops / "u.csv"
    second.write_text("path,track\nc.jpg,t1\nd.jpg,t2\n", encoding="utf-8")
    assert [record.track for record in images_of([first, second]).records] == ["1:t1", "1:t1", "2:t1", "t2"]


def test_frame_and_box_are_the_users_own_without_a_track(crops):
    table = written(crops, "path,frame,x,y,w,h\na.jpg,night one,?,far,1,2\n")
    found = images_of(table)
    assert found.columns["frame"] == ["night one"] and found.records == (Record(crops / "a.jpg"),)


@pytest.mark.parametrize(("column", "value"), [("frame", "4.5"), ("frame", "first"), ("x", "left"), ("h", "inf")])
def test_a_value_that_is_no_number_is_an_error_with_its_place(crops, column, value):
    cells = {"frame": "1", "x": "0", "y": "0", "w": "5", "h": "5"} | {column: value}
    table = written(crops, "path,track,frame,x,y,w,h\na.jpg,1," + ",".join(cells.values()) + "\n")
    with input_error("not-a-number", column, value, "line 2"):
        load_dataset(table)


def test_another_name_of_the_column_is_named_and_can_be_given(crops):
    table = written(crops, "path,identity,track_id\na.jpg,x,5\nb.jpg,x,5\n")
    assert any("--columns track=track_id" in note for note in load_dataset(table).notes)
    records = load_dataset(table, options=SourceOptions(columns="track=track_id")).train
    assert [record.track for record in records] == ["5", "5"]


def test_names_of_mars_have_tracks_only_if_all_names_do(tmp_path):
    folder = tmp_path / "0001"
    folder.mkdir()
    for name in ("0001C1T0001F001", "0001C1T0001F002", "0001C2T0001F001"):
        (folder / f"{name}.jpg").touch()
    expected = ["0001C1T0001", "0001C1T0001", "0001C2T0001"]
    assert [record.track for record in images_of(tmp_path).records] == expected
    assert [record.track for record in load_dataset(tmp_path).train] == expected
    (folder / "extra.jpg").touch()
    assert {record.track for record in images_of(tmp_path).records} == {None}


def test_numbers_of_tracks_follow_the_first_images():
    records = [Record("x", track=track) for track in ("b", None, "a", "b")]  # type: ignore[arg-type]
    np.testing.assert_array_equal(tracks_of(records), [0, -1, 1, 0])
