"""A gallery against a dictionary, in any order of adding, replacing, removing, clearing, searching and reopening."""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from spcl.gallery.gallery import Gallery
from spcl.gallery.qdrant.connection import close_clients
from tests.fakes import draw
from tests.trust.tally import record, tries

DIM, NUM_FILES = 6, 8

FILES = st.lists(st.integers(0, NUM_FILES - 1), min_size=1, max_size=NUM_FILES, unique=True)
CELLS = st.sampled_from([None, "1", "2", "3"])
SPELLINGS = st.sampled_from(["plain", "dots", "link"])
FILTERS = {
    "camera = 1": lambda row: row["camera"] == "1",
    "camera != 2": lambda row: row["camera"] not in (None, "2"),
    "camera > 1": lambda row: row["camera"] in ("2", "3"),
    "identity is null": lambda row: row["identity"] is None,
    "identity in ('1', 2)": lambda row: row["identity"] in ("1", "2"),
    "track = '3' or camera is null": lambda row: row["track"] == "3" or row["camera"] is None,
    "not (track = '1')": lambda row: row["track"] not in (None, "1"),
}

steps = [0]


class GalleryMachine(RuleBasedStateMachine):
    """The gallery, and what it must hold: a row for each file, whichever spelling of its path was given."""

    @initialize()
    def make(self) -> None:
        self.folder = TemporaryDirectory()
        root = Path(self.folder.name).resolve()
        self.files = [draw(root / f"crops/{number}.png", number) for number in range(NUM_FILES)]
        (root / "linked").mkdir()
        for file in self.files:
            (root / "linked" / file.name).symlink_to(file)
        self.gallery = Gallery.create(self.place(root), fingerprint="x", dim=DIM)
        self.rows: dict[int, dict] = {}

    def place(self, root: Path) -> str | Path:
        return root / "g"

    def spelled(self, number: int, spelling: str) -> Path:
        file = self.files[number]
        if spelling == "link":
            return file.parents[1] / "linked" / file.name
        return file.parent / ".." / file.parent.name / file.name if spelling == "dots" else file

    @rule(chosen=FILES, seed=st.integers(0, 99), data=st.data())
    def add(self, chosen: list[int], seed: int, data: st.DataObject) -> None:
        vectors = np.random.default_rng(seed).standard_normal((len(chosen), DIM)).astype(np.float32)
        given = {name: [data.draw(CELLS) for _ in chosen] for name in ("identity", "camera", "track")}
        paths = [self.spelled(number, data.draw(SPELLINGS)) for number in chosen]
        done = self.gallery.add_features(
            vectors, paths, identities=given["identity"], cameras=given["camera"], columns={"track": given["track"]}
        )
        new = [number for number in chosen if number not in self.rows]
        assert (done.num_added, done.num_replaced) == (len(new), len(chosen) - len(new))
        for at, number in enumerate(chosen):
            before = self.rows.get(number, {})
            cells = {name: cells[at] if cells[at] is not None else before.get(name) for name, cells in given.items()}
            self.rows[number] = {"vector": vectors[at] / np.linalg.norm(vectors[at]), **cells}

    @rule(chosen=FILES, spelling=SPELLINGS)
    def remove_paths(self, chosen: list[int], spelling: str) -> None:
        there = [number for number in chosen if number in self.rows]
        assert self.gallery.remove(paths=[self.spelled(number, spelling) for number in chosen]) == len(there)
        for number in there:
            del self.rows[number]

    @rule(where=st.sampled_from(sorted(FILTERS)))
    def remove_by_filter(self, where: str) -> None:
        if "track" not in self.gallery.columns:
            return
        gone = [number for number, row in self.rows.items() if FILTERS[where](row)]
        assert self.gallery.remove(where) == len(gone)
        for number in gone:
            del self.rows[number]

    @rule(where=st.sampled_from(sorted(FILTERS)), column=st.sampled_from(["identity", "camera", "track"]))
    def clear(self, where: str, column: str) -> None:
        if "track" not in self.gallery.columns:
            return
        chosen = [row for row in self.rows.values() if FILTERS[where](row)]
        assert self.gallery.clear([column], where) == len(chosen)
        for row in chosen:
            row[column] = None

    @rule(seed=st.integers(0, 99), k=st.integers(1, 10), where=st.sampled_from([None, *sorted(FILTERS)]))
    def search(self, seed: int, k: int, where: str | None) -> None:
        if where is not None and "track" not in self.gallery.columns:
            return
        query = np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)
        query /= np.linalg.norm(query)
        passing = {number: row for number, row in self.rows.items() if where is None or FILTERS[where](row)}
        wanted = sorted(-float(row["vector"] @ query) for row in passing.values())[:k]
        hits = self.gallery.search(query, k=k, where=where)[0]
        assert len(hits) == len(wanted)
        assert all(math.isclose(hit.similarity, -value, abs_tol=1e-5) for hit, value in zip(hits, wanted, strict=True))
        for hit in hits:
            number = int(Path(hit.path).stem)
            assert math.isclose(hit.similarity, float(passing[number]["vector"] @ query), abs_tol=1e-5)

    @rule()
    def tidy(self) -> None:
        self.gallery.tidy()

    @rule()
    def reopen(self) -> None:
        self.gallery = Gallery.open(self.gallery.path)

    @invariant()
    def holds_the_same(self) -> None:
        if not hasattr(self, "gallery"):
            return
        steps[0] += 1
        assert len(self.gallery) == len(self.rows)
        if "track" not in self.gallery.columns:
            return
        found = {}
        for part in self.gallery.read(["path", "identity", "camera", "track"]):
            for at, path in enumerate(part.columns["path"]):
                cells = {name: part.columns[name][at] for name in ("identity", "camera", "track")}
                found[int(Path(path).stem)] = (cells, part.features[at])
        assert found.keys() == self.rows.keys()
        for number, (cells, vector) in found.items():
            assert cells == {name: self.rows[number][name] for name in cells}
            assert np.allclose(vector, self.rows[number]["vector"], atol=1e-6)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()


class QdrantMachine(GalleryMachine):
    """The same for a gallery in Qdrant, by the local mode of its client."""

    def place(self, root: Path) -> str | Path:
        return f"qdrant-local:{root / 'q'}/crops"

    def teardown(self) -> None:
        close_clients()
        super().teardown()


@pytest.mark.parametrize(("kind", "store"), [(GalleryMachine, "a gallery"), (QdrantMachine, "a gallery in Qdrant")])
def test_a_gallery_is_a_dictionary(kind, store):
    steps[0] = 0
    machine = settings(
        max_examples=tries(60, few=3),
        stateful_step_count=tries(30, few=8),
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(kind, settings=machine)
    check = f"steps of {store}, equal to a dictionary after each"
    what = "adding, replacing, removing, clearing, searching, filters, links, tidying, reopening"
    record("Random input", check, steps[0], steps[0], what)
