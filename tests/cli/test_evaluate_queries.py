"""``spcl evaluate --per-query --worst --save-picture``: the table, the worst queries, the picture."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from spcl import EncodeOptions, EncoderChoice, EvaluationRequest, evaluate_dataset
from spcl.cli.main import main
from spcl.inference.checkpoint import checkpoint_of, save_atomically
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from tests.fakes import draw, write_fake

NAMES = ("Ann", "Bob", "Cy")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A checkpoint, and a table of three cows seen by two gates."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    encoder = EncoderNetwork(EncoderSettings(arch="timm/test_resnet", height=32, width=16))
    save_atomically(checkpoint_of(encoder, epoch=1, best_mean_ap=None, facts={}), tmp_path / "c.pth.tar")
    lines = ["path,identity,camera,split"]
    for number, name in enumerate(NAMES):
        for gate, split in (("north", "query"), ("south", "gallery"), ("south", "gallery")):
            path = draw(tmp_path / "crops" / f"{len(lines)}.jpg", number, len(lines))
            lines.append(f"{path.relative_to(tmp_path)},{name},{gate} gate,{split}")
    Path("cows.csv").write_text("\n".join(lines))
    return tmp_path


def test_results_of_single_queries_in_the_users_words(folder, capsys):
    files = ["--per-query", "out/ap.csv", "--save-picture", "out/worst.png"]
    main(["evaluate", "c.pth.tar", "cows.csv", *files, "--worst", "2", "--rerank", "--device", "cpu"])
    printed = capsys.readouterr().out
    assert "queries: out/ap.csv" in printed
    assert "picture: out/worst.png" in printed
    with Path("out/ap.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["identity"] for row in rows] == list(NAMES)
    assert {row["camera"] for row in rows} == {"north gate"}
    assert {row["num_matches"] for row in rows} == {"2"}
    assert all(Path(row["path"]).is_file() and Path(row["hit6_path"]).is_file() for row in rows)
    for row in rows:
        right = [row[f"hit{place}_right"] == "True" for place in range(1, 7)]
        places = [place for place, is_right in enumerate(right, start=1) if is_right]
        assert int(row["first_match"]) == places[0]
        precisions = [(number + 1) / place for number, place in enumerate(places)]
        assert float(row["average_precision"]) == pytest.approx(sum(precisions) / 2)
        assert 0 < float(row["reranked_average_precision"]) <= 1
    _, _, after = printed.partition("the queries with the lowest average precision:\n")
    table = after.splitlines()[:3]
    assert table[0].split()[-3:] == ["identity", "camera", "path"]
    assert all("north gate" in line and "crops/" in line and str(folder) not in line for line in table[1:])
    with Image.open("out/worst.png") as image:
        assert image.width > 1000
    main(["evaluate", "c.pth.tar", "cows.csv", "--worst", "1", "--json", "--device", "cpu"])
    figures = json.loads(capsys.readouterr().out)
    (query,) = figures["worst"]
    encoding = EncodeOptions(encoder=EncoderChoice(checkpoint="c.pth.tar"), device="cpu")
    rated = evaluate_dataset(EvaluationRequest("cows.csv", num_hits=10, encoding=encoding))
    assert capsys.readouterr() == ("", "")
    assert rated.to_dict(num_worst=1) == figures
    assert [result.identity for result in rated.queries] == list(NAMES)
    assert query["average_precision"] == min(float(row["average_precision"]) for row in rows)
    assert len(query["hits"]) == 6
    # A registered data set, by its name and by its folder: cameras as file names call them.
    place = write_fake("market1501", folder / "examples/data")
    for data in ("market1501", str(place)):
        main(["evaluate", "c.pth.tar", data, "--worst", "9", "--json", "--device", "cpu"])
        worst = json.loads(capsys.readouterr().out)["worst"]
        assert {f"_c{query['camera']}s" in query["path"] for query in worst} == {True}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--per-query", "ap.txt"], "--per-query is ap.txt"),
        (["--save-picture", "worst.jpg"], "[wrong-file-kind]"),
        (["--per-query", "crops.csv"], "[not-a-file]"),
        (["--worst", "-1"], "[setting-out-of-range]"),
        (["--worst", "1", "--protocol", "vehicleid"], "need --protocol no-camera"),
    ],
)
def test_what_cannot_be_written_or_rated_is_refused_before_any_work(folder, capsys, words, message):
    (folder / "crops.csv").mkdir()
    write_fake("vehicleid", folder / "examples/data")
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", "c.pth.tar", "vehicleid", *words])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
