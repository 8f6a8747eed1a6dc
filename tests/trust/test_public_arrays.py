"""Arrays and settings that cannot be meant, given to every public function that takes arrays.

Each is a ``ValueError`` that names the argument, or is accepted where the function says so; never an error of torch,
NumPy or numba, and never a result. ``SelfPacedClustering`` is not here: which arrays an estimator takes is a rule of
scikit-learn, whose own checks are run in ``tests/grouping/test_estimator.py``.
"""

from __future__ import annotations

import inspect
import math
import warnings
from functools import partial

import numpy as np
import pytest
import torch

import spcl
from spcl.selfpaced.sharded_memory import ShardedMemory, sharded_contrastive_loss
from spcl.training.cluster_memory import ClusterMemory
from tests.gallery.features import names, unit_rows
from tests.trust.tally import record

NUM, DIM = 40, 8
ROWS = unit_rows(NUM, dim=DIM)
IDS = np.arange(NUM) // 4
THIRD = np.arange(NUM)[:, None] == 3

WRONG_ROWS = {
    "object": ROWS.astype(object),
    "complex": ROWS.astype(complex),
    "text": ROWS.astype(str),
    "bool": ROWS > 0,
    "time": np.zeros((NUM, DIM), "M8[s]"),
    "structure": np.zeros((NUM, DIM), [("a", "f4")]),
    "ragged": [[1.0, 2.0], [3.0]],
    "three axes": ROWS[None],
    "NaN": np.where(THIRD, np.nan, ROWS),
    "none": None,
    "word": "abc",
    "number": 3,
    "mapping": {},
    "complex tensor": torch.tensor(ROWS.astype(np.complex64)),
    "bool tensor": torch.tensor(ROWS > 0),
    "sparse tensor": torch.tensor(ROWS).to_sparse(),
}
WRONG_NUMBERS = {
    "fractions": IDS + 0.5,
    "NaN": np.full(NUM, np.nan),
    "objects": np.array([object()] * NUM),
    "text": IDS.astype(str),
    "complex": IDS + 1j,
    "bool": IDS > 3,
    "too large": np.full(NUM, 2**70, dtype=object),
    "too large for a sign": np.full(NUM, 2**64 - 1, dtype=np.uint64),
    "float tensor": torch.zeros(NUM),
    "none": None,
}
WRONG_SLOTS = {"negative": -IDS - 1, "out of range": IDS + 10**6, "few": IDS[:3], "two axes": np.stack([IDS, IDS], 1)}
WRONG_TABLES = {
    "out of range": np.full((NUM, 30), NUM),
    "negative": np.full((NUM, 30), -2),
    "fractions": np.zeros((NUM, 30)) + 0.5,
    "objects": np.zeros((NUM, 30)).astype(object),
    "few rows": np.zeros((3, 30), int),
    "one axis": IDS,
}
WRONG_PAIRS = {
    "out of range": [[0, NUM]],
    "negative": [[-1, 2]],
    "fractions": [[0, 1.5]],
    "three": [[1, 2, 3]],
    "objects": [[object(), 1]],
}
WRONG_SETTINGS = [math.nan, math.inf, -math.inf, -1, -0.5, "x", [], 10**30, 1j, object(), np.array([1, 2]), None]


def memory():
    return spcl.HybridMemory.from_rows(torch.tensor(ROWS), torch.tensor(IDS))


def of_kind(kind):
    if kind == "whole":
        return memory()
    if kind == "cluster":
        made = ClusterMemory(NUM, DIM, 0.2, "momentum")
    else:
        made = ShardedMemory(NUM, DIM, runtime=Alone(), momentum=0.2)
    made.fill(torch.tensor(ROWS))
    made.relabel(torch.tensor(IDS))
    return made


def loss_of(made, inputs, slots, temperature=0.05):
    loss = sharded_contrastive_loss if isinstance(made, ShardedMemory) else spcl.contrastive_loss
    return loss(inputs, slots, made, temperature=temperature)


