"""Names for probes, and nobody's below the threshold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spcl.verification.calibration import Calibration
from spcl.verification.identification import Enrolled, IdentitySums
from spcl.verification.stranger_scores import StrangerScores
from tests.mixtures import mixture, true_pairs


def unit(rows):
    rows = np.asarray(rows, dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def pairs_of(features, identities):
    return Calibration.fit(*true_pairs(features, identities))


def test_means_and_scores_by_hand():
    features = unit([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1]])
    enrolled = Enrolled.from_features(features, ["a", "a", "b", "b"])
    assert enrolled.identities == ("a", "b")
    np.testing.assert_allclose(enrolled.means[0], np.array([1, 1, 0]) / np.sqrt(2), atol=1e-6)
    assert enrolled.counts.tolist() == [2, 2]
    assert enrolled.lengths[0] == pytest.approx(np.sqrt(0.5))
    # The own mean leaves the image itself out: it is the other shot.
    np.testing.assert_allclose(enrolled.genuine, [0, 0, np.sqrt(0.5), np.sqrt(0.5)], atol=1e-6)
    others = [enrolled.means[1], enrolled.means[1], enrolled.means[0], enrolled.means[0]]
    np.testing.assert_allclose(enrolled.impostor, (features * others).sum(axis=1), atol=1e-6)


def test_scores_equal_a_slow_oracle():
    features, identities = mixture(num_identities=12, per_identity=4, seed=5, noise=0.4)
    enrolled = Enrolled.from_features(features, identities.tolist())
    for row, identity in enumerate(identities):
        best = -1.0
        for other in set(identities.tolist()) - {int(identity)}:
            mean = features[identities == other].astype(np.float64).mean(axis=0)
            best = max(best, float(features[row] @ mean / np.linalg.norm(mean)))
        assert enrolled.impostor[row] == pytest.approx(best, abs=1e-5)
        rest = features[(identities == identity) & (np.arange(len(features)) != row)].mean(axis=0)
        assert enrolled.genuine[row] == pytest.approx(float(features[row] @ rest / np.linalg.norm(rest)), abs=1e-5)


def test_sums_batch_by_batch_are_the_same():
    features, identities = mixture(num_identities=6, per_identity=5, seed=1)
    whole = Enrolled.from_features(features, identities.tolist())
    sums = IdentitySums(features.shape[1])
    for at in range(0, len(features), 7):
        sums.add(features[at : at + 7], identities[at : at + 7].tolist())
    parts = sums.enrolled(features, identities.tolist())
    np.testing.assert_allclose(parts.means, whole.means, atol=1e-6)
    np.testing.assert_allclose(parts.impostor, whole.impostor, atol=1e-6)


def observed(enrolled_of, num_identities, rate, seed):
    """Share of strangers' probes that are given a name, share of known probes that are named rightly."""
    features, identities = mixture(num_identities=2 * num_identities, per_identity=10, seed=seed)
    is_shot = np.tile(np.arange(10) < 5, 2 * num_identities)
    known = identities < num_identities
    enrolled = enrolled_of(features[is_shot & known], identities[is_shot & known].tolist())
    strangers = enrolled.identify(features[~known], rate)
    probes = enrolled.identify(features[~is_shot & known], rate)
    right = [answer.identity == identity for answer, identity in zip(probes, identities[~is_shot & known], strict=True)]
    return np.mean([answer.identity is not None for answer in strangers]), np.mean(right)


@pytest.mark.parametrize("rate", [0.1, 0.01])
def test_strangers_are_named_as_rarely_as_asked_for(rate):
    named, right = observed(Enrolled.from_features, 200, rate, seed=0)
    assert rate / 2 < named < 2 * rate
    assert right > 0.7


def test_a_small_gallery_goes_by_the_calibration_of_pairs():
    features, identities = mixture(num_identities=200, per_identity=5, seed=7)
    pairs = pairs_of(features, identities)

    def enrolled_of(shots, names):
        enrolled = Enrolled.from_features(shots, names, pairs=pairs)
        assert enrolled.basis(0.1) == "calibration"
        return enrolled

    rates = [observed(enrolled_of, 6, 0.1, seed=seed)[0] for seed in range(20)]
    assert 0.05 < np.mean(rates) < 0.2
    # More identities, more ways to be mistaken: a higher threshold.
    few, more = (Enrolled.from_features(features[: 5 * n], identities[: 5 * n].tolist(), pairs=pairs) for n in (2, 9))
    assert few.threshold(0.1).similarity < more.threshold(0.1).similarity


