"""Calibration by tracks: positives of one track, impostors of simultaneous tracks, in place of clusters."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest

import spcl
from spcl.pairs.constraints import PairConstraints
from spcl.verification.calibration_pairs import unlabelled_pairs
from spcl.verification.known_calibration_pairs import pairs_of_one_object, pairs_of_two_objects
from tests.fakes import draw
from tests.input_errors import input_error
from tests.mixtures import mixture
from tests.verification.test_calibrate import of_features, write_checkpoint


def test_pairs_are_all_those_of_one_object_and_of_two():
    constraints = PairConstraints.of(7, must_link=[[0, 3], [3, 5], [1, 2]], cannot_link=[[5, 2], [6, 1]])
    cameras, rng = np.full(7, -1), np.random.default_rng(0)
    same = pairs_of_one_object(constraints, cameras, most=1000, rng=rng)
    assert {tuple(pair) for pair in same.tolist()} == {(0, 3), (0, 5), (3, 5), (1, 2)}
    different = pairs_of_two_objects(constraints, most=1000, rng=rng)
    expected = {(0, 1), (0, 2), (1, 3), (2, 3), (1, 5), (2, 5), (1, 6), (2, 6)}
    assert {tuple(pair) for pair in different.tolist()} == expected and len(different) == len(expected)
    few = pairs_of_two_objects(constraints, most=5, rng=rng)
    assert {tuple(pair) for pair in few.tolist()} < expected and len(few) == len(np.unique(few, axis=0))
    for function in (lambda: pairs_of_one_object(None, cameras, most=5, rng=rng),):
        assert not len(function())
    assert not len(pairs_of_two_objects(PairConstraints.of(3, must_link=[[0, 1]]), most=5, rng=rng))


def tracked(num_identities=30, per_identity=10):
    """Each object in two tracks; the first tracks of neighbours are simultaneous."""
    features, identities = mixture(num_identities=num_identities, per_identity=per_identity, seed=2)
    half = per_identity // 2
    rows = np.arange(len(features)).reshape(num_identities, 2, half)
    must = [pair for track in rows.reshape(-1, half).tolist() for pair in pairwise(track)]
    cannot = [(rows[one, 0, 0], rows[one + 1, 0, 0]) for one in range(num_identities - 1)]
    return features, identities, rows, PairConstraints.of(len(features), must, cannot)


def test_enough_known_pairs_take_the_place_of_clusters():
    features, identities, rows, constraints = tracked()
    images = of_features(features, identities, labelled=False)
    altered, rng = np.ones(50, dtype=np.float32), np.random.default_rng(0)
    pairs = unlabelled_pairs(images, altered, None, rng, constraints, impostors=constraints)
    same = [features[a] @ features[b] for track in rows.reshape(-1, 5) for a, b in combinations(track, 2)]
    different = [features[a] @ features[b] for one in range(29) for a in rows[one, 0] for b in rows[one + 1, 0]]
    np.testing.assert_allclose(np.sort(pairs.same), np.sort(same), atol=1e-6)
    np.testing.assert_allclose(np.sort(pairs.different), np.sort(different), atol=1e-6)
    assert "of tracks" in pairs.notes[0] and "simultaneous" in pairs.notes[1]
    pairs.fit()


@pytest.mark.slow
def test_few_known_pairs_help_the_clusters_alone():
    features, identities, _, _ = tracked()
    images = of_features(features, identities, labelled=False)
    few = PairConstraints.of(len(features), [[0, 1]], [[0, 299]])
    altered = np.ones(50, dtype=np.float32)
    pairs = unlabelled_pairs(images, altered, None, np.random.default_rng(0), few, impostors=few)
    plain = unlabelled_pairs(images, altered, None, np.random.default_rng(0))
    assert pairs.notes == plain.notes == () and pairs.num_same > 200


def corrected_folder(tmp_path, actions):
    """Fifteen objects of six images, and a folder of groups in which a person has made corrections."""
    paths = [
        draw(tmp_path / f"mine/{number // 6:02d}_{number % 6}.png", number // 6, number % 6) for number in range(90)
    ]
    out = tmp_path / "out"
    out.mkdir()
    rows = [f"{path},{path.stem[:2]},1.0" for path in paths]
    (out / "groups.csv").write_text("\n".join(["path,group,confidence", *rows]))
    for action, *words in actions:
        spcl.correct(out, action, words)
    return out


def calibrated(tmp_path, pairs=""):
    encoding = spcl.EncodeOptions(encoder=spcl.EncoderChoice(str(tmp_path / "c.pth.tar")), device="cpu")
    request = spcl.CalibrationRequest(str(tmp_path / "mine"), encoding=encoding, pairs=spcl.PairOptions(str(pairs)))
    return spcl.calibrate_images(request).calibration


@pytest.mark.slow
def test_corrections_by_hand_are_honoured(tmp_path):
    write_checkpoint(tmp_path / "c.pth.tar")
    confirmed = [("confirm", *map(str, range(15)))]
    out = corrected_folder(tmp_path, confirmed)
    found = calibrated(tmp_path, out)
    assert found.calibration.same.num_scores == 15 * 15
    assert any(note.startswith("pairs of one object: 225 of tracks and of pairs") for note in found.notes)
    # Other pairs of one object than those that clusters give.
    assert found.calibration.same != calibrated(tmp_path).calibration.same
    # A pair that is denied is no pair of one object any more; impostors in general are not only pairs that look alike.
    spcl.correct(out, "split", ["14", "14_0.png", "14_1.png"])
    again = calibrated(tmp_path, out)
    assert again.calibration.same.num_scores == 14 * 15 + 6 + 1
    for other in range(1, 7):
        spcl.correct(out, "deny", ["0", str(other)])
    denied = calibrated(tmp_path, out)
    assert denied.calibration.different.num_scores > 1000
    assert not any("known by hand" in note for note in denied.notes if note.startswith("pairs of different"))


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Twelve objects with six images each, one track for each, all in one camera at one time."""
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "c.pth.tar")
    lines = ["path,camera,track,frame"]
    for identity in range(12):
        for shot in range(6):
            draw(tmp_path / f"crops/{identity:02d}_{shot}.png", identity, shot)
            lines.append(f"{identity:02d}_{shot}.png,0,{identity},{shot}")
    (tmp_path / "crops/crops.csv").write_text("\n".join(lines))
    return tmp_path / "crops/crops.csv"


def test_the_command_takes_tracks_and_says_so(table):
    encoding = spcl.EncodeOptions(encoder=spcl.EncoderChoice("c.pth.tar"), device="cpu")
    found = spcl.calibrate_images(spcl.CalibrationRequest(str(table), encoding=encoding))
    values = found.to_dict()
    assert values["num_different_pairs"] == 66 * 36
    assert any("of simultaneous tracks" in note for note in values["notes"])
    assert any("tracks: 12 of 12 used" in note for note in found.source_notes)
    with input_error("option-contradiction", "mine.csv"):
        spcl.CalibrationRequest(str(table), labelled=True, pairs=spcl.PairOptions("mine.csv"))
