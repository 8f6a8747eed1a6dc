"""What a run trains on, after its checks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image

from spcl.config import DataConfig, Recipe
from spcl.records import Record, ReIDDataset, identities_of
from spcl.reporting.console import SilentReporter
from spcl.runtime import Runtime
from spcl.training_run.session import Session
from spcl.training_run.training_sets import load_sets
from tests.shared import input_error


def records(folder, num, images_of_each=2):
    folder.mkdir()
    made = []
    for number in range(num):
        path = folder / f"{number}.png"
        Image.fromarray(np.full((8, 4, 3), number % 250, np.uint8)).save(path)
        made.append(Record(path, number // images_of_each, 0))
    return tuple(made)


def load(monkeypatch, source, target, on_broken, **more):
    sets = {"s": source, "t": target}
    monkeypatch.setattr("spcl.training_run.training_sets.load_dataset", lambda name, **_: sets[name])
    report = SilentReporter()
    data = DataConfig(source="s" if source else "", target="t", on_broken=on_broken, **more)
    return *load_sets(Recipe(data=data), Session(Runtime("cpu"), report)), report


def test_broken_training_images_leave_no_row_and_no_gap(tmp_path, monkeypatch):
    source = ReIDDataset("s", train=records(tmp_path / "s", 8))
    # More than a sample would look at.
    target = ReIDDataset("t", train=records(tmp_path / "t", 200))
    for number in (2, 3, 6):
        source.train[number].path.write_bytes(b"broken")
    for number in range(0, 200, 50):
        target.train[number].path.write_bytes(b"broken")
    with input_error("unreadable-image", "3 image(s) of the source s"):
        load(monkeypatch, source, target, "error")
    found_source, found_target, report = load(monkeypatch, source, target, "skip")
    assert identities_of(found_source.train).tolist() == [0, 0, 1, 1, 2]
    assert [record.path.stem for record in found_source.train] == ["0", "1", "4", "5", "7"]
    assert len(found_target.train) == 196
    assert (identities_of(found_target.train) == -1).all()
    assert sum("They are left out" in warning for warning in report.warnings) == 2


def test_no_readable_image_is_an_error(tmp_path, monkeypatch):
    target = ReIDDataset("t", train=records(tmp_path / "t", 3))
    for record in target.train:
        record.path.write_bytes(b"")
    with input_error("no-images", "t has"):
        load(monkeypatch, None, target, "skip")


def test_broken_test_images_are_kept_and_rated(tmp_path, monkeypatch):
    target = ReIDDataset(
        "t",
        train=records(tmp_path / "t", 4),
        query=records(tmp_path / "q", 4),
        gallery=records(tmp_path / "g", 4),
        protocol="no-camera",
    )
    target.query[1].path.write_bytes(b"broken")
    _, found, report = load(monkeypatch, None, target, "skip")
    assert len(found.query) == 4
    assert "They are rated as grey images" in report.warnings[0]


def test_identities_that_are_asked_for_without_a_source_are_an_error(tmp_path, monkeypatch):
    target = ReIDDataset("t", train=records(tmp_path / "t", 3))
    with input_error("option-does-not-apply", "--identity-from name"):
        load(monkeypatch, None, target, "error", identity_from="name")


def test_source_images_of_unknown_identity_are_left_out_and_counted(tmp_path, monkeypatch):
    labelled = records(tmp_path / "s", 6)
    # As in a table of groups: -1 is unknown.
    source = ReIDDataset("s", train=(replace(labelled[0], identity=None), *labelled[1:]))
    target = ReIDDataset("t", train=records(tmp_path / "t", 4))
    found, _, report = load(monkeypatch, source, target, "error")
    assert [record.path.stem for record in found.train] == ["1", "2", "3", "4", "5"]
    assert sum("1 of 6 images of the source s" in warning for warning in report.warnings) == 1
    unknown = ReIDDataset("s", train=tuple(replace(record, identity=None) for record in labelled))
    with input_error("no-identities", "6"):
        load(monkeypatch, unknown, target, "error")
