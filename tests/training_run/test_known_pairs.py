"""Known pairs in a run: tracks and tables of pairs reach the labels, are reported, and must not change on a resume."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from spcl.data.catalogue import load_dataset
from spcl.reporting.console import SilentReporter
from spcl.training.known_pairs import broken_pairs
from tests.fakes import write_fake
from tests.input_errors import input_error
from tests.training_run.small_runs import assert_bit_equal, prepared, small_config, trained


class Heard(SilentReporter):
    """Keeps what is reported."""

    def __init__(self):
        self.texts, self.warnings = [], []

    def say(self, text):
        self.texts.append(text)

    def warn(self, text):
        self.warnings.append(text)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """The training images of a data set in Market-1501's layout."""
    return load_dataset(write_fake("market1501", tmp_path_factory.mktemp("data"), num_identities=10)).train


def table(folder, images, *, tracks):
    """A table in which the images of an identity and a camera are a track, all of them at one time."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "crops.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "camera", *(["track", "frame"] if tracks else [])])
        count: dict[tuple[int, int], int] = {}
        for record in images:
            key = record.identity, record.camera
            count[key] = count.get(key, 0) + 1
            writer.writerow([record.path, record.camera, *([record.identity, count[key]] if tracks else [])])
    return folder / "crops.csv"


def test_tracks_reach_the_labels_and_are_reported(images, tmp_path):
    heard = Heard()
    run = trained(small_config(table(tmp_path, images, tracks=True), tmp_path / "run"), report=heard)
    pairs = run.parts.target.pairs
    assert len(pairs.must_link) and len(pairs.cannot_link)
    assert broken_pairs(run.state.labels, run.parts.target) == (0, 0)
    assert len(np.unique(run.parts.target.tracks)) == len({(r.identity, r.camera) for r in images})
    notes = "\n".join(heard.texts)
    assert f"{len(pairs.must_link)} must-links (" in notes and "0 contradiction(s)" in notes


def test_without_known_pairs_a_run_is_equal_to_the_bit(images, tmp_path):
    plain = trained(small_config(table(tmp_path / "plain", images, tracks=False), tmp_path / "a"))
    config = small_config(table(tmp_path / "tracks", images, tracks=True), tmp_path / "b", data={"no_tracks": True})
    heard = Heard()
    unused = trained(config, report=heard)
    assert_bit_equal(plain, unused)
    assert any("--no-tracks" in text for text in heard.texts)
    assert unused.parts.target.checksum() == plain.parts.target.checksum() == 0


def test_a_resumed_run_is_the_same_and_notices_changed_pairs(images, tmp_path):
    source = table(tmp_path, images, tracks=True)
    whole = trained(small_config(source, tmp_path / "whole"))
    trained(small_config(source, tmp_path / "stopped", schedule={"epochs": 1}))
    resumed = trained(small_config(source, tmp_path / "stopped"), resume=True)
    assert_bit_equal(whole, resumed)
    longer = small_config(source, tmp_path / "stopped", schedule={"epochs": 3})
    (tmp_path / "pairs.csv").write_text(f"path_a,path_b,relation\n{images[0].path},{images[-1].path},different\n")
    with input_error("pairs-changed", "stopped"):
        prepared(longer, resume=True)
    (tmp_path / "pairs.csv").unlink()
    assert prepared(longer, resume=True).resumed
    # The tracks decide over labels and batches: they are settings of the run.
    with input_error("settings-changed", "no_tracks"):
        prepared(small_config(source, tmp_path / "stopped", data={"no_tracks": True}), resume=True)


def test_a_table_of_pairs_is_used_and_contradictions_are_warned_of(images, tmp_path):
    source = table(tmp_path, images, tracks=True)
    one, same_track = next(
        (a, b) for a in images for b in images if a is not b and (a.identity, a.camera) == (b.identity, b.camera)
    )
    other = next(r for r in images if r.identity != one.identity)
    rows = [(one.path, same_track.path, "different"), (one.path, other.path, "same")]
    pairs = tmp_path / "mine.csv"
    pairs.write_text("path_a,path_b,relation\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows))
    heard = Heard()
    run = prepared(small_config(source, tmp_path / "run", data={"pairs": str(pairs)}), report=heard)
    assert any("2 of 2 rows are used" in text for text in heard.texts)
    track = next(record.track for record in load_dataset(source).train if record.path == one.path)
    assert any(f"track {track}: the images are linked no more" in text for text in heard.warnings)
    by_hand = [origin for origin in run.parts.target.pairs.must_origins if origin.kind == "by hand"]
    assert len(by_hand) == 1
    with input_error("no-such-file", "none.csv"):
        prepared(small_config(source, tmp_path / "other", data={"pairs": "none.csv"}))
