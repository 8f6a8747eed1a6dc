import numpy as np
import pytest

from spcl.footage.track_boxes import TrackFileOptions
from spcl.footage.track_files import read_tracks
from tests.input_errors import input_error

PLAIN = TrackFileOptions()


def read(folder, text, name="tracks.txt", options=PLAIN):
    path = folder / name
    path.write_text(text)
    return read_tracks(path, options)


@pytest.mark.parametrize(
    "text",
    [
        "1,7,10,20,30,40,0.5,-1,-1,-1\n3,8,1,2,3,4,-1,-1,-1,-1\n",
        "1, 7, 10, 20, 30, 40, 0.5\n\n3, 8, 1, 2, 3, 4, -1\n",
        "1 7 10.0 20 30 40 0.5 0 -1\n3 8.0 1 2 3 4 -1 -1 -1 -1\n",
        "frame,id,x,y,w,h,conf\n1,7,10,20,30,40,0.5\n3,8,1,2,3,4,\n",
        "height;width;top;left;track;frame;score\n40;30;20;10;7;1;.5\n4;3;2;1;8;3;\n",
        "frame,track,x1,y1,x2,y2,confidence\n1,7,10,20,40,60,0.5\n3,8,1,2,4,6,\n",
    ],
)
def test_one_meaning_in_every_format(tmp_path, text):
    found = read(tmp_path, text)
    assert found.tracks == ("7", "8")
    assert found.frames.tolist() == [1, 3]
    assert found.boxes.tolist() == [[10, 20, 30, 40], [1, 2, 3, 4]]
    np.testing.assert_array_equal(found.confidences, [0.5, np.nan])
    assert found.first_frame("auto") == 1 and found.first_frame("0") == 0


def test_labels_of_ultralytics(tmp_path):
    (tmp_path / "gate_10.txt").write_text("0 0.5 0.5 0.2 0.4 0.9 3\n2 0.1 0.1 0.2 0.2 0.8 4\n")
    (tmp_path / "gate_2.txt").write_text("0 0.25 0.5 0.1 0.5 3\n0 0.25 0.5 0.1 0.5\n0 0.25 0.5 0.1 0.5 0.77\n")
    found = read_tracks(tmp_path, PLAIN)
    assert found.format == "ultralytics" and found.are_shares
    assert list(zip(found.frames.tolist(), found.tracks, strict=True)) == [(2, "3"), (10, "3"), (10, "4")]
    np.testing.assert_allclose(found.in_pixels(200, 100)[1], [80, 30, 40, 40])
    assert found.left_out == {"without a track number": 2}
    (tmp_path / "door_1.txt").write_text("0 0.5 0.5 0.2 0.4 3\n")
    assert len(read_tracks(tmp_path, PLAIN, video="door")) == 1
    with input_error("ambiguous-folder", "door, gate", "yard"):
        read_tracks(tmp_path, PLAIN, video="yard")


def test_names_of_columns_cameras_and_identities(tmp_path):
    text = "image,obj,left,top,width,height,camera,identity\n0,a b,1,2,3,4,north,Ada\n4,c,1,2,3,4,south,unknown\n"
    found = read(tmp_path, text, options=TrackFileOptions("frame=image,track=obj"))
    assert (found.tracks, found.cameras, found.identities) == (("a b", "c"), ("north", "south"), ("Ada", None))
    assert found.first_frame("auto") == 0
    with input_error("option-does-not-apply", "MOTChallenge"):
        read(tmp_path, "1,2,3,4,5,6\n", options=TrackFileOptions("frame=image"))
    with input_error("no-such-column", "speed"):
        read(tmp_path, text, options=TrackFileOptions("speed=obj"))
    with input_error("no-such-column", "nothere"):
        read(tmp_path, text, options=TrackFileOptions("track=nothere"))


def test_detections_are_no_tracks(tmp_path):
    mixed = read(tmp_path, "1,-1,10,20,30,40,0.5\n1,4,10,20,30,40,0.5\n")
    assert mixed.tracks == ("4",) and mixed.left_out == {"without a track number": 1}
    with input_error("no-tracks", "2 without a track number"):
        read(tmp_path, "1,-1,10,20,30,40,0.5\n2,-1,10,20,30,40,0.5\n")


@pytest.mark.parametrize(
    ("text", "code", "value"),
    [
        ("", "empty-table", "frame"),
        ("# remark\n", "empty-table", "frame"),
        ("1,2,3\n", "malformed-table", "line 1"),
        ("1,2,3,4,5,6\n1.5,2,3,4,5,6\n", "malformed-table", "'1.5'"),
        ("1,2,3,4,5,6\n1,2,3,nan,5,6\n", "malformed-table", "line 2"),
        ("1,2,3,4,5,6\n-1,2,3,4,5,6\n", "malformed-table", "'-1'"),
        ("frame,track,left,top,width\n1,2,3,4,5\n", "no-such-column", "width"),
        ("frame,track,left,top,width,height\n1,2,3,4,x,6\n", "malformed-table", "'x'"),
        ("name,box\na,b\n", "no-such-column", "frame"),
        ("frame,track,left,top,width,height\n", "no-tracks", "tracker"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, code, value):
    with input_error(code, value):
        read(tmp_path, text)


def test_missing_files_and_bad_options(tmp_path):
    with input_error("no-such-file", "nowhere.txt"):
        read_tracks(tmp_path / "nowhere.txt", PLAIN)
    with input_error("no-tracks"):
        read_tracks(tmp_path, PLAIN)
    with input_error("setting-out-of-range", "2"):
        TrackFileOptions(first_frame="2")
