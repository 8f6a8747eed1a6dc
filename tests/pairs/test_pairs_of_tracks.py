"""Pairs from tracks: chains of one track, simultaneous tracks against a comparison of all pairs, what is not used."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from spcl.pairs.contradictions import linked_nodes
from spcl.pairs.pairs_of_tracks import pairs_of_tracks
from spcl.records import Record

START = datetime(2026, 3, 1)


def image(track, camera=0, frame=None, second=None, box=None):
    time = None if second is None else START + timedelta(seconds=second)
    return Record(Path("x"), None, camera, track, frame, time, box)


def simultaneous(records):
    """The names of simultaneous tracks."""
    pairs = pairs_of_tracks(records).cannot_link.tolist()
    return {frozenset(records[row].track for row in pair) for pair in pairs}


def test_images_of_a_track_are_chained():
    records = [image("a"), image("b"), image("a"), image(None), image("a")]
    found = pairs_of_tracks(records)
    assert found.must_link.tolist() == [[0, 2], [2, 4]]
    assert {origin.words for origin in found.must_origins} == {"track a"}
    assert "tracks: 2 of 2 used, with 4 of 5 images; 2 must-links" in found.notes[0]


def test_without_tracks_nothing_is_known():
    found = pairs_of_tracks([image(None), image(None)])
    assert not len(found) and found.notes == ()


def test_ranges_of_frames_of_one_camera_overlap():
    a = [image("a", 0, 1), image("a", 0, 10)]
    assert simultaneous([*a, image("b", 0, 5)]) == {frozenset("ab")}
    assert simultaneous([*a, image("b", 0, 10)]) == {frozenset("ab")}
    assert simultaneous([*a, image("b", 0, 11)]) == set()
    assert simultaneous([*a, image("b", 1, 5)]) == set()
    # A camera that is not known may be any.
    unknown = [image("a", None, 1), image("a", None, 9), image("b", None, 5)]
    assert simultaneous(unknown) == set()
    assert "column camera" in pairs_of_tracks(unknown).notes[1]


def test_times_decide_between_videos_with_equal_frames():
    a = [image("a", 0, 1, 0), image("a", 0, 10, 10)]
    assert simultaneous([*a, image("b", 0, 5, 5)]) == {frozenset("ab")}
    assert simultaneous([*a, image("b", 0, 5, 3600)]) == set()


def test_times_alone_must_overlap_by_more_than_an_instant():
    a = [image("a", second=0), image("a", second=10)]
    assert simultaneous([*a, image("b", second=9), image("b", second=12)]) == {frozenset("ab")}
    assert simultaneous([*a, image("b", second=10), image("b", second=12)]) == set()
    found = pairs_of_tracks([*a, image("b"), image("b", second=5)])
    assert not len(found.cannot_link) and "1 track(s)" in found.notes[1] and "frame, time" in found.notes[1]


def test_boxes_on_each_other_may_be_one_object_found_twice():
    a = [image("a", 0, 1, box=(0, 0, 10, 10)), image("a", 0, 2, box=(0, 0, 10, 10))]
    near = image("b", 0, 2, box=(1, 1, 10, 10))
    beside = image("b", 0, 2, box=(8, 8, 10, 10))
    assert simultaneous([*a, beside]) == {frozenset("ab")}
    assert simultaneous([*a, near]) == set()
    assert "found one object twice" in pairs_of_tracks([*a, near]).notes[1]


def test_a_track_twice_in_a_frame_shows_that_numbers_begin_again():
    records = [image("a", 0, 1), image("a", 0, 1), image("b", 0, 1), image("c", 1, 1), image("c", 1, 2)]
    found = pairs_of_tracks(records)
    assert found.must_link.tolist() == [[3, 4]] and not len(found.cannot_link)
    assert "2 track(s) of 1 camera(s) are not used" in found.notes[1]


def test_simultaneous_tracks_equal_a_comparison_of_all_pairs():
    rng = np.random.default_rng(0)
    for _ in range(20):
        records = []
        ranges = {}
        for number in range(15):
            camera, start = int(rng.integers(3)), int(rng.integers(40))
            end = start + int(rng.integers(1, 12))
            ranges[str(number)] = (camera, start, end)
            records += [image(str(number), camera, start), image(str(number), camera, end)]
        records = [records[at] for at in rng.permutation(len(records))]
        expected = {
            frozenset((one, other))
            for one, (camera, start, end) in ranges.items()
            for other, (its_camera, its_start, its_end) in ranges.items()
            if one < other and camera == its_camera and max(start, its_start) <= min(end, its_end)
        }
        assert simultaneous(records) == expected
        pairs = pairs_of_tracks(records)
        assert len(pairs.cannot_link) == len(expected)
        assert len(np.unique(linked_nodes(len(records), pairs.must_link))) == 15
