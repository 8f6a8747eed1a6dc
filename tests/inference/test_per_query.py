"""The evaluation of each query: the table's lines, the worst ones, the picture."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spcl.data.catalogue import load_dataset
from spcl.data.source_options import SourceOptions
from spcl.inference.evaluation import EvaluationResult
from spcl.inference.per_query import (
    names_in_source,
    query_results,
    worst,
    worst_lines,
    worst_picture,
    write_query_table,
)
from spcl.records import Record, ReIDDataset
from spcl.report.ranked import lines_under
from spcl.retrieval.matches import RankingLabels
from spcl.retrieval.ranking import rank_metrics
from spcl.retrieval.top_gallery import top_gallery
from tests.fakes import draw, write_fake
from tests.input_errors import input_error

QUERY = np.eye(4, dtype=np.float32)[:3]
GALLERY = np.array([[1, 0, 0, 0], [0.8, 0.6, 0, 0], [0, 1, 0, 0], [0, 0.6, 0.8, 0]], dtype=np.float32)
LABELS = ([7, 8, 9], [8, 7, 8, 8], [0, 0, 0], [1, 1, 1, 0])


def evaluated(*, hits: int = 3, rerank: bool = False):
    records = [
        tuple(Record(Path(f"{name}/{row}.jpg"), i, c) for row, (i, c) in enumerate(zip(ids, cameras, strict=True)))
        for name, ids, cameras in (("query", LABELS[0], LABELS[2]), ("gallery", LABELS[1], LABELS[3]))
    ]
    plain = rank_metrics(1 - QUERY @ GALLERY.T, *LABELS)
    top = top_gallery(QUERY, GALLERY, RankingLabels.checked(*LABELS), k=hits)
    dataset = ReIDDataset("d", query=records[0], gallery=records[1])
    return EvaluationResult(plain, plain if rerank else None, 3, 4, (), top), dataset


def test_each_query_by_hand():
    first, second, third = query_results(*evaluated(), identities={7: "Ann"}, cameras={0: "north gate"})
    assert (first.path, first.identity, first.camera) == (Path("query/0.jpg"), "Ann", "north gate")
    # Its nearest is of another identity, its one match comes second.
    assert (first.average_precision, first.first_match, first.num_matches) == (0.5, 2, 1)
    assert [(hit.path.name, hit.right) for hit in first.hits][:2] == [("0.jpg", False), ("1.jpg", True)]
    assert [hit.similarity for hit in first.hits][:2] == pytest.approx([1, 0.8])
    assert (first.hits[1].identity, first.hits[1].camera) == ("Ann", "1")
    # Image 3 is of its own camera and left out: 1, 0.6 and 0 remain.
    assert [hit.path.name for hit in second.hits] == ["2.jpg", "1.jpg", "0.jpg"]
    assert (second.first_match, second.num_matches) == (1, 2)
    assert (third.average_precision, third.first_match, third.num_matches) == (None, None, 0)


def test_the_worst_come_first_and_those_without_a_match_are_left_out():
    results = query_results(*evaluated())
    assert [result.path.name for result in worst(results, 5)] == ["0.jpg", "1.jpg"]
    assert len(worst(results, 1)) == 1
    head, line = worst_lines(results, 1)
    assert head.split() == ["average", "precision", "first", "match", "matches", "identity", "camera", "path"]
    assert line.split() == ["50.0%", "rank", "2", "1", "7", "0", "query/0.jpg"]
    assert len(worst_lines([], 3)) == 1


@pytest.mark.parametrize("rerank", [False, True])
def test_the_table_has_a_line_for_each_query(tmp_path, rerank):
    results = query_results(*evaluated(rerank=rerank))
    path = write_query_table(tmp_path / "new" / "ap.csv", results)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["path"]).name for row in rows] == ["0.jpg", "1.jpg", "2.jpg"]
    assert all(Path(row["path"]).is_absolute() and Path(row["hit1_path"]).is_absolute() for row in rows)
    assert (rows[0]["average_precision"], rows[0]["first_match"], rows[0]["num_matches"]) == ("0.5", "2", "1")
    assert (rows[0]["hit1_similarity"], rows[0]["hit1_right"], rows[0]["hit2_right"]) == ("1.0", "False", "True")
    assert (rows[2]["average_precision"], rows[2]["first_match"]) == ("", "")
    assert rows[0]["reranked_first_match"] == ("2" if rerank else "")


def test_the_picture_shows_the_worst_queries_with_their_hits(tmp_path):
    results = query_results(*evaluated())
    path = worst_picture(tmp_path / "worst.png", results, 1, (32, 16))
    with Image.open(path) as image:
        assert image.width > image.height / 3 > 100
        colours = {colour for _, colour in image.convert("RGB").getcolors(maxcolors=2**24)}
    # A right and a wrong one among the hits.
    assert {(0x1B, 0x78, 0x37), (0xC0, 0x27, 0x2D)} <= colours


def test_names_are_those_of_the_source_where_they_fit_the_numbers(tmp_path):
    lines = ["path,identity,camera,split"]
    for number, name in enumerate(("Ann", "Bob", "Ann", "Bob")):
        path = draw(tmp_path / f"{number}.png", number % 2, number)
        lines.append(f"{path},{name},{'north' if number < 2 else 'south'},{'query' if number < 2 else 'gallery'}")
    table = tmp_path / "cows.csv"
    table.write_text("\n".join(lines))
    dataset = load_dataset(table)
    options = SourceOptions()
    identities, cameras = names_in_source(str(table), dataset, options)
    assert [identities[record.identity] for record in dataset.query] == ["Ann", "Bob"]
    assert sorted(cameras.values()) == ["north", "south"]
    # Numbers that do not fit the names are shown themselves.
    swapped = replace(dataset, gallery=tuple(replace(record, identity=0) for record in dataset.gallery))
    assert names_in_source(str(table), swapped, options)[0] == {}
    # A data set's layout: cameras as file names call them, identities by number.
    folder = write_fake("market1501", tmp_path / "data")
    assert names_in_source(str(folder), load_dataset(folder), options) == ({}, {0: "1", 1: "2", 2: "6"})
    # A folder for each identity.
    for number in range(4):
        draw(
            tmp_path / "herd" / ("query", "gallery")[number // 2] / ("Ann", "Bob")[number % 2] / f"{number}.png", number
        )
    herd = load_dataset(tmp_path / "herd")
    assert sorted(names_in_source(str(tmp_path / "herd"), herd, options)[0].values()) == ["Ann", "Bob"]
    # What cannot be read again has no names.
    assert names_in_source(str(tmp_path / "gone.csv"), herd, options) == ({}, {})


def test_a_protocol_of_several_galleries_has_no_result_for_a_query():
    result, dataset = evaluated()
    drawn = EvaluationResult(result.plain, None, 3, 4, ())
    with input_error("option-does-not-apply", "--protocol no-camera"):
        query_results(drawn, dataset)


def test_text_under_an_image_fits_and_keeps_the_end_of_its_path():
    lines = lines_under("/data/a/long/way/to/0002_c1s1_000451_03.jpg", similarity=0.51249, identity="x" * 40, camera=3)
    assert lines[0] == "similarity 0.512"
    assert lines[1].startswith("identity xxx")
    assert lines[1].endswith("…")
    assert lines[2:] == ("camera 3", "/data/a/long/way/to/", "0002_c1s1_000451_03.jpg")
    assert lines_under("1.jpg") == ("1.jpg",)
    long = lines_under("folder/" + "a" * 60 + ".jpg")
    assert len(long) == 2
    assert long[1].endswith(".jpg")
    assert max(map(len, (*lines, *long))) <= 24
