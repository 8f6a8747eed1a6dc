"""Filters of a gallery in Qdrant pass the images that they pass in a folder, or are refused with what is possible."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import pytest

from spcl.gallery.gallery import Gallery
from spcl.gallery.qdrant import asked_filters
from tests.gallery.features import unit_rows
from tests.gallery.qdrant_places import local_folder
from tests.gallery.qdrant_server import stand_in
from tests.input_errors import input_error
from tests.shared import slow_but

NUM = 60
START = datetime(2026, 1, 1, 6)
CAMERAS = ["3", "10", "north gate", "it's", "0042", "7.5", "NORTH gate", "1e2"]


def _columns():
    rng = random.Random(5)

    def some(values):
        return [None if rng.random() < 0.2 else value for value in values]

    return {
        "camera": some(rng.choices(CAMERAS, k=NUM)),
        "identity": some([f"cow {n // 6}" if n % 2 else str(n // 4) for n in range(NUM)]),
        "time": some([START + timedelta(minutes=30 * (n % 20), microseconds=n % 3) for n in range(NUM)]),
        "speed": some([n / 2 - 3 for n in range(NUM)]),
        "lane": some([n % 9 - 2 if n else 2**60 + 1 for n in range(NUM)]),
        "night": some([n % 3 == 0 for n in range(NUM)]),
        "Note": some(rng.choices(["", "a_b", "a%b", r"a\b", "x\ny", "A_B"], k=NUM)),
    }


NAMES = [f"{('gate', 'gate/north', 'gates')[n % 3]}/{n:02d}{('.jpg', '.png')[n % 2]}" for n in range(NUM)]

LEAVES = [
    "{c} {sign} {camera}",
    "{camera} {sign} camera",
    "camera {in_} ({camera}, {camera})",
    "camera {in_} ({camera}, null)",
    "camera {sign} {number}",
    "camera between {number} and {number}",
    "identity {sign} {identity}",
    "identity {like} {pattern}",
    "note {like} {pattern}",
    "NOTE {sign} {note}",
    "path {like} {path_pattern}",
    "path {sign} {path}",
    "path {in_} ({path}, {path}, 'none')",
    "time {sign} {time}",
    "time {in_} ({time}, {time})",
    "time {between} {time} and {time}",
    "speed {sign} {number}",
    "speed {in_} ({number}, {number})",
    "speed {between} {number} and {number}",
    "lane {sign} {number}",
    "lane {in_} ({number}, {whole}, {whole})",
    "lane {sign} {whole}",
    "lane {sign} speed",
    "camera {sign} identity",
    "night",
    "night {sign} {bool}",
    "{column} is null",
    "{column} is not null",
    "{column} = null",
    "1 {sign} 2",
]


def _leaf(rng):
    stamp = START + timedelta(minutes=30 * rng.randrange(22), microseconds=rng.randrange(3))
    values = {
        "c": rng.choice(["camera", "Camera", "CAMERA"]),
        "sign": rng.choice(["=", "!=", "<>", "==", "<", "<=", ">", ">="]),
        "in_": rng.choice(["in", "not in", "IN"]),
        "between": rng.choice(["between", "not between"]),
        "like": rng.choice(["like", "not like", "ilike", "LIKE"]),
        "camera": rng.choice([f"'{name}'".replace("it's", "it''s") for name in CAMERAS]),
        "number": rng.choice(["3", "-1", "2.5", "10", "0", "1e1", "9007199254740993", "-0.0"]),
        "whole": rng.choice(["3", "-1", "0", "1152921504606846977", "1152921504606846976", "9223372036854775807"]),
        "identity": rng.choice(["'cow 3'", "4", "'4'", "'cow 9'"]),
        "pattern": rng.choice(["'cow%'", "'%3'", "'cow _'", "'4'", "'%'", r"'a\_b'", "'a_b'", "'A%'", "'x%'", "''"]),
        "note": rng.choice(["''", "'a_b'", "'a%b'"]),
        "path": rng.choice([f"'{name}'" for name in NAMES]),
        "path_pattern": rng.choice(["'gate/%'", "'gate/north/%'", "'gat%'", "'%.png'", "'gate/_1%'", "'gate/01.png'"]),
        "time": f"'{stamp.isoformat(sep=' ')}'",
        "bool": rng.choice(["true", "false"]),
        "column": rng.choice(["camera", "identity", "time", "speed", "lane", "night", "note", "path"]),
    }
    return rng.choice(LEAVES).format(**values)


def _filter(rng, depth=0):
    if depth > 2 or rng.random() < 0.4:
        return _leaf(rng)
    if rng.random() < 0.25:
        return f"not ({_filter(rng, depth + 1)})"
    joined = f" {rng.choice(['and', 'or', 'AND'])} ".join(_filter(rng, depth + 1) for _ in range(rng.randint(2, 3)))
    return f"({joined})" if depth else joined


@pytest.fixture(scope="module")
def galleries(tmp_path_factory):
    with local_folder() as folder:
        places = tmp_path_factory.mktemp("filters") / "g", f"qdrant-local:{folder}/crops"
        made = [Gallery.create(place, fingerprint="x", dim=8) for place in places]
        for gallery in made:
            gallery.add_features(unit_rows(NUM), NAMES, columns=_columns())
        yield made


def _passing(gallery, where):
    return sorted(hit.path for hit in gallery.search(unit_rows(1), k=NUM, where=where)[0])


@pytest.mark.parametrize("seed", slow_but(range(6), 0))
def test_random_filters_pass_the_same_images(galleries, seed):
    rng = random.Random(seed)
    in_folder, in_qdrant = galleries
    nothing = 0
    for _ in range(25):
        where = _filter(rng)
        expected = _passing(in_folder, where)
        assert _passing(in_qdrant, where) == expected, where
        assert in_qdrant.count(where) == len(expected), where
        nothing += not expected
    assert nothing < 20


def test_filters_go_over_http(galleries):
    rng = random.Random(77)
    with stand_in() as (host, served):
        gallery = Gallery.create(f"qdrant://{host}/crops", fingerprint="x", dim=8)
        gallery.add_features(unit_rows(NUM), NAMES, columns=_columns())
        for _ in range(15):
            where = _filter(rng)
            assert _passing(gallery, where) == _passing(galleries[0], where), where
        # One request for the facts of the collection, one that counts, one that searches.
        served.requests.clear()
        _passing(gallery, "lane = 3 and camera != '10'")
        assert [path.rpartition("/")[2] for _, path in served.requests] == ["crops", "count", "batch"]


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("camra = 3", "there is no column camra"),
        ("camera = = 3", "cannot be parsed"),
        ("camera = 3 and", "cannot be parsed: Expected a condition at its end"),
        ("(camera = 3", r"Expected \)"),
        ("camera = 3)", "cannot be parsed"),
        ("camera", "camera holds text, no boolean"),
        ("", "the filter is empty"),
        ("lower(camera) = 'x'", "no function lower; possible are comparisons"),
        ("lane + 1 = 3", r"cannot compute with '\+'"),
        ("lane -1 = 3", "cannot compute with '-1'"),
        ("vector = 3", "could not convert"),
        ("night = 3", "cannot be compared"),
        ("camera = lane", "cannot be compared"),
        ("lane like '3%'", "like compares a column of text"),
        ("camera in ()", "cannot be parsed"),
        ("'a' in ('a')", "a column stands before in"),
        ("camera in (identity)", "not the column identity"),
        ("(" * 100 + "night" + ")" * 100, "inside each other"),
        ("not " * 100 + "night", "inside each other"),
    ],
)
def test_refusals_name_the_columns_and_what_is_possible(galleries, where, reason):
    _, gallery = galleries
    with pytest.raises(ValueError, match=reason) as refused:
        gallery.search(unit_rows(1), where=where)
    assert refused.value.code == "invalid-filter"
    assert "camera (text)" in str(refused.value)


def test_a_filter_that_would_name_too_many_images_is_refused(galleries, monkeypatch):
    _, gallery = galleries
    monkeypatch.setattr(asked_filters, "_MOST_READ", 10)
    with input_error("filter-too-wide", "make the filter narrower"):
        gallery.count("path like '%g'")
    # What Qdrant answers by itself comes first, and little is left to be read.
    assert gallery.count("path like '%g' and lane = 3") == galleries[0].count("path like '%g' and lane = 3") > 0
    monkeypatch.setattr(asked_filters, "_MOST_DISTINCT", 2)
    assert gallery.count("camera like '%th%' and lane = 3") == galleries[0].count("camera like '%th%' and lane = 3")
