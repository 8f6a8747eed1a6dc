"""The functions behind ``spcl calibrate`` and ``spcl compare``: silent, and they return what the commands print."""

from __future__ import annotations

import json

import pytest

import spcl
from spcl.cli.main import main
from tests.fakes import draw
from tests.input_errors import input_error
from tests.verification.test_calibrate import write_checkpoint


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A checkpoint, and twelve objects with five images each."""
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "c.pth.tar")
    for identity in range(12):
        for shot in range(5):
            draw(tmp_path / f"crops/{identity:02d}/{shot}.png", identity, shot)
    return tmp_path


@pytest.mark.slow
def test_a_calibration_and_a_comparison_from_python_are_those_of_the_commands(folder, capsys):
    encoder = spcl.EncoderChoice("c.pth.tar")
    request = spcl.CalibrationRequest(
        "crops", labelled=True, false_match_rate=0.05, encoding=spcl.EncodeOptions(encoder=encoder, device="cpu")
    )
    before = (folder / "c.pth.tar").read_bytes()
    request.check_places("mine.json")
    found = spcl.calibrate_images(request)
    assert (folder / "c.pth.tar").read_bytes() == before
    assert found.store("mine.json") == ("c.pth.tar", "mine.json")
    pair = ("crops/00/0.png", "crops/00/1.png")
    answers = [
        spcl.compare_images(
            spcl.ComparisonRequest(*pair, false_match_rate=0.1, calibration=file, encoder=encoder, device="cpu")
        )
        for file in (None, "mine.json")
    ]
    assert capsys.readouterr() == ("", "")

    flags = ["--labels", "--false-match-rate", "0.05", "-o", "theirs.json", "--json", "--device", "cpu"]
    main(["calibrate", "c.pth.tar", "crops", *flags])
    printed = json.loads(capsys.readouterr().out)
    assert found.to_dict() == printed
    assert found.to_rows() == printed["thresholds"]
    assert (folder / "mine.json").read_bytes() == (folder / "theirs.json").read_bytes()
    main(["compare", "c.pth.tar", *pair, "--false-match-rate", "0.1", "--json", "--device", "cpu"])
    printed = json.loads(capsys.readouterr().out)
    assert [answer.to_dict() for answer in answers] == [printed, printed]
    assert printed["verdict"] is not None


def test_requests_that_cannot_be_done_are_refused_when_they_are_made(folder, monkeypatch):
    for settings, named in (
        ({"false_match_rate": 1.0}, "false_match_rate is 1.0"),
        ({"seed": -1}, "seed is -1"),
        ({"source": spcl.SourceOptions(identity_from="folder")}, "identity_from is 'folder'"),
    ):
        with input_error("setting-out-of-range", named):
            spcl.CalibrationRequest("crops", **settings)
    request = spcl.CalibrationRequest("crops", encoding=spcl.EncodeOptions(encoder=spcl.EncoderChoice("c.pth.tar")))
    with input_error("not-a-file", "crops"):
        request.check_places("crops")
    monkeypatch.setattr("os.access", lambda place, mode: False)
    with input_error("cannot-write", "c.pth.tar"):
        request.check_places()
    with input_error("not-an-image", "crops"):
        spcl.ComparisonRequest("crops", "crops/00/0.png")
    with input_error("setting-out-of-range", "false_match_rate is 0"):
        spcl.ComparisonRequest("a.png", "b.png", false_match_rate=0)
