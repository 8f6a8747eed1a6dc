"""The label stage in parts equals the one in memory, numbering included."""

import json
import shutil
import tracemalloc

import numpy as np
import pytest

from spcl.errors import InputError
from spcl.gallery.columns import described
from spcl.gallery.features_file import features_writer
from spcl.neighbours.nearest import nearest_neighbours
from spcl.partitioned import encodings, label_parts, memory_and_disk, near_pairs
from spcl.partitioned.label_parts import pseudo_labels_out_of_core
from spcl.partitioned.label_request import PartitionedLabelRequest
from spcl.selfpaced.pseudo_labels import pseudo_labels

SETTINGS = {"k1": 12, "k2": 4, "eps": 0.6, "eps_gap": 0.05}


@pytest.fixture
def rows_each(monkeypatch):
    """Sets the rows of a part, and accepts any memory."""

    def set_rows(number):
        monkeypatch.setattr(memory_and_disk, "MOST_ROWS_EACH", number)
        monkeypatch.setattr(memory_and_disk, "FEWEST_ROWS_EACH", 1)

    return set_rows


def clusters_and_noise(num, dim=16, seed=0, *, copies=0):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((max(2, num // 12), dim))
    rows = centres[rng.integers(len(centres), size=num)] + 0.35 * rng.standard_normal((num, dim))
    rows[rng.permutation(num)[: num // 10]] = rng.standard_normal((num // 10, dim))
    if copies:
        rows[rng.integers(num, size=copies)] = rows[rng.integers(num, size=copies)]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def assert_equal(found, wanted):
    for name in ("tight", "normal", "loose"):
        np.testing.assert_array_equal(getattr(found.scales, name), getattr(wanted.scales, name))
    for name in ("labels", "independence", "compactness"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    assert found.independence_threshold == wanted.independence_threshold


@pytest.mark.parametrize(("number", "k2"), [(1000, 4), (97, 4), (60, 1)])
def test_equals_the_result_in_memory_for_the_same_neighbours(tmp_path, rows_each, number, k2):
    rows_each(number)
    rows = clusters_and_noise(500, copies=60)
    settings = SETTINGS | {"k2": k2}
    near = nearest_neighbours(rows, 12).indices
    # Rows that found fewer.
    near[::7, 9:] = -1
    wanted = pseudo_labels(rows, neighbours=near, **settings)
    assert wanted.num_clusters > 10
    assert (wanted.scales.normal == -1).sum() > 10
    found = pseudo_labels_out_of_core(PartitionedLabelRequest(rows, tmp_path / "work", neighbours=near, **settings))
    assert_equal(found.labels, wanted)
    assert found.engine == "given"


def test_distances_are_equal_to_the_bit(tmp_path, rows_each, monkeypatch):
    from spcl.retrieval.jaccard import jaccard_distance

    rows_each(60)
    rows = clusters_and_noise(400, seed=3, copies=30)
    near = nearest_neighbours(rows, 12).indices
    kept = []
    of_pairs = label_parts.dbscan_of_pairs
    monkeypatch.setattr(
        label_parts,
        "dbscan_of_pairs",
        lambda read, *rest, **how: (
            kept.append([[np.array(array) for array in pairs] for pairs in read()]) or of_pairs(read, *rest, **how)
        ),
    )
    pseudo_labels_out_of_core(PartitionedLabelRequest(rows, tmp_path / "work", neighbours=near, **SETTINGS))
    first, second, values = (np.concatenate(arrays) for arrays in zip(*kept[0], strict=True))
    wanted = jaccard_distance(rows, k1=12, k2=4, cutoff=0.6 + 0.05, neighbours=near).tocoo()
    upper = wanted.row <= wanted.col
    pairs = {
        (min(pair), max(pair)): value for *pair, value in zip(first.tolist(), second.tolist(), values, strict=True)
    }
    assert len(pairs) == len(values)
    assert pairs == dict(zip(zip(wanted.row[upper], wanted.col[upper], strict=True), wanted.data[upper], strict=True))


@pytest.mark.parametrize("number", [5000, pytest.param(1700, marks=pytest.mark.slow)])
def test_exact_search_equals_the_default_in_memory(tmp_path, rows_each, number):
    rows_each(number)
    rows = clusters_and_noise(4200, copies=200)
    np.save(tmp_path / "features.npy", rows)
    found = pseudo_labels_out_of_core(PartitionedLabelRequest(tmp_path / "features.npy", tmp_path / "work", **SETTINGS))
    assert (found.engine, found.recall) == ("torch", 1)
    assert_equal(found.labels, pseudo_labels(rows, **SETTINGS))


def test_approximate_search_equals_the_one_in_memory(tmp_path, rows_each):
    rows_each(1500)
    rows = clusters_and_noise(6000, dim=8, copies=100)
    near = nearest_neighbours(rows, 12, engine="approximate")
    assert near.engine == "approximate"
    found = pseudo_labels_out_of_core(
        PartitionedLabelRequest(rows, tmp_path / "work", engine="approximate", **SETTINGS)
    )
    assert (found.engine, found.recall) == ("approximate", pytest.approx(near.recall))
    assert_equal(found.labels, pseudo_labels(rows, neighbours=near.indices, **SETTINGS))


@pytest.mark.parametrize("rows", [np.eye(1, 4), np.eye(3, 4), np.ones((40, 4))])
def test_few_rows_and_equal_rows(tmp_path, rows):
    found = pseudo_labels_out_of_core(
        PartitionedLabelRequest(rows / np.linalg.norm(rows, axis=1)[:, None], tmp_path / "w")
    )
    assert_equal(found.labels, pseudo_labels(rows / np.linalg.norm(rows, axis=1)[:, None]))


@pytest.mark.parametrize("stage", ["_search", "_encoding", "_expansion", "_pairs", "_clusters"])
def test_goes_on_after_a_stop(tmp_path, rows_each, monkeypatch, stage):
    rows_each(60)
    rows = clusters_and_noise(300)
    request = PartitionedLabelRequest(rows, tmp_path / "work", **SETTINGS)
    saves = []
    with monkeypatch.context() as patched:
        save = label_parts.Parts.save

        def stopped(self, part, arrays):
            saves.append((self.folder.name, part))
            if (self.folder.name, part) == (NAMES[stage], 3):
                raise KeyboardInterrupt
            save(self, part, arrays)

        patched.setattr(label_parts.Parts, "save", stopped)
        if stage == "_clusters":
            patched.setattr(label_parts, "dbscan_of_pairs", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            pseudo_labels_out_of_core(request)
    before = len(saves)
    with monkeypatch.context() as patched:
        patched.setattr(
            label_parts.Parts,
            "save",
            lambda self, part, arrays: saves.append((self.folder.name, part)) or save(self, part, arrays),
        )
        assert_equal(pseudo_labels_out_of_core(request).labels, pseudo_labels(rows, **SETTINGS))
    # What was written is not computed again.
    done = set(saves[: before if stage == "_clusters" else before - 1])
    assert not done & set(saves[before:])


NAMES = {"_search": "neighbours", "_encoding": "encodings", "_expansion": "columns", "_pairs": "pairs", "_clusters": ""}


def test_a_finished_folder_gives_its_result(tmp_path, monkeypatch):
    rows = clusters_and_noise(200)
    request = PartitionedLabelRequest(rows, tmp_path / "work", **SETTINGS)
    first = pseudo_labels_out_of_core(request)
    monkeypatch.setattr(label_parts._Run, "_search", None)
    second = pseudo_labels_out_of_core(request)
    assert_equal(second.labels, first.labels)
    assert second.seconds == first.seconds
    assert {place.name for place in (tmp_path / "work").iterdir()} <= {"label_stage.json", "scales", ".lock"}


@pytest.mark.parametrize(
    ("change", "word"),
    [({"eps": 0.5}, "eps"), ({"k1": 11}, "k1"), ({"features": clusters_and_noise(200, seed=1)}, "features")],
)
def test_a_folder_of_another_run_is_refused(tmp_path, change, word):
    request = {"features": clusters_and_noise(200), "work_dir": tmp_path / "work", **SETTINGS}
    pseudo_labels_out_of_core(PartitionedLabelRequest(**request))
    with pytest.raises(InputError, match=f"its {word} is") as error:
        pseudo_labels_out_of_core(PartitionedLabelRequest(**request | change))
    assert error.value.code == "other-run"


def test_mistakes(tmp_path):
    rows = clusters_and_noise(50)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note.txt").write_text("keep")
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY")
    np.save(tmp_path / "flat.npy", np.ones(5))
    np.save(tmp_path / "words.npy", np.array([["a"]]))
    for features, folder, code in [
        (rows, tmp_path / "mine", "already-exists"),
        (tmp_path / "none.npy", tmp_path / "w", "not-a-features-file"),
        (tmp_path / "mine", tmp_path / "w", "not-a-features-file"),
        (tmp_path / "broken.npy", tmp_path / "w", "damaged-file"),
        (tmp_path / "flat.npy", tmp_path / "w", "not-a-features-file"),
        (tmp_path / "words.npy", tmp_path / "w", "not-a-features-file"),
        (rows[:0], tmp_path / "w", "wrong-number-of-rows"),
    ]:
        with pytest.raises(InputError) as error:
            pseudo_labels_out_of_core(PartitionedLabelRequest(features, folder))
        assert error.value.code == code
    assert not (tmp_path / "w").exists()
    assert (tmp_path / "mine" / "note.txt").read_text() == "keep"
    with pytest.raises(InputError) as error:
        pseudo_labels_out_of_core(PartitionedLabelRequest(rows, tmp_path / "w", neighbours=np.full((50, 5), 50)))
    assert error.value.code == "wrong-neighbours"
    with pytest.raises(ValueError, match="eps"):
        PartitionedLabelRequest(rows, tmp_path / "w", eps=1)


def test_too_little_memory_or_disk_is_refused_before_the_work(tmp_path, monkeypatch):
    rows = clusters_and_noise(50)
    with pytest.raises(InputError, match=r"at least 0\.7 GB of memory") as error:
        pseudo_labels_out_of_core(PartitionedLabelRequest(rows, tmp_path / "w", memory=10**8))
    assert error.value.code == "memory-too-small"
    monkeypatch.setattr(label_parts.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(InputError) as error:
        pseudo_labels_out_of_core(PartitionedLabelRequest(rows, tmp_path / "w"))
    assert error.value.code == "disk-too-small"
    monkeypatch.undo()
    assert pseudo_labels_out_of_core(PartitionedLabelRequest(rows, tmp_path / "w")).labels is not None


def test_a_damaged_log_is_named(tmp_path):
    request = PartitionedLabelRequest(clusters_and_noise(60), tmp_path / "w", **SETTINGS)
    pseudo_labels_out_of_core(request)
    (tmp_path / "w" / "label_stage.json").write_text(json.dumps([]))
    with pytest.raises(InputError, match=r"label_stage\.json cannot be read"):
        pseudo_labels_out_of_core(request)


def test_the_largest_arrays_are_bounded_by_the_rows_of_a_part(tmp_path, rows_each, monkeypatch):
    """Rows without structure, so that the neighbours of a part are all over the set."""
    rows_each(20)
    rows = np.random.default_rng(0).standard_normal((240, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    gathered, compared, parts = [], [], []
    weigh, compare, convert = encodings.softmax_weights, near_pairs.near_pairs, label_parts.columns_of
    monkeypatch.setattr(
        encodings, "softmax_weights", lambda rows, *rest: gathered.append(len(rows)) or weigh(rows, *rest)
    )
    monkeypatch.setattr(
        near_pairs, "near_pairs", lambda by_row, *rest: compared.append(len(by_row.values)) or compare(by_row, *rest)
    )
    monkeypatch.setattr(label_parts, "columns_of", lambda part: parts.append(len(part.values)) or convert(part))
    found = pseudo_labels_out_of_core(PartitionedLabelRequest(rows, tmp_path / "w", **SETTINGS))
    assert_equal(found.labels, pseudo_labels(rows, **SETTINGS))
    assert max(gathered) <= memory_and_disk.GATHERED_ROWS * 20
    # The part itself, and as many entries of later parts.
    assert max(compared) <= 2 * max(parts) < sum(parts) / 3


def test_memory_for_each_row_is_at_most_as_stated(tmp_path):
    """The step with most numbers for each row: the reliability."""
    peaks = []
    for num in (2000, 4000):
        request = PartitionedLabelRequest(clusters_and_noise(num), tmp_path / str(num), **SETTINGS)
        pseudo_labels_out_of_core(request)
        tracemalloc.start()
        pseudo_labels_out_of_core(request)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert 48 * 2000 < peaks[1] - peaks[0] < memory_and_disk.ROW_BYTES * 2000


def test_features_of_spcl_embed(tmp_path):
    rows = clusters_and_noise(300, dim=8)
    with features_writer(tmp_path / "f.parquet", 8, {"fingerprint": "x", "flip": False}) as writer:
        for start in range(0, 300, 100):
            writer.write(described([f"{at}.jpg" for at in range(start, start + 100)]), rows[start : start + 100])
    found = pseudo_labels_out_of_core(PartitionedLabelRequest(tmp_path / "f.parquet", tmp_path / "w", **SETTINGS))
    assert_equal(found.labels, pseudo_labels(rows, **SETTINGS))


def test_long_rows_are_normalised_with_a_warning_and_rows_of_zeros_are_named(tmp_path):
    rows = clusters_and_noise(60)
    with pytest.warns(UserWarning, match="not of unit length"):
        found = pseudo_labels_out_of_core(PartitionedLabelRequest(5 * rows, tmp_path / "w", **SETTINGS))
    assert_equal(found.labels, pseudo_labels(rows, **SETTINGS))
    rows[7] = 0
    with pytest.raises(ValueError, match=r"rows of zeros.*row 7"):
        pseudo_labels_out_of_core(PartitionedLabelRequest(rows, tmp_path / "v", **SETTINGS))
