import csv
import json

import numpy as np
import pytest

import spcl
from spcl.cli.main import main
from spcl.data.image_sources import images_of
from spcl.footage.track_boxes import TrackFileOptions
from spcl.footage.track_files import read_tracks
from spcl.inference.encode_options import EncodeOptions, EncoderChoice
from spcl.linking.link_tracks import LinkRequest, link_tracks
from tests.fakes import draw
from tests.input_errors import input_error

ENCODING = EncodeOptions(encoder=EncoderChoice(arch="timm/test_resnet", pretrained="none"), workers=0)
OBJECTS = 6


def write_tracks(folder, *, with_time=True):
    """Each object is seen by two cameras, three images a track; objects 0 and 1 are together in camera a."""
    rows = []
    for camera, order, begin in (("a", [0, 1, 2, 3, 4, 5], 0), ("b", [3, 5, 0, 2, 1, 4], 300)):
        for number, who in enumerate(order):
            first = 10 * number - (7 if (camera, number) == ("a", 1) else 0)
            for shot in range(3):
                path = draw(folder / camera / f"{number}_{shot}.jpg", who, shot + (7 if camera == "b" else 0))
                seconds = begin + first + 3 * shot
                time = f"2026-03-01 08:{seconds // 60:02d}:{seconds % 60:02d}" if with_time else ""
                rows.append(
                    [path.relative_to(folder), camera, number + 1, first + 3 * shot + 1, time, 40 * number, 8, 16, 32]
                )
    with (folder / "crops.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "camera", "track", "frame", "time", "x", "y", "w", "h"], *rows])
    return {("a", str(n + 1)): n for n in range(6)} | {
        ("b", str(n + 1)): who for n, who in enumerate([3, 5, 0, 2, 1, 4])
    }


@pytest.fixture
def crops(tmp_path):
    write_tracks(tmp_path)
    return tmp_path


def identities_of(linked):
    return {(track.camera, track.track): n for track, n in zip(linked.tracks, linked.identities, strict=True)}


def test_tracks_of_one_object_get_one_identity(tmp_path):
    truth = write_tracks(tmp_path)
    linked = spcl.link_tracks(LinkRequest(tmp_path / "crops.csv", tmp_path / "links", threshold=0.8, encoding=ENCODING))
    found = identities_of(linked)
    assert {key: found[key] - 1 for key in truth} == truth
    assert (linked.num_identities, linked.num_across) == (OBJECTS, OBJECTS)
    assert any("pairs of simultaneous tracks" in note for note in linked.notes)
    # The table of images is one of every other command.
    images = images_of(linked.table, labelled=True)
    assert len(images) == 36 and len({record.identity for record in images.records}) == OBJECTS
    assert set(images.columns) >= {"identity", "camera", "track", "frame", "time"}
    with (tmp_path / "links/tracks.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12 and rows[0]["num_images"] == "3" and float(rows[0]["similarity"]) > 0.8
    boxes = read_tracks(tmp_path / "links/mot/b.txt", TrackFileOptions())
    assert len(boxes) == 18 and boxes.tracks[0] == str(found["b", "1"])


def test_auto_chooses_a_threshold(crops):
    linked = link_tracks(LinkRequest(crops / "crops.csv", crops / "links", encoding=ENCODING))
    assert 0 < linked.threshold < 1 and any("chosen from the tracks" in note for note in linked.notes)


def test_simultaneous_tracks_and_pairs_by_hand_are_kept_apart_and_together(crops):
    linked = link_tracks(LinkRequest(crops / "crops.csv", crops / "links", threshold=-0.99, encoding=ENCODING))
    found = identities_of(linked)
    # Everything is joined but what is known: objects 0 and 1 are in one frame of camera a.
    assert found["a", "1"] != found["a", "2"] and linked.num_identities == 2
    (crops / "pairs.csv").write_text(
        "path_a,path_b,relation\na/0_0.jpg,b/0_0.jpg,same\na/2_0.jpg,b/3_0.jpg,different\n"
    )
    linked = link_tracks(LinkRequest(crops / "crops.csv", crops / "two", threshold=0.8, encoding=ENCODING))
    found = identities_of(linked)
    assert found["a", "1"] == found["b", "1"]
    assert found["a", "3"] != found["b", "4"]


def test_travel_times_forbid_and_are_counted(crops):
    (crops / "t.csv").write_text("camera_a,camera_b,min_seconds,max_seconds\na,b,1000,\nb,door,1,2\n")
    linked = link_tracks(
        LinkRequest(crops / "crops.csv", crops / "links", travel=crops / "t.csv", threshold=0.8, encoding=ENCODING)
    )
    assert linked.num_across == 0
    assert any("2 of 4 directions used; 12 of 12 tracks have times" in note for note in linked.notes)
    assert any("cameras without a track: door" in note for note in linked.notes)
    assert any("36 pairs of tracks are too fast" in note for note in linked.notes)
    (crops / "t.csv").write_text("camera_a,camera_b,min_seconds,max_seconds\nx,y,1,\n")
    with input_error("no-such-camera", "a, b"):
        link_tracks(LinkRequest(crops / "crops.csv", crops / "no", travel=crops / "t.csv", encoding=ENCODING))
    write_tracks(crops, with_time=False)
    (crops / "t.csv").write_text("camera_a,camera_b,min_seconds,max_seconds\na,b,1,\n")
    with input_error("no-times", "--start"):
        link_tracks(LinkRequest(crops / "crops.csv", crops / "no", travel=crops / "t.csv", encoding=ENCODING))


def test_all_boxes_of_the_tracker_get_identities(crops):
    lines = [f"{frame},{track},1,2,16.5,32,0.8,-1,-1,-1" for track in range(1, 7) for frame in (1, 2, 3)]
    (crops / "a.txt").write_text("\n".join([*lines, "9,77,1,2,16,32,0.8,-1,-1,-1"]))
    linked = link_tracks(
        LinkRequest(
            crops / "crops.csv", crops / "links", boxes={"a": crops / "a.txt"}, threshold=0.8, encoding=ENCODING
        )
    )
    boxes = read_tracks(crops / "links/mot/a.txt", TrackFileOptions())
    assert len(boxes) == 19 and dict(linked.unlinked) == {"a": 1}
    assert boxes.tracks[-1] == "7" and set(boxes.tracks[:-1]) == set("123456")
    assert boxes.boxes[0].tolist() == [1, 2, 16.5, 32] and boxes.confidences[0] == 0.8
    for named, code in (({"z": crops / "a.txt"}, "no-such-camera"), ({"b": crops / "c.txt"}, "no-tracks")):
        (crops / "c.txt").write_text("1,99,1,2,3,4,1\n")
        with input_error(code):
            link_tracks(LinkRequest(crops / "crops.csv", crops / "no", boxes=named, encoding=ENCODING))


def test_places_and_values_are_checked_before_any_work(crops):
    (crops / "full").mkdir()
    (crops / "full/notes.txt").write_text("mine")
    with input_error("folder-not-empty"):
        link_tracks(LinkRequest(crops / "crops.csv", crops / "full", encoding=ENCODING))
    with input_error("no-tracks", "column track"):
        link_tracks(LinkRequest(crops / "a", crops / "links", encoding=ENCODING))
    with input_error("setting-out-of-range", "2"):
        LinkRequest(crops / "crops.csv", crops / "links", threshold=2.0)
    link_tracks(LinkRequest(crops / "crops.csv", crops / "links", encoding=ENCODING))
    with input_error("already-exists", "--overwrite"):
        link_tracks(LinkRequest(crops / "crops.csv", crops / "links", encoding=ENCODING))


def test_the_command(crops, capsys, monkeypatch):
    monkeypatch.chdir(crops)
    words = ["link", "crops.csv", "-o", "links", "--arch", "timm/test_resnet", "--pretrained", "none", "--workers", "0"]
    (crops / "a/0_1.jpg").write_bytes(b"broken")
    main([*words, "--threshold", "0.8"])
    shown = capsys.readouterr().out
    assert "12 tracks are 6 identities; 6 of them were seen by several cameras" in shown
    main([*words, "--overwrite", "--json"])
    plain = json.loads(capsys.readouterr().out)
    assert plain["num_tracks"] == 12 and len(plain["broken"]) == 1
    with pytest.raises(SystemExit):
        main([*words, "--overwrite", "--boxes", "a"])
    assert "CAMERA=FILE" in capsys.readouterr().err
    assert np.isfinite(plain["threshold"])