def test_a_small_gallery_goes_by_what_strangers_reached_where_that_was_measured():
    features, identities = mixture(num_identities=200, per_identity=8, seed=7)
    bound = pairs_of(features, identities)
    strangers = StrangerScores.measure(features, identities, identities, np.random.default_rng(0))
    for rate in (0.1, 0.03):
        told = {}
        for name, pairs in (("bound", bound), ("measured", replace(bound, strangers=strangers))):
            draws = [
                observed(lambda *shots, p=pairs: Enrolled.from_features(*shots, pairs=p), 6, rate, seed=seed)
                for seed in range(25)
            ]
            told[name] = np.mean(draws, axis=0)[0]
        assert rate / 2 < told["measured"] < 2 * rate
        # A bound names fewer strangers than it may.
        assert told["bound"] < 0.8 * told["measured"]


def test_a_calibration_of_many_is_surer_than_a_gallery_of_few():
    features, identities = mixture(num_identities=240, per_identity=6, seed=3)
    known = identities < 200
    first, second = np.triu_indices(known.sum(), 1)
    similarities = np.einsum("pd,pd->p", features[first], features[second])
    same = identities[first] == identities[second]
    groups = np.stack([identities[first], identities[second]], axis=1)[~same]
    strangers = StrangerScores.measure(features[known], identities[known], identities[known], np.random.default_rng(0))
    pairs = Calibration.fit(similarities[same], similarities[~same], different_groups=groups, strangers=strangers)

    def basis(rate, num, calibration):
        rows = slice(0, 6 * num)
        return Enrolled.from_features(features[rows], identities[rows].tolist(), pairs=calibration).basis(rate)

    assert pairs.is_kept(0.01)
    assert basis(0.01, 25, pairs) == "calibration"
    # Who has many identities knows them best; and so it is where the calibration is no surer, or was made otherwise.
    assert basis(0.1, 240, pairs) == "gallery"
    assert strangers.most_identities == 64
    assert basis(0.01, 65, pairs) == "gallery"
    assert basis(0.0001, 25, pairs) == "gallery"
    for other in (None, replace(pairs, labelled=False), replace(pairs, strangers=None), replace(pairs, num_objects=10)):
        assert basis(0.01, 25, other) == "gallery"
    assert basis(0.1, 4, replace(pairs, labelled=False)) == "calibration"


def test_few_who_are_enrolled_are_told():
    features, identities = mixture(num_identities=200, per_identity=6, seed=3)
    strangers = StrangerScores.measure(features, identities, identities, np.random.default_rng(0))
    pairs = replace(pairs_of(features, identities), strangers=strangers)
    one = Enrolled.from_features(features[:6], identities[:6].tolist(), pairs=pairs)
    warning = one.threshold(0.01).warning
    assert "few identities are enrolled (1)" in warning
    assert "pairs of one object" not in warning
    # A calibration of earlier versions has no scores of strangers.
    older = Enrolled.from_features(features[:6], ["a"] * 6, pairs=replace(pairs, strangers=None, labelled=False))
    assert "calibrated without labels" in older.threshold(0.05).warning
    assert "calibrated without labels" not in (older.threshold(0.1).warning or "")
    opposite = Enrolled.from_features(unit([[1, 0], [-1, 0]]), ["a", "a"], pairs=replace(pairs, strangers=None))
    assert opposite.threshold(0.01).similarity < 1


def test_images_under_two_names_are_told():
    features, identities = mixture(num_identities=15, per_identity=1, seed=3)
    twice = Enrolled.from_features(np.concatenate([features] * 2), [f"{i} {n}" for n in "ab" for i in identities])
    with pytest.raises(ValueError, match="most enrolled images have an identical image under another identity"):
        twice.threshold(0.01)


