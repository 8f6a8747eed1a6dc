"""The functions behind ``spcl cluster`` and ``spcl suggest``: silent, and they return what the commands print."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path

import pytest

import spcl
from spcl.cli.main import main
from tests.fakes import draw
from tests.input_errors import input_error

WORDS = shlex.split("--arch timm/test_resnet --pretrained none --device cpu --workers 2 --json")
ENCODING = spcl.EncodeOptions(
    encoder=spcl.EncoderChoice(arch="timm/test_resnet", pretrained="none"), device="cpu", workers=2
)


@pytest.fixture
def crops(tmp_path, monkeypatch):
    """Four objects, six images each; one that cannot be read, one copy."""
    monkeypatch.chdir(tmp_path)
    for number in range(24):
        draw(tmp_path / "crops" / f"{number:02d}.jpg", number // 6, number)
    (tmp_path / "crops" / "broken.jpg").write_bytes(b"no image")
    (tmp_path / "crops" / "copy.jpg").write_bytes((tmp_path / "crops" / "03.jpg").read_bytes())
    return tmp_path


def test_groups_from_python_are_those_of_the_command(crops, capsys):
    main(["cluster", "crops", "-o", "out", "--folders", "link", *WORDS])
    printed = json.loads(capsys.readouterr().out)
    request = spcl.GroupingRequest("crops", "mine", folders="link", encoding=ENCODING)
    found = spcl.group_images(request)
    assert (found.to_dict(), found.out) == (printed, Path("mine"))
    for name in ("groups.csv", "groups.parquet", "summary.json", "groups.png", "broken.csv", "odd.csv"):
        assert (crops / "mine" / name).read_bytes() == (crops / "out" / name).read_bytes(), name
    with (crops / "out/groups.csv").open(newline="") as file:
        table = [(row["path"], int(row["group"]), float(row["confidence"])) for row in csv.DictReader(file)]
    rows = found.to_rows()
    assert [(row["path"], row["group"], round(row["confidence"], 4)) for row in rows] == table
    assert [path.name for path, _ in found.broken] == ["broken.jpg"]
    assert (len(found.odd.copies), found.not_copied, len(found.reasons) > 1) == (1, (), True)
    without = spcl.group_images(spcl.GroupingRequest("crops", encoding=ENCODING))
    assert (without.to_rows(), without.out, without.not_copied) == (rows, None, None)
    assert sorted(path.name for path in crops.iterdir()) == ["crops", "mine", "out"]
    assert capsys.readouterr() == ("", "")


def test_settings_from_python_are_those_of_the_command(crops, capsys):
    main(["suggest", "crops", "--min-samples", "3", "--data-dir", "elsewhere", *WORDS])
    printed = json.loads(capsys.readouterr().out)
    source = spcl.SourceOptions(data_dir="elsewhere")
    found = spcl.suggest_settings(spcl.SettingsRequest("crops", min_samples=3, source=source, encoding=ENCODING))
    assert found.to_dict() == printed
    assert found.command.endswith("--min-samples 3 --data-dir elsewhere")
    assert found.save_picture("curves.png")
    assert (crops / "curves.png").read_bytes()[1:4] == b"PNG"
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"eps": 0.99}, "eps is 0.99"),
        ({"k1": 0}, "k1 is 0"),
        ({"k2": -1}, "k2 is -1"),
        ({"min_samples": 1}, "min_samples is 1"),
        ({"min_size": -1}, "min_size is -1"),
        ({"folders": "links"}, "folders is 'links'"),
        ({"folders": "link"}, "out is None"),
    ],
)
def test_a_request_that_cannot_be_done_is_refused_when_it_is_made(settings, named):
    with input_error("setting-out-of-range", named):
        spcl.GroupingRequest("crops", **settings)


def test_one_image_gives_no_command_that_train_would_refuse(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "crops" / "1.jpg", 0)
    found = spcl.suggest_settings(spcl.SettingsRequest("crops", encoding=ENCODING))
    assert found.command == ""
    assert found.training_note.startswith("more images are needed")
    main(["suggest", "crops", *WORDS[:-1]])
    printed = capsys.readouterr().out
    assert "more images are needed" in printed
    assert "spcl train" not in printed
