"""From a checkpoint and images to verdicts and names, by commands."""

from __future__ import annotations

import json

import pytest

from spcl import IdentificationRequest, identify_images
from spcl.cli.main import main
from spcl.errors import InputError
from spcl.inference.embedding import load_encoder
from tests.cli.test_commands import refused
from tests.fakes import draw
from tests.input_errors import input_error
from tests.verification.test_calibrate import write_checkpoint

FAST = ["--device", "cpu", "--workers", "2"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "c.pth.tar")
    for identity in range(12):
        for shot in range(5):
            draw(tmp_path / f"crops/{identity:02d}/{shot}.png", identity, shot)
    for shot in range(3):
        draw(tmp_path / f"strangers/{shot}.png", 77, shot)
    return tmp_path


def test_compare_before_and_after_calibration(folder, capsys):
    words = ["compare", "c.pth.tar", "crops/00/0.png", "crops/00/1.png", "--device", "cpu"]
    main(words)
    assert "spcl calibrate CHECKPOINT IMAGES" in capsys.readouterr().out
    main(["calibrate", "c.pth.tar", "crops", "--labels", "--output", "out/c.json", *FAST])
    printed = capsys.readouterr().out
    assert "60 images, 12 identities: 120 pairs of one object, 1650 of two" in printed
    assert "of the pairs of different objects are expected to reach it" in printed
    assert "1 % of the pairs of different objects are expected to reach it" in printed
    assert "stored in c.pth.tar and out/c.json" in printed
    stored = json.loads((folder / "out/c.json").read_text())
    assert stored.pop("encoder")["checkpoint"] == str(folder / "c.pth.tar")
    assert stored == load_encoder("c.pth.tar").facts["calibration"]
    main(words)
    printed = capsys.readouterr().out
    assert "verdict      " in printed
    assert "false-match rate 0.01, calibrated with labels" in printed
    main([*words, "--json", "--false-match-rate", "0.1"])
    row = json.loads(capsys.readouterr().out)
    assert row["false_match_rate"] == 0.1
    assert 0 < row["probability"] < 1


@pytest.mark.slow
def test_calibrate_without_labels_and_as_json(folder, capsys):
    main(["calibrate", "c.pth.tar", "crops", "--json", "--false-match-rate", "0.05", *FAST])
    figures = json.loads(capsys.readouterr().out)
    assert (figures["origin"], figures["num_images"], figures["false_match_rate"]) == ("no labels", 60, 0.05)
    rates = [row["false_match_rate"] for row in figures["thresholds"]]
    thresholds = [row["similarity"] for row in figures["thresholds"]]
    assert rates == [0.1, 0.05, 0.01, 0.001, 0.0001]
    assert thresholds == sorted(thresholds)
    assert figures["thresholds"][-1]["warning"]
    factors = [row["factor_on_others"] for row in figures["thresholds"]]
    assert 1 < factors[0] <= factors[-1]
    assert figures["least_rate_kept"] is None  # twelve objects are too few for any
    main(["calibrate", "c.pth.tar", "crops", *FAST])
    printed = capsys.readouterr().out
    assert "calibrated without labels" in printed
    assert "on other objects no false-match rate is within a factor of two" in printed
    assert printed.count("few or similar objects") == 1


def test_identify(folder, capsys):
    main(["embed", "c.pth.tar", "crops", "--gallery", "g", "--identity-from", "folder", *FAST])
    capsys.readouterr()
    main(["identify", "c.pth.tar", "g", "crops/03", "strangers", "--false-match-rate", "0.05", "--json", *FAST])
    found = json.loads(capsys.readouterr().out)
    assert (found["num_identities"], found["basis"], len(found["queries"])) == (12, "gallery", 8)
    request = IdentificationRequest("g", ("crops/03", "strangers"), false_match_rate=0.05)
    named = identify_images(request)  # by the encoder that the gallery remembers
    assert capsys.readouterr() == ("", "")
    assert named.to_dict() == found
    assert {hit.identity for hit in named.nearest[:5]} == {"03"}
    assert named.to_table().column("identity").to_pylist() == [answer.identity for answer in named.answers]
    with input_error("setting-out-of-range", "false-match rate is 1"):
        IdentificationRequest("g", "strangers", false_match_rate=1)
    assert {row["nearest"] for row in found["queries"][:5]} == {"03"}
    for row in found["queries"]:
        assert row["identity"] == (row["nearest"] if row["similarity"] >= found["threshold"] else None)
    words = ["identify", "c.pth.tar", "g", "crops/03/0.png", "--where", "identity != '03'", *FAST]
    main([*words, "--false-match-rate", "0.3", "--json"])
    without = json.loads(capsys.readouterr().out)
    assert without["num_identities"] == 11
    assert without["queries"][0]["nearest"] != "03"
    assert without["queries"][0]["similarity"] < found["queries"][0]["similarity"]
    main([*words, "--false-match-rate", "0.3"])
    printed = capsys.readouterr().out
    assert "an image gets a name from similarity" in printed
    assert "11 identities; " in printed


