"""Answers as tables: what stands in them, how spreadsheets get them, and that our own readers take them."""

from __future__ import annotations

import csv
from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from spcl.data.image_sources import images_of
from spcl.errors import InputError
from spcl.gallery.answer_tables import identification_table, search_table, write_answers
from spcl.gallery.gallery import Gallery
from spcl.gallery.result import Hit, SearchResult
from spcl.verification.identification import Identification
from tests.gallery.features import names, unit_rows

HITS = (
    Hit("/far/a.jpg", 0.91234567, "=HYPERLINK(1)", "-3", datetime(2026, 1, 2, 3), {"lane": 4, "note": '+1, "x"'}),
    Hit("/far/b.jpg", -0.5, "unknown", "@gate", None, {"lane": None, "note": None}),
)
ANSWERS = [
    Identification("unknown", 0.9, 0.75, "unknown", "-ben", 0.2),
    Identification(None, 0.1, None, "=ann", None, None),
]


def test_a_search(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("q.jpg", "none.jpg"):
        (tmp_path / name).touch()
    table = search_table(SearchResult((HITS, ()), "exact", 1.0), ["q.jpg", "none.jpg"])
    assert table.column_names == [
        "path", "rank", "found_path", "similarity", "found_identity", "found_camera", "found_time", "found_lane",
        "found_note",
    ]  # fmt: skip
    write_answers(tmp_path / "out" / "s.csv", table)
    rows = list(csv.reader((tmp_path / "out" / "s.csv").open(encoding="utf-8", newline="")))
    query = str(tmp_path / "q.jpg")
    assert rows[1] == [
        query, "1", "/far/a.jpg", "0.912346", "=HYPERLINK(1)", "-3", "2026-01-02 03:00:00", "4", '+1, "x"'
    ]  # fmt: skip
    assert rows[2] == [query, "2", "/far/b.jpg", "-0.5", "unknown", "@gate", "", "", ""]
    assert rows[3] == [str(tmp_path / "none.jpg")] + [""] * 8
    write_answers(tmp_path / "s.parquet", table)
    frame = pd.read_parquet(tmp_path / "s.parquet")
    assert frame["similarity"].tolist()[:2] == [0.91234567, -0.5]
    assert frame["rank"].isna().tolist() == [False, False, True]
    distances = search_table(SearchResult(((Hit("a", 0.5, distance=0.25),),), "exact", 1.0), ["q.jpg"])
    assert distances.column("distance").to_pylist() == [0.25]
    assert len(search_table(SearchResult((), "exact", 1.0), [])) == 0
    # Read as a table of images: the queries, and nothing that was found is said of them.
    for name in ("out/s.csv", "s.parquet"):
        found = images_of(tmp_path / name)
        assert [record.path.name for record in found.records] == ["q.jpg", "none.jpg"]
        assert "identity" not in found.columns


def test_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("1.jpg", "2.jpg"):
        (tmp_path / name).touch()
    table = identification_table(ANSWERS, ["1.jpg", "2.jpg"], [HITS[1], None])
    # An individual called unknown is not the answer unknown.
    assert table.column("identity").to_pylist() == ["unknown", None]
    assert table.column("is_unknown").to_pylist() == [False, True]
    write_answers(tmp_path / "n.csv", table)
    rows = list(csv.DictReader((tmp_path / "n.csv").open(encoding="utf-8")))
    assert rows[1] == {
        "path": str(tmp_path / "2.jpg"), "identity": "", "is_unknown": "true", "probability": "", "similarity": "0.1",
        "nearest_identity": "=ann", "runner_up": "", "runner_up_similarity": "", "nearest_path": "",
        "nearest_similarity": "", "nearest_camera": "", "nearest_time": "",
    }  # fmt: skip
    assert (rows[0]["nearest_path"], rows[0]["nearest_camera"]) == ("/far/b.jpg", "@gate")
    of_ann = [Identification("ann", 0.9, 0.75, "ann", None, None), ANSWERS[1]]
    for name in ("again.csv", "again.parquet"):
        write_answers(tmp_path / name, identification_table(of_ann, ["1.jpg", "2.jpg"], [None, None]))
        assert images_of(tmp_path / name).columns["identity"] == ["ann", None]


def test_a_spreadsheet(tmp_path):
    table = identification_table([*ANSWERS, Identification("Zoë", 0.9, None, "Zoë", None, None)], "abc", [HITS[0]] * 3)
    write_answers(tmp_path / "n.csv", table, excel=True)
    data = (tmp_path / "n.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbfpath,identity,is_unknown")
    assert b"\r\n" in data
    rows = list(csv.DictReader(data.decode("utf-8-sig").splitlines()))
    assert [row["identity"] for row in rows] == ["unknown", "", "Zoë"]
    assert (rows[1]["nearest_identity"], rows[0]["runner_up"]) == ("'=ann", "'-ben")
    # A camera that is a negative number is text, and its apostrophe is not seen in a spreadsheet.
    assert rows[0]["nearest_camera"] == "'-3"
    assert rows[0]["similarity"] == "0.9"


def test_a_place_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        write_answers(tmp_path / "file" / "n.csv", search_table(SearchResult((), "exact", 1.0), []))
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_the_image_of_an_identity_that_is_nearest(tmp_path):
    gallery = Gallery.create(tmp_path / "g", fingerprint="x", dim=8)
    features = unit_rows(60)
    gallery.add_features(
        features, names(60), identities=[f"{n % 5}" for n in range(60)], cameras=[n % 2 for n in range(60)]
    )
    queries, asked = features[:20], ["3", "0", "none", "4"] * 5
    found = gallery.nearest_of(queries, asked, where="camera = 1", without=names(20))
    for row, hit in enumerate(found):
        passing = [n for n in range(60) if n % 2 and f"{n % 5}" == asked[row] and n != row]
        if not passing:
            assert hit is None
            continue
        best = passing[int(np.argmax(features[passing] @ queries[row]))]
        assert (hit.path, hit.identity) == (names(60)[best], asked[row])
        assert hit.similarity == pytest.approx(float(features[best] @ queries[row]), abs=1e-6)
    # The query's own image counts where it is not left out.
    assert gallery.nearest_of(queries[:1], ["0"])[0].path == names(1)[0]
    assert gallery.nearest_of(queries[:0], []) == []