class Alone:
    """The runtime of one process, as far as a sharded memory uses it."""

    device, rank, num_processes = torch.device("cpu"), 0, 1

    def part(self, count, rank=0):
        return range(count)

    def sum(self, values):
        return values


KINDS = ("whole", "cluster", "sharded")


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    made = spcl.Gallery.create(tmp_path_factory.mktemp("arrays") / "g", fingerprint="x", dim=DIM)
    made.add_features(ROWS, names(NUM), identities=IDS.tolist())
    return made


class Tried:
    """Calls that must end with a ``ValueError``, and those that did not."""

    def __init__(self):
        self.num, self.wrong = 0, []

    def refuses(self, where, call, named=""):
        self.num += 1
        try:
            call()
        except ValueError as error:
            if named and not any(word in str(error) for word in named.split("|")):
                self.wrong.append(f"{where}: the message does not name {named}: {error}")
        except Exception as error:
            self.wrong.append(f"{where}: {type(error).__name__}: {error}")
        else:
            self.wrong.append(f"{where}: accepted")

    def done(self, check):
        record("Hostile files", check, self.num, self.num - len(self.wrong))
        assert not self.wrong, "\n".join(self.wrong)


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_features(gallery):
    tried, held = Tried(), memory()
    slots = torch.arange(NUM)
    calls = {
        "pseudo_labels": spcl.pseudo_labels,
        "jaccard_distance": spcl.jaccard_distance,
        "cluster": lambda a: spcl.cluster(a, eps=0.5, k1=5),
        "suggest": spcl.suggest,
        "rerank query": lambda a: spcl.rerank(a, ROWS),
        "rerank gallery": lambda a: spcl.rerank(ROWS, a),
        "rank_metrics": lambda a: spcl.rank_metrics(a, IDS, IDS[:DIM], IDS, IDS[:DIM] + 100),
        "from_rows": lambda a: spcl.HybridMemory.from_rows(a, slots),
        "add_features": lambda a: gallery.add_features(a, names(NUM)),
        "search": gallery.search,
        "nearest_of": lambda a: gallery.nearest_of(a, ["1"] * NUM),
    }
    for kind in KINDS:
        made = of_kind(kind)
        calls |= {
            f"fill of {kind}": made.fill,
            f"put of {kind}": partial(made.put, 0),
            f"update of {kind}": lambda a, made=made: made.update(a, slots),
            f"loss of {kind}": lambda a, made=made: loss_of(made, a, slots),
        }
    for name, call in calls.items():
        for what, rows in WRONG_ROWS.items():
            tried.refuses(f"{name} of {what}", lambda call=call, rows=rows: call(rows))
    before = held.features.clone()
    with pytest.raises(ValueError, match=r"NaN or infinite in the rows \[3\]"):
        spcl.contrastive_loss(torch.tensor(WRONG_ROWS["NaN"]), slots, held)
    assert torch.equal(held.features, before)
    tried.done("features of a wrong type, shape or value, in every public function of arrays: a `ValueError`")


