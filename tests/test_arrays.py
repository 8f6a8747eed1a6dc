"""Features are checked where they enter, the same way in every public function: the direction of a row counts."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.metrics import adjusted_rand_score

from spcl.arrays import finite_rows, unit_rows
from spcl.gallery.gallery import Gallery
from spcl.grouping.eps_choice import suggest
from spcl.grouping.groups import cluster
from spcl.grouping.label_free_quality import label_free_quality
from spcl.neighbours.nearest import nearest_neighbours
from spcl.retrieval.jaccard import jaccard_distance
from spcl.retrieval.k_reciprocal import k_reciprocal_encoding
from spcl.retrieval.matches import RankingLabels
from spcl.retrieval.ranking import rank_features
from spcl.retrieval.rerank import rerank
from spcl.selfpaced.pseudo_labels import pseudo_labels
from spcl.verification.identification import Enrolled


def raw_rows(num: int = 120, dim: int = 16) -> np.ndarray:
    """Rows of very different lengths around some directions."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((12, dim))[np.arange(num) % 12] + 0.15 * rng.standard_normal((num, dim))
    return (rows * np.exp(rng.normal(2, 2, (num, 1)))).astype(np.float32)


def normalised(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def to_gallery(rows, tmp_path):
    gallery = Gallery.create(tmp_path / f"g{len(list(tmp_path.iterdir()))}", fingerprint="any", dim=rows.shape[1])
    gallery.add_features(rows, [str(row) for row in range(len(rows))])
    return np.stack([hit.similarity for hits in gallery.search(rows[:4], k=5).hits for hit in hits])


PEOPLE = np.arange(120) % 12
EVERY = {
    "pseudo_labels": lambda rows, folder: pseudo_labels(rows, k1=8, eps=0.5).labels,
    "jaccard_distance": lambda rows, folder: jaccard_distance(rows, k1=8).toarray(),
    "k_reciprocal_encoding": lambda rows, folder: k_reciprocal_encoding(
        rows, nearest_neighbours(unit_rows(rows), 8).indices, k1=8
    ).toarray(),
    "cluster": lambda rows, folder: cluster(rows).group,
    "suggest": lambda rows, folder: np.array([suggest(rows).eps, suggest(rows).k1]),
    "label_free_quality": lambda rows, folder: np.array([label_free_quality(rows).mutual_neighbours]),
    "rerank": lambda rows, folder: rerank(rows[:20], rows[20:], k1=8),
    "rank_features": lambda rows, folder: (
        rank_features(
            rows[:20], rows[20:], RankingLabels.checked(PEOPLE[:20], PEOPLE[20:], protocol="no-camera")
        ).per_query_ap
    ),
    "Enrolled": lambda rows, folder: Enrolled.from_features(rows, PEOPLE.tolist()).means,
    "Gallery": to_gallery,
}


@pytest.mark.parametrize("name", EVERY)
def test_raw_rows_give_what_their_directions_give(name, tmp_path):
    raw = raw_rows()
    before = raw.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = EVERY[name](normalised(raw), tmp_path)
    with pytest.warns(UserWarning, match="not of unit length") as told:
        found = EVERY[name](raw, tmp_path)
    assert {warning.filename for warning in told if "unit length" in str(warning.message)} == {__file__}
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert np.array_equal(raw, before)


# A collapsed encoder is rated, not refused.
@pytest.mark.parametrize("name", [name for name in EVERY if name != "label_free_quality"])
def test_rows_without_a_direction_are_refused_by_number(name, tmp_path):
    for value, message in ((0, "rows of zeros"), (np.nan, "not finite"), (-np.inf, "not finite")):
        rows = normalised(raw_rows())
        rows[[7, 90]] = value
        with pytest.raises(ValueError, match=message) as refused:
            EVERY[name](rows, tmp_path)
        if name not in ("rerank", "rank_features"):
            assert "2 rows: 7, 90" in str(refused.value)


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 255.0, 1e6, 1e18, 1e30])
def test_no_length_changes_labels_or_gives_nan(scale):
    rows = normalised(raw_rows())
    large = (rows * np.float32(scale)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, again = pseudo_labels(large, k1=8).labels, cluster(large).group
        distance = rerank(large[:20], large[20:], k1=8)
    assert adjusted_rand_score(found, pseudo_labels(rows, k1=8).labels) == 1
    assert adjusted_rand_score(again, cluster(rows).group) == 1
    np.testing.assert_allclose(distance, rerank(rows[:20], rows[20:], k1=8), atol=2e-5)


def test_integers_that_crashed():
    rows = np.random.default_rng(0).integers(0, 256, (300, 16))
    with pytest.warns(UserWarning, match="row 174 has length 798.5"):
        found = pseudo_labels(rows, k1=10)
    assert np.array_equal(found.labels, pseudo_labels(normalised(rows.astype(np.float64)), k1=10).labels)
    assert np.array_equal(unit_rows(np.eye(3, dtype=np.uint8)).numpy(), np.eye(3))


def test_nothing_is_copied_or_changed_where_nothing_is_to_be_done():
    rows = torch.from_numpy(normalised(raw_rows()))
    assert unit_rows(rows).data_ptr() == rows.data_ptr()
    assert finite_rows(rows * 3).shape == rows.shape
    array = rows.numpy()
    array.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.shares_memory(unit_rows(array).numpy(), array)
    # What half precision rounds is mended in silence.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for low in (torch.float16, torch.bfloat16):
            mended = unit_rows(rows.to(low))
            assert (mended.norm(dim=1) - 1).abs().max() < 1e-5
    assert unit_rows(rows.requires_grad_()).requires_grad is False


def test_every_layout_is_read_the_same():
    rows = normalised(raw_rows())
    expected = jaccard_distance(rows, k1=8).toarray()
    wide = np.zeros((120, 32), dtype=np.float32)
    wide[:, ::2] = rows
    backwards = rows[::-1].copy()[::-1]
    same = (rows.astype(">f4"), rows.astype("<f8"), np.asfortranarray(rows), wide[:, ::2], backwards, rows.tolist())
    for other in (*same, rows.astype(np.longdouble), torch.from_numpy(rows).double()):
        assert np.array_equal(jaccard_distance(other, k1=8).toarray(), expected)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.ones(4), r"shape \(4,\); expected \[rows, columns\]"),
        (np.ones((2, 2, 2)), "expected .rows, columns."),
        (np.float32(3), r"shape \(\); expected"),
        (np.ones((3, 0)), "3 rows and no columns"),
        (np.ones((3, 2), dtype=complex), "complex128; expected real numbers"),
        (np.ones((3, 2), dtype=object), r"object; expected real numbers; .astype\('float32'\)"),
        (np.ones((3, 2), dtype=bool), "bool; expected real numbers"),
        (np.array([["a", "b"]]), "<U1; expected real numbers"),
        ([[1.0, 2.0], [3.0]], "cannot be read as an array"),
        (csr_array(np.eye(3)), "sparse array; give a dense one"),
        (np.ma.masked_array(np.eye(2), mask=[[1, 0], [0, 0]]), "masked array"),
        (torch.ones(3, 2, dtype=torch.complex64), "complex64; expected real numbers"),
        (torch.ones(3, 2, dtype=torch.bool), "bool; expected real numbers"),
        (torch.eye(3).to_sparse(), "give a dense one"),
    ],
)
def test_what_is_no_array_of_features_is_refused(rows, message):
    for check in (unit_rows, finite_rows):
        with pytest.raises(ValueError, match=message):
            check(rows)


