"""Tables of pairs: names of images, tracks and groups; rows that are not used; errors with their line."""

from __future__ import annotations

import pytest

from spcl.pairs.pair_sources import PairOptions, pair_sources
from spcl.pairs.pair_table import read_pairs
from spcl.records import Record
from tests.input_errors import input_error


@pytest.fixture
def images(tmp_path):
    """Six images: two tracks of two, and two without."""
    tracks = ("2/7", "2/7", "3/8", "3/8", None, None)
    for number in range(6):
        (tmp_path / f"{number}.jpg").touch()
    return [Record(tmp_path / f"{number}.jpg", None, 0, track) for number, track in enumerate(tracks)]


def table(images, text, name="pairs.csv"):
    file = images[0].path.parent / name
    file.write_text(text, encoding="utf-8")
    return file


def test_rows_name_images_by_paths(images):
    text = "path_a,path_b,relation\n0.jpg,4.jpg,same\n./5.jpg,1.jpg,Different\n2.jpg,3.jpg,\n0.jpg,gone.jpg,same\n"
    found = read_pairs(table(images, text)).known(images)
    assert found.must_link.tolist() == [[0, 4]] and found.cannot_link.tolist() == [[5, 1]]
    assert found.must_origins[0].words == "line 2 of pairs.csv"
    assert "2 of 4 rows are used" in found.notes[0]
    assert "1 row(s) have no relation" in found.notes[1]
    assert "line 5" in found.notes[2] and "gone.jpg" in found.notes[2]


def test_rows_name_tracks_and_groups(images):
    table(images, "path,group,confidence\n0.jpg,0,1\n4.jpg,0,1\n5.jpg,1,1\n3.jpg,-1,0\n", "groups.csv")
    text = "track_a;track_b;group_a;group_b;relation\n2/7;8;;;same\n;;0;1;different\n;;-1;0;same\n"
    found = read_pairs(table(images, text)).known(images)
    assert found.must_link.tolist() == [[0, 1], [2, 3], [0, 2], [0, 4]]
    assert found.cannot_link.tolist() == [[0, 5]]
    assert "group -1" in found.notes[1]


def test_groups_need_their_table(images):
    with input_error("no-such-file", "groups.csv"):
        read_pairs(table(images, "group_a,group_b,relation\n0,1,same\n")).known(images)


@pytest.mark.parametrize(
    ("text", "code", "values"),
    [
        ("path_a,path_b\n0.jpg,1.jpg\n", "no-such-column", ("path_a",)),
        ("a,b,relation\n0.jpg,1.jpg,same\n", "no-such-column", ("relation",)),
        ("path_a,path_b,relation\n0.jpg,1.jpg,maybe\n", "no-such-relation", ("maybe", "line 2")),
        ("path_a,path_b,relation\n0.jpg,,same\n", "malformed-table", ("line 2",)),
    ],
)
def test_errors_name_the_line(images, text, code, values):
    with input_error(code, *values):
        read_pairs(table(images, text))


def test_a_table_beside_the_images_is_found_and_a_named_one_replaces_it(images):
    folder = images[0].path.parent
    table(images, "path_a,path_b,relation\n0.jpg,4.jpg,same\n")
    other = table(images, "path_a,path_b,relation\n4.jpg,5.jpg,same\n", "mine.csv")
    known, _ = pair_sources(folder, PairOptions()).known(images)
    assert known.must_link.tolist() == [[0, 4], [0, 1], [2, 3]]
    beside, _ = pair_sources(other, PairOptions(tracks=False)).known(images)
    assert beside.must_link.tolist() == [[0, 4]] and "--no-tracks" in beside.notes[1]
    named, _ = pair_sources(folder, PairOptions(str(other), tracks=False)).known(images)
    assert named.must_link.tolist() == [[4, 5]]
    assert named.notes[-1] == "known pairs: 1 must-links (1 by hand), 0 cannot-links; 0 contradiction(s)"


def test_a_named_table_that_is_about_other_images_is_an_error(images):
    file = table(images, "path_a,path_b,relation\nx.jpg,y.jpg,same\n", "mine.csv")
    with input_error("no-pairs-used", "mine.csv", "x.jpg"):
        pair_sources(file.parent, PairOptions(str(file))).known(images)
    with input_error("no-such-file", "none.csv"):
        pair_sources(file.parent, PairOptions("none.csv"))


def test_a_file_of_that_name_of_another_program_is_left_alone(images):
    file = table(images, "x,y\n1,2\n")
    known, _ = pair_sources(file.parent, PairOptions()).known(images)
    assert "is not used" in known.notes[0] and len(known.must_link) == 2


def test_further_sources_join(images):
    from spcl.pairs.known_pairs import KnownPairs, PairOrigin

    answers = KnownPairs.of([(4, 5, PairOrigin("by hand", "answer of Anna"))], [])
    known, _ = pair_sources(images[0].path.parent, PairOptions(), others=[lambda records: answers]).known(images)
    assert known.must_link.tolist() == [[0, 1], [2, 3], [4, 5]]
