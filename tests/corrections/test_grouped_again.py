"""Corrections and the next grouping, training and table: names stay with their images, and what was said is kept."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest

import spcl
from spcl.cli.main import main
from spcl.pairs.pair_options import PairOptions
from spcl.pairs.pair_sources import pair_sources
from spcl.records import Record
from tests.corrections.test_corrected_groups import groups_in
from tests.fakes import draw
from tests.input_errors import input_error

SMALL = shlex.split("--arch timm/test_resnet --pretrained none --device cpu --workers 0 --eps 0.7 --k1 5")
TRAIN = shlex.split(
    "--recipe quick --arch timm/test_resnet --pretrained none --height 32 --width 16 --batch-size 8 --iters 1"
    " --epochs 1 --k1 5"
)
LETTERS = "abcdefghijklmnopqrstuvwx"


@pytest.fixture(scope="module")
def grouped(tmp_path_factory) -> Path:
    """Four objects (a to f, g to l, m to r, s to x), and their groups."""
    folder = tmp_path_factory.mktemp("corrected")
    for at, letter in enumerate(LETTERS):
        draw(folder / "crops" / f"{letter}.jpg", at // 6, at)
    main(["cluster", str(folder / "crops"), "-o", str(folder / "out"), *SMALL])
    assert set(groups_in(folder / "out/groups.csv").values()) == {"abcdef", "ghijkl", "mnopqr", "stuvwx"}
    return folder


@pytest.fixture
def folder(grouped, tmp_path, monkeypatch) -> Path:
    shutil.copytree(grouped, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    table = (tmp_path / "out/groups.csv").read_text()
    (tmp_path / "out/groups.csv").write_text(table.replace(str(grouped), str(tmp_path)))
    return tmp_path


def test_the_next_grouping_keeps_what_was_said(folder, capsys):
    out = folder / "out"
    first = groups_in(out / "groups.csv")
    number = {members[0]: group for group, members in first.items()}
    spcl.correct(out, "name", [number["g"], "Bella"])
    spcl.correct(out, "merge", [number["a"], number["m"]])
    spcl.correct(out, "split", [number["s"], "w.jpg", "x.jpg"])
    assert set(groups_in(out / "groups.csv").values()) == {"abcdefmnopqr", "ghijkl", "stuv", "wx"}
    left = Path(spcl.read_groups(out).log.corrections[-1].argument).stem
    (folder / "crops/y.jpg").write_bytes((folder / "crops/h.jpg").read_bytes())
    (folder / "crops/i.jpg").unlink()
    capsys.readouterr()
    main(["cluster", "crops", "-o", "out", *SMALL, "--overwrite", "--folders", "link"])
    printed = capsys.readouterr().out
    assert "corrections: 3 used, 0 undone, 1 name images that are not here" in " ".join(printed.split())
    groups = groups_in(out / "groups.csv")
    assert set(groups.values()) >= {"abcdefmnopqr", "ghjkly"}
    assert [group for group in groups.values() if "w" in group and "x" in group and left not in group]
    assert groups_in(out / "groups.csv", "identity")["Bella"] == "ghjkly"
    assert any(entry.name.endswith(" Bella") for entry in (out / "groups").iterdir())
    state = json.loads((out / "summary.json").read_text())["corrections"]
    assert (state["used"], state["grouped_with"]) == (3, 3)
    assert set(groups_in(out / "groups_found.csv").values()) >= {"abcdefmnopqr", "ghjkly"}
    spcl.correct(out, "confirm", ["Bella"])
    again = spcl.correct(out, "undo")
    assert again.after.replayed.usage.words().startswith("corrections: 3 used, 1 undone")


def test_an_edited_table_is_not_replaced_in_silence(folder):
    spcl.correct("out", "name", ["0", "Bella"])
    table = Path("out/groups.csv").read_text().splitlines()
    Path("out/groups.csv").write_text("\n".join([table[0], *(f"{line.rpartition(',')[0]},Zora" for line in table[1:])]))
    with input_error("groups-edited"):
        spcl.group_images(spcl.GroupingRequest("crops", "out", overwrite=True))


def test_corrections_are_a_source_of_pairs(folder):
    spcl.correct("out", "deny", ["a.jpg", "m.jpg"])
    records = [Record(folder / "crops" / f"{letter}.jpg") for letter in "abmn"]
    spcl.correct("out", "move", ["b.jpg", "new"])
    for given, source in (("out", "crops"), ("out/corrections.csv", "crops"), ("", "out/groups.csv")):
        known, _ = pair_sources(source, PairOptions(given)).known(records)
        assert known.cannot_link[0].tolist() == [0, 2]
        assert known.cannot_origins[0].words == "correction 1 of corrections.csv"
        assert "corrections: 2 used, 0 undone" in known.notes[0]
    with input_error("no-pairs-used", "out/corrections.csv"):
        pair_sources("crops", PairOptions("out")).known([Record(folder / "elsewhere.jpg")])
    with input_error("no-such-file", "spcl correct"):
        pair_sources("crops", PairOptions("crops"))


def test_training_honours_them(folder, capsys):
    spcl.correct("out", "merge", ["0", "1"])
    capsys.readouterr()
    main(["train", "crops", *TRAIN, "--pairs", "out", "--logs-dir", "runs/a"])
    printed = capsys.readouterr().out
    assert "corrections: 1 used, 0 undone" in printed
    main(["train", "out/groups.csv", *TRAIN, "--logs-dir", "runs/b"])
    assert "corrections: 1 used, 0 undone" in capsys.readouterr().out