def test_whole_numbers(gallery):
    tried = Tried()
    rows = torch.tensor(ROWS)
    distance = np.zeros((NUM, 10))
    of = (IDS, IDS[:10], IDS, IDS[:10] + 100)
    calls = {
        "relabel": lambda a: memory().relabel(a),
        "relabel of sharded": lambda a: of_kind("sharded").relabel(a),
        "from_rows": lambda a: spcl.HybridMemory.from_rows(rows, a),
        "from_labels": spcl.PseudoLabels.from_labels,
        "query_ids": lambda a: spcl.rank_metrics(distance, a, *of[1:]),
        "gallery_ids": lambda a: spcl.rank_metrics(distance, of[0], a[:10], *of[2:]),
        "query_cameras": lambda a: spcl.rank_metrics(distance, *of[:2], a, of[3]),
    }
    for kind in KINDS:
        made = of_kind(kind)
        calls |= {
            f"slots of update of {kind}": partial(made.update, rows),
            f"slots of loss of {kind}": partial(loss_of, made, rows),
        }
    for name, call in calls.items():
        wrong = WRONG_NUMBERS | (WRONG_SLOTS if name.startswith("slots") else {})
        for what, numbers in wrong.items():
            if numbers is not None or name != "gallery_ids":
                tried.refuses(f"{name} of {what}", lambda call=call, numbers=numbers: call(numbers))
    tables = (spcl.pseudo_labels, spcl.jaccard_distance, spcl.cluster, spcl.suggest)
    for function in tables:
        for what, table in WRONG_TABLES.items():
            tried.refuses(
                f"{function.__name__} with neighbours {what}",
                lambda call=function, table=table: call(ROWS, neighbours=table),
                "neighbours",
            )
    for argument in ("must_link", "cannot_link"):
        for what, pairs in WRONG_PAIRS.items():
            tried.refuses(
                f"{argument} {what}",
                lambda argument=argument, pairs=pairs: spcl.pseudo_labels(ROWS, **{argument: pairs}),
                argument,
            )
    tried.refuses("nearest_of", lambda: gallery.nearest_of(ROWS[0], ["1"] * NUM), "identities")
    tried.done("identities, cameras, slots, labels, neighbours and pairs that are no whole numbers in range")


def test_settings(gallery, tmp_path):
    tried = Tried()
    calls = {
        "pseudo_labels": lambda **given: spcl.pseudo_labels(ROWS, **given),
        "jaccard_distance": lambda **given: spcl.jaccard_distance(ROWS, **given),
        "cluster": lambda **given: spcl.cluster(ROWS, **given),
        "suggest": lambda **given: spcl.suggest(ROWS, **given),
        "rerank": lambda **given: spcl.rerank(ROWS, ROWS, **given),
    }
    arrays = ("features", "query", "gallery", "neighbours", "nodes", "constraints", "progress")
    for function, call in calls.items():
        for name, parameter in inspect.signature(getattr(spcl, function)).parameters.items():
            if name in arrays or name.endswith("_link"):
                continue
            for value in WRONG_SETTINGS:
                if value is not None or parameter.default is not None:
                    tried.refuses(
                        f"{function}({name}={value!r})",
                        lambda call=call, name=name, value=value: call(**{name: value}),
                        # eps_gap is checked with eps.
                        name.removesuffix("_gap"),
                    )
    distance = np.zeros((NUM, 10))
    of = (IDS, IDS[:10], IDS, IDS[:10] + 100)
    settings = {
        "max_rank": lambda v: spcl.rank_metrics(distance, *of, max_rank=v),
        "protocol": lambda v: spcl.rank_metrics(distance, *of, protocol=v),
        "temperature": lambda v: loss_of(memory(), torch.tensor(ROWS), torch.arange(NUM), v),
        "momentum": lambda v: spcl.HybridMemory(4, 3, momentum=v),
        "num_slots": lambda v: spcl.HybridMemory(v, 3),
        "dim": lambda v: spcl.HybridMemory(3, v),
        "start": lambda v: memory().put(v, torch.tensor(ROWS)),
        "k": lambda v: gallery.search(ROWS[:1], k=v),
        "false-match rate": lambda v: gallery.identify(ROWS[:1], false_match_rate=v),
        " dim": lambda v: spcl.Gallery.create(tmp_path / "g", fingerprint="x", dim=v),
    }
    for name, call in settings.items():
        for value in WRONG_SETTINGS:
            if name == "temperature" and isinstance(value, int) and value > 0:
                continue  # a number like any other
            where = f"{name}={value!r}"
            tried.refuses(where, lambda call=call, value=value: call(value), "" if name == "start" else name.strip())
    assert not (tmp_path / "g").exists()
    tried.done("settings that are NaN, infinite, negative, text, too large for 64 bits, ...: a `ValueError`")
