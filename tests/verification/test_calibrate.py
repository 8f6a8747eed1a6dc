"""A calibration from images, with labels and without, and its way into a checkpoint and out again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from spcl.inference.checkpoint import checkpoint_of, load_facts, save_atomically
from spcl.inference.embedding import EmbeddedImages, load_encoder
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from spcl.records import Record
from spcl.verification.calibrate import calibrate, store_calibration
from spcl.verification.calibration_pairs import labelled_pairs, moments_of, unlabelled_pairs
from spcl.verification.compare import compare
from spcl.verification.stored_calibration import EncoderCalibration, stored_calibration
from tests.fakes import draw
from tests.input_errors import input_error
from tests.mixtures import mixture, true_pairs


def write_checkpoint(path: Path, domains: tuple[str, ...] = ("target",)) -> Path:
    torch.manual_seed(0)
    settings = EncoderSettings(arch="timm/test_resnet", height=32, width=16, domains=domains)
    network = EncoderNetwork(settings)
    save_atomically(checkpoint_of(network, epoch=1, best_mean_ap=None, facts={"data": "x"}), path)
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crops")
    return [
        Record(draw(folder / f"{identity}_{shot}_c{shot % 2}.png", identity, shot), identity, shot % 2)
        for identity in range(8)
        for shot in range(6)
    ]


@pytest.fixture
def checkpoint(tmp_path):
    return write_checkpoint(tmp_path / "c.pth.tar")


def of_features(features, identities, *, labelled=True):
    records = [Record(Path(str(row)), int(identities[row]) if labelled else None) for row in range(len(features))]
    return EmbeddedImages(tuple(records), features)


def test_it_lives_in_the_checkpoint_and_the_weights_stay(checkpoint, images):
    encoder = load_encoder(checkpoint)
    assert stored_calibration(encoder) is None
    found = calibrate(encoder, images, labelled=True)
    assert (found.origin, found.num_images, found.num_groups) == ("labels", 48, 8)
    assert found.fingerprint == encoder.fingerprint
    store_calibration(checkpoint, found)
    again = load_encoder(checkpoint)
    assert again.fingerprint == encoder.fingerprint
    assert stored_calibration(again) == found
    assert load_facts(checkpoint)["data"] == "x"
    assert [path.name for path in checkpoint.parent.iterdir()] == ["c.pth.tar"]
    assert EncoderCalibration.from_dict(found.to_dict()) == found


def test_another_domain_has_other_similarities(tmp_path, images):
    path = write_checkpoint(tmp_path / "two.pth.tar", domains=("source", "target"))
    source = load_encoder(path, domain="source")
    with torch.no_grad():
        for name, value in source.network.state_dict().items():
            if name == "neck.running_mean":
                value += 1e-4
    store_calibration(path, calibrate(source, images, labelled=True))
    target = load_encoder(path)
    assert stored_calibration(target) is None
    answer = compare(target, images[0].path, images[1].path)
    assert (answer.verdict, answer.probability) == (None, None)
    assert "of other weights or another domain" in answer.warning


@pytest.mark.slow
def test_the_same_seed_gives_the_same_calibration(checkpoint, images):
    encoder = load_encoder(checkpoint)
    assert calibrate(encoder, images, seed=3) == calibrate(encoder, images, seed=3)
    assert calibrate(encoder, images, seed=3) != calibrate(encoder, images, seed=4)


def test_without_labels_no_identity_is_read(checkpoint, images):
    encoder = load_encoder(checkpoint)
    shuffled = [Record(r.path, (row * 7) % 5, r.camera) for row, r in enumerate(images)]
    assert calibrate(encoder, images) == calibrate(encoder, shuffled)


def test_a_broken_image_is_named_and_left_out(checkpoint, images, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    found = calibrate(load_encoder(checkpoint), [Record(tmp_path / "broken.png"), *images])
    assert found.num_images == 48
    assert "1 images could not be read; the first, broken.png: " in found.notes[0]
    assert str(tmp_path) not in found.notes[0]  # it is stored in a checkpoint, which is given away


@pytest.mark.slow
def test_rare_rates_without_labels_are_told(checkpoint, images):
    encoder = load_encoder(checkpoint)
    found = calibrate(encoder, images)
    assert "without labels" in found.threshold(0.001).warning
    assert "without labels" not in (found.threshold(0.1).warning or "")
    assert (
        "without labels"
        in compare(encoder, images[0].path, images[1].path, false_match_rate=0.001, calibration=found).warning
    )
    assert "without labels" not in calibrate(encoder, images, labelled=True).threshold(0.001).warning


@pytest.mark.parametrize(
    ("chosen", "labelled", "code", "named"),
    [
        (lambda records: [Record(r.path) for r in records], True, "no-identities", "--labels"),
        (lambda records: records[:6], True, "too-few-pairs", "6 images of 1 identities: there are 9 same-object"),
        (lambda records: records[:2], False, "too-few-pairs", "there are 2 same-object"),
    ],
)
def test_too_few_images_are_an_error(checkpoint, images, chosen, labelled, code, named):
    with input_error(code, named):
        calibrate(load_encoder(checkpoint), chosen(images), labelled=labelled)


def test_a_damaged_calibration_is_an_error(checkpoint):
    encoder = load_encoder(checkpoint)
    for nonsense in ({"origin": "labels"}, "nonsense", {"calibration": 3}):
        encoder.facts["calibration"] = nonsense
        with input_error("not-a-calibration", "spcl calibrate"):
            stored_calibration(encoder)


@pytest.mark.parametrize(
    ("labelled", "rate"),
    [
        *[(True, 0.1), (False, 0.01)],
        *[
            pytest.param(*case, marks=pytest.mark.slow)
            for case in ((True, 0.01), (True, 0.001), (False, 0.1), (False, 0.001))
        ],
    ],
)
def test_on_other_identities_the_rate_is_kept_within_a_factor_of_two(labelled, rate):
    features, identities = mixture(num_identities=240, per_identity=8, seed=11)
    known = identities < 120
    images = of_features(features[known], identities[known], labelled=labelled)
    rng = np.random.default_rng(0)
    if labelled:
        pairs = labelled_pairs(images, rng)
    else:
        altered = features[known] + rng.normal(0, 0.2, features[known].shape).astype(np.float32)
        altered /= np.linalg.norm(altered, axis=1, keepdims=True)
        pairs = unlabelled_pairs(images, (altered * features[known]).sum(axis=1), None, rng)
        assert 30 < pairs.num_groups <= 240
    fitted = pairs.fit()
    _, different = true_pairs(features[~known], identities[~known])
    observed = (different >= fitted.threshold(rate).similarity).mean()
    assert rate / 2 < observed < 2 * rate


@pytest.mark.slow
@pytest.mark.parametrize("labelled", [True, False])
def test_how_far_rates_hold_for_others_is_known_with_labels_and_without(labelled):
    factors = {}
    for num in (30, 240):
        features, identities = mixture(num_identities=num, per_identity=8, seed=11)
        images = of_features(features, identities, labelled=labelled)
        rng = np.random.default_rng(0)
        pairs = labelled_pairs(images, rng) if labelled else unlabelled_pairs(images, np.full(50, 0.9), None, rng)
        fitted = pairs.fit()
        factors[num] = fitted.factor(0.001)
        assert fitted.num_objects == pairs.num_groups
        assert (fitted.labelled, fitted.strangers is not None) == (labelled, True)
    assert factors[30] > 1.3 * factors[240]
    assert fitted.is_kept(0.01)


def test_images_of_one_camera_at_one_time_are_different_objects():
    features, identities = mixture(num_identities=40, per_identity=10, seed=2)
    moments = np.tile(np.arange(10), 40)  # shot number 3 of all identities was taken at once
    images = of_features(features, identities, labelled=False)
    pairs = unlabelled_pairs(images, np.ones(50, dtype=np.float32), moments, np.random.default_rng(0))
    assert "one camera took at one time" in pairs.notes[-1]
    at_once = [
        float(features[first] @ features[second])
        for first in range(len(features))
        for second in range(first + 1, len(features))
        if moments[first] == moments[second]
    ]
    np.testing.assert_allclose(np.sort(pairs.different), np.sort(at_once), atol=1e-6)


@pytest.mark.slow
def test_times_that_are_too_coarse_are_not_used():
    features, identities = mixture(num_identities=40, per_identity=10, seed=2)
    moments = identities * 4 + np.tile(np.arange(10) // 3, 40)  # each object several times a moment, and alone
    images = of_features(features, identities, labelled=False)
    coarse, none = (
        unlabelled_pairs(images, np.ones(50, dtype=np.float32), given, np.random.default_rng(0))
        for given in (moments, None)
    )
    assert "times are not used" in coarse.notes[-1]
    assert coarse.different.max() < 0.99
    assert np.quantile(coarse.different, 0.99) == pytest.approx(np.quantile(none.different, 0.99), abs=0.03)


def test_calibrations_of_earlier_versions_know_their_objects(checkpoint, images):
    values = calibrate(load_encoder(checkpoint), images).to_dict()
    older = {name: value for name, value in values["calibration"].items() if name not in ("num_objects", "labelled")}
    read = EncoderCalibration.from_dict(values | {"calibration": older})
    assert (read.calibration.labelled, read.calibration.num_objects) == (False, values["num_groups"])


def test_moments_of_cameras_and_times():
    found = moments_of(["1", "1", "2", None, "1"], ["8:00", "8:00", "8:00", "8:00", None], 5)
    assert found.tolist() == [0, 0, 1, -1, -1]
    assert moments_of(None, ["8:00"], 1) is None


def test_compare(checkpoint, images):
    encoder = load_encoder(checkpoint)
    plain = compare(encoder, images[0].path, images[0].path)
    assert plain.similarity == pytest.approx(1, abs=1e-5)
    assert plain.verdict is None
    known = calibrate(encoder, images, labelled=True)
    same = compare(encoder, images[0].path, images[0].path, calibration=known)
    assert same.verdict == "same"
    assert same.probability > 0.5
    assert same.threshold == known.calibration.threshold(0.01).similarity
    features = encoder.embed([record.path for record in images])
    lowest = np.unravel_index(np.argmin(features @ features.T), (48, 48))
    apart = compare(encoder, *(images[row].path for row in lowest), calibration=known)
    assert apart.verdict != "same"
    assert apart.probability < same.probability
    with input_error("setting-out-of-range", "2"):
        compare(encoder, images[0].path, images[1].path, false_match_rate=2)