def test_one_shot_of_one_identity_is_a_pair():
    features, identities = mixture(num_identities=60, per_identity=6, seed=9)
    # Measured on the ten identities that resemble others most, as clusters may be.
    near = np.sort(features @ features.T, axis=1)[:, -30]
    dense = np.isin(identities, identities[np.argsort(near)[-60:]])
    pairs = replace(
        pairs_of(features, identities),
        strangers=StrangerScores.measure(
            features, np.where(dense, identities, -1), identities, np.random.default_rng(0)
        ),
    )
    one = Enrolled.from_features(features[:1], ["a"], pairs=pairs)
    several = Enrolled.from_features(features[:24], identities[:24].tolist(), pairs=pairs)
    for rate in (0.1, 0.01):
        assert one.threshold(rate).similarity == pytest.approx(pairs.threshold(rate).similarity, abs=1e-9)
        assert several.threshold(rate).similarity > one.threshold(rate).similarity


def test_probabilities_tell_known_from_strange():
    features, identities = mixture(num_identities=100, per_identity=6, seed=2)
    known = identities < 50
    shots = np.tile(np.arange(6) < 3, 100)
    for pairs in (None, pairs_of(features[known], identities[known])):
        few = known if pairs is None else identities < 8
        enrolled = Enrolled.from_features(features[few & shots], identities[few & shots].tolist(), pairs=pairs)
        mine = [answer.probability for answer in enrolled.identify(features[few & ~shots])]
        strange = [answer.probability for answer in enrolled.identify(features[~known])]
        assert np.median(mine) > 0.8
        assert np.median(strange) < 0.3


def test_the_answer_names_the_runner_up_and_the_nearest_of_a_stranger():
    features, identities = mixture(num_identities=20, per_identity=5, seed=4)
    enrolled = Enrolled.from_features(features[:75], [f"name {i}" for i in identities[:75]])
    answer = enrolled.identify(features[:1])[0]
    similarities = enrolled.means @ features[0]
    order = np.argsort(-similarities)
    assert (answer.identity, answer.nearest) == ("name 0", "name 0")
    assert answer.similarity == pytest.approx(similarities[order[0]], abs=1e-6)
    assert answer.runner_up == enrolled.identities[order[1]]
    assert answer.runner_up_similarity == pytest.approx(similarities[order[1]], abs=1e-6)
    stranger = enrolled.identify(-enrolled.means[:1])[0]
    assert stranger.identity is None
    assert stranger.nearest in enrolled.identities


def test_one_shot_of_each_gives_a_threshold_and_no_probability():
    features, identities = mixture(num_identities=60, per_identity=1, seed=0)
    enrolled = Enrolled.from_features(features, identities.tolist())
    assert len(enrolled.genuine) == 0
    assert enrolled.threshold(0.05).true_match_rate is None
    assert enrolled.identify(features[:1], 0.05)[0].probability is None
    assert enrolled.identify(features[:1], 0.05)[0].identity == 0
    assert enrolled.identify(np.empty((0, 32), dtype=np.float32)) == []


def test_few_identities_without_a_calibration_give_a_warning_or_an_error():
    features, identities = mixture(num_identities=4, per_identity=5, seed=0)
    few = Enrolled.from_features(features, identities.tolist())
    assert "few identities are enrolled (4)" in few.threshold(0.1).warning
    one = Enrolled.from_features(features[:5], [0] * 5)
    with pytest.raises(ValueError, match=r"0 images of 1 enrolled identities are too few .*spcl calibrate"):
        one.identify(features)
    many, groups = mixture(num_identities=50, per_identity=5, seed=3)
    alone = Enrolled.from_features(features[:5], [0] * 5, pairs=pairs_of(many, groups)).identify(features[:1])[0]
    assert (alone.identity, alone.runner_up, alone.runner_up_similarity) == (0, None, None)


def test_refusals():
    with pytest.raises(ValueError, match="2 features and 1 identities"):
        Enrolled.from_features(np.eye(2), [1])
    with pytest.raises(ValueError, match="no image with an identity is enrolled"):
        Enrolled.from_features(np.empty((0, 4)), [])
    features, identities = mixture(num_identities=12, per_identity=2, seed=0)
    with pytest.raises(ValueError, match="expected above 0 and below 1"):
        Enrolled.from_features(features, identities.tolist()).identify(features, 0.0)