def test_inner_products_stay_finite():
    with pytest.raises(ValueError, match="row 1"):
        nearest_neighbours(np.array([[1, 0], [np.nan, 1]], dtype=np.float32), 1)
    with pytest.raises(ValueError, match="too large for single precision"):
        nearest_neighbours(np.full((2, 2), 1e30, dtype=np.float32), 1)


NOT_COUNTS = (0, -3, 2.5, float("nan"), True, "4")


@pytest.mark.parametrize("call", [pseudo_labels, cluster, suggest])
def test_settings_out_of_range_are_named(call):
    rows = normalised(raw_rows())
    names = [(name, value) for name in ("k1", "k2", "min_samples") for value in NOT_COUNTS]
    reals = [("eps", value) for value in (-0.1, 1.0, float("nan"), float("inf"), "0.5")]
    if call is not suggest:
        reals += [("eps_gap", value) for value in (-0.1, float("nan"), 0.7)]
    for name, value in names + reals:
        with pytest.raises(ValueError, match=rf"^{name} is |eps_gap is ") as refused:
            call(rows, **{name: value})
        assert "must be" in str(refused.value)


def test_settings_of_the_others():
    rows = normalised(raw_rows())
    for settings in ({"k1": 0}, {"k2": 0}, {"cutoff": float("nan")}, {"cutoff": 1}):
        with pytest.raises(ValueError, match=f"^{next(iter(settings))} is"):
            jaccard_distance(rows, **settings)
    for settings in ({"k1": 0}, {"k2": -1}, {"lambda_value": float("nan")}, {"lambda_value": 1.5}):
        with pytest.raises(ValueError, match=f"^{next(iter(settings))} is"):
            rerank(rows[:2], rows[2:], **settings)
    for threshold in (float("nan"), 1.5, -0.1):
        with pytest.raises(ValueError, match="independence_threshold is"):
            pseudo_labels(rows, independence_threshold=threshold)


def test_more_neighbours_than_rows_are_all_rows():
    rows = normalised(raw_rows())[:5]
    assert np.array_equal(jaccard_distance(rows, k1=30).toarray(), jaccard_distance(rows, k1=5).toarray())
    for num in range(1, 4):
        few = rows[:num]
        assert len(pseudo_labels(few, min_samples=1).labels) == num
        assert len(cluster(few).group) == num
        assert np.isfinite(rerank(few, rows, k1=99, k2=99)).all()
        assert np.isfinite(rerank(rows, few)).all()