def test_a_small_gallery_asks_for_a_calibration_and_uses_it(folder, capsys):
    main(["embed", "c.pth.tar", "crops/00", "--gallery", "g", "--identity-from", "folder", *FAST])
    words = ["identify", "c.pth.tar", "g", "crops/00/0.png", *FAST]
    assert "run spcl calibrate" in refused(words, capsys)
    main(["calibrate", "c.pth.tar", "crops", "--labels", *FAST])
    capsys.readouterr()
    main(words)
    assert "from the checkpoint's calibration" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["calibrate", "no.pth.tar", "crops"], "there is no checkpoint no.pth.tar"),
        (["calibrate", "c.pth.tar", "nowhere"], "there are no images at nowhere"),
        (["calibrate", "c.pth.tar", "crops", "--false-match-rate", "1"], "[setting-out-of-range]"),
        (["calibrate", "c.pth.tar", "strangers", "--labels"], "the images have none: give a folder per identity"),
        (["calibrate", "c.pth.tar", "crops/00", "--labels"], "the images have none"),
        (["calibrate", "c.pth.tar", "crops", "--workers", "-1"], "--workers is -1"),
        (["calibrate", "c.pth.tar", "crops", "--seed", "-1"], "--seed is -1"),
        (["calibrate", "c.pth.tar", "crops", "--output", "crops"], "[not-a-file]"),
        (["compare", "c.pth.tar", "crops/00/0.png", "gone.png"], "there is no image gone.png"),
        (["compare", "c.pth.tar", "crops/00/0.png", "strangers"], "[not-an-image]"),
        (["identify", "c.pth.tar", "crops", "strangers"], "no image of the gallery"),
        (["identify", "c.pth.tar", "crops", "nowhere"], "there are no images at nowhere"),
        (["identify", "c.pth.tar", "crops"], "the images to be named are missing"),
    ],
)
def test_refusals(folder, capsys, words, message):
    before = (folder / "c.pth.tar").read_bytes()
    assert message in refused([*words, "--device", "cpu"], capsys)
    assert (folder / "c.pth.tar").read_bytes() == before


@pytest.mark.slow
def test_a_calibration_of_mirrored_features_is_of_these_alone(folder, capsys):
    main(["embed", "c.pth.tar", "crops/00", "--gallery", "plain", "--identity-from", "folder", *FAST])
    main(["embed", "c.pth.tar", "crops/00", "--gallery", "both", "--identity-from", "folder", "--flip", *FAST])
    main(["calibrate", "c.pth.tar", "crops", "--labels", "--flip", *FAST])
    encoder = load_encoder("c.pth.tar")
    assert encoder.facts["calibration"]["flip"] is True
    capsys.readouterr()
    images = ["crops/00/0.png", "crops/00/1.png"]
    main(["compare", "c.pth.tar", *images, "--device", "cpu", "--json"])
    first, second = encoder.embed(images, flip=True)
    assert json.loads(capsys.readouterr().out)["similarity"] == pytest.approx(float(first @ second), abs=1e-5)
    error = refused(["identify", "c.pth.tar", "plain", images[0], *FAST], capsys)
    assert "The checkpoint's calibration is of features with --flip" in error
    main(["identify", "c.pth.tar", "both", images[0], "--flip", *FAST])
    assert "from the checkpoint's calibration" in capsys.readouterr().out


def test_an_image_that_cannot_be_compared_is_not_advised_to_be_skipped(folder, capsys):
    assert "--on-broken" not in refused(["compare", "c.pth.tar", "crops/00/0.png", "gone.png"], capsys)


def test_figures_are_told_before_they_are_written(folder, capsys, monkeypatch):
    def full(*_, **__):
        raise InputError("cannot write c.pth.tar: the disk is full")

    monkeypatch.setattr("spcl.verification.calibrate.store_calibration", full)
    with pytest.raises(SystemExit):
        main(["calibrate", "c.pth.tar", "crops", "--labels", *FAST])
    assert "of the pairs of different objects are expected to reach it" in capsys.readouterr().out
