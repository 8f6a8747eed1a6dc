"""Drift of new images: found for a camera whose colours change, and not otherwise."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from spcl.cli.main import main
from spcl.gallery.gallery import Gallery
from spcl.inference.embedding import load_encoder
from spcl.monitoring.figures import FIGURES, pixel_figures
from spcl.monitoring.monitor import MonitoringRequest, monitor
from spcl.monitoring.reference import best_without_itself, read_reference
from spcl.verification.identification import Enrolled
from tests.fakes import draw
from tests.input_errors import input_error
from tests.verification.test_calibrate import write_checkpoint

IDENTITIES = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A gallery of two cameras, further images of the same objects, and the same with other colours in one camera."""
    folder = tmp_path_factory.mktemp("monitored")
    write_checkpoint(folder / "c.pth.tar")
    encoder = load_encoder(folder / "c.pth.tar")
    paths, names, cameras = [], [], []
    for identity in range(IDENTITIES):
        for shot in range(8):
            camera = shot % 2
            name = f"{identity:04d}_c{camera}s1_{shot:06d}_00.png"
            place = ("crops" if shot < 4 else "new") + f"/{name}"
            draw(folder / place, identity, shot)
            if shot < 4:
                paths.append(folder / place)
                names.append(str(identity))
                cameras.append(str(camera))
            else:
                image = np.asarray(Image.open(folder / place)).astype(float)
                changed = (
                    np.clip(image * [0.6, 1.0, 1.4], 0, 255).astype(np.uint8) if camera else image.astype(np.uint8)
                )
                (folder / "changed").mkdir(exist_ok=True)
                Image.fromarray(changed).save(folder / "changed" / name)
    gallery = Gallery.create(folder / "g", encoder)
    gallery.add_features(encoder.embed(paths), paths, identities=names, cameras=cameras)
    gallery.tidy()
    return folder


def test_it_is_quiet_where_nothing_has_changed(folder):
    result = monitor(MonitoringRequest(folder / "g", folder / "new"))
    assert not result.has_drift, [shift for shift in result.shifts if shift.has_shifted]
    assert {shift.camera for shift in result.shifts} == {"0", "1"}
    assert {shift.figure for shift in result.shifts} == set(FIGURES)
    assert result.num_new == 4 * IDENTITIES
    assert all((shift.num_reference, shift.num_new) == (48, 48) for shift in result.shifts)


def test_a_camera_whose_colours_change_is_found_and_no_other(folder, monkeypatch):
    kept = read_reference(folder / "g", Gallery.open(folder / "g").fingerprint)
    assert kept is not None
    # What was measured is used again.
    monkeypatch.setattr("spcl.monitoring.reference._sampled", lambda *_: pytest.fail("it was measured again"))
    result = monitor(MonitoringRequest(folder / "g", folder / "changed"))
    assert {shift.camera for shift in result.shifts if shift.has_shifted} == {"1"}
    assert "colour" in {shift.figure for shift in result.shifts if shift.has_shifted}


def test_the_command_prints_and_ends_with_a_code(folder, capsys):
    main(["monitor", str(folder / "g"), str(folder / "new")])
    assert "no drift" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["monitor", str(folder / "g"), str(folder / "changed"), "--json"])
    assert ended.value.code == 3
    printed = json.loads(capsys.readouterr().out)
    assert printed["has_drift"] and printed["num_new"] == 96


def test_other_images_as_the_reference(folder):
    result = monitor(MonitoringRequest(folder / "g", folder / "changed", reference=folder / "changed"))
    assert not result.has_drift


def test_what_cannot_be_compared_is_said(folder, tmp_path):
    for number in range(3):
        draw(tmp_path / "few" / f"{number:04d}_c7s1_000000_00.png", number)
    with input_error("nothing-to-compare", "3 of '7'"):
        monitor(MonitoringRequest(folder / "g", tmp_path / "few"))
    for number in range(25):
        draw(tmp_path / "few" / f"{number:04d}_c1s1_000001_00.png", number)
    result = monitor(MonitoringRequest(folder / "g", tmp_path / "few"))
    assert any("3 new images are of cameras" in note and "'7'" in note for note in result.notes)
    with input_error("setting-out-of-range", "level"):
        MonitoringRequest(folder / "g", folder / "new", level=0)
    with input_error("no-such-gallery"):
        monitor(MonitoringRequest(tmp_path / "none", folder / "new"))


def test_a_gallery_without_files_and_identities_compares_what_is_left(folder, tmp_path):
    encoder = load_encoder(folder / "c.pth.tar")
    (features,) = (part.features for part in Gallery.open(folder / "g").read(rows=1000))
    gallery = Gallery.create(tmp_path / "g", encoder)
    cameras = [str(row % 2) for row in range(len(features))]
    gallery.add_features(features, [f"{row}.png" for row in range(len(features))], cameras=cameras)
    result = monitor(MonitoringRequest(tmp_path / "g", folder / "new"))
    assert {shift.figure for shift in result.shifts} == {"similarity"}
    assert any("unknown is not compared" in note for note in result.notes)
    assert any("brightness is not compared" in note for note in result.notes)


def test_best_without_itself_equals_enrolling_all_others():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(12, 5)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    identities = ["a", "a", "a", "b", "b", "c", "c", "c", "c", "d", "e", "e"]
    found = best_without_itself(Enrolled.from_features(features, identities), features, identities)
    for row in range(12):
        others = [number for number in range(12) if number != row]
        known = Enrolled.from_features(features[others], [identities[number] for number in others])
        assert found[row] == pytest.approx((known.means @ features[row]).max(), abs=1e-5)


def test_figures_by_hand():
    grey = pixel_figures(Image.new("RGB", (20, 40), (100, 100, 100)))
    assert grey == pytest.approx((100, 0, 0, 800**0.5), abs=1e-3)
    assert pixel_figures(Image.new("RGB", (20, 40), (200, 0, 50))).colour == pytest.approx(150)
    noise = np.random.default_rng(0).integers(0, 256, (96, 48, 3), dtype=np.uint8)
    sharp = Image.fromarray(noise)
    blurred = sharp.resize((12, 24)).resize((48, 96))
    assert pixel_figures(blurred).sharpness < pixel_figures(sharp).sharpness / 4
    assert all(np.isfinite(pixel_figures(Image.new("RGB", (1, 1)))))
