"""Labels that use cameras: unknown cameras change nothing and are reported, and the rating decides between two uses."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from spcl.errors import InputError
from spcl.reporting.console import SilentReporter
from spcl.retrieval.camera_centring import camera_centred
from spcl.runtime import Runtime
from spcl.training.average_linkage_labels import AverageLinkageSettings
from spcl.training.labels_each_epoch import LabelsEachEpochSettings
from spcl.training.parts import TargetView

OBJECTS, CAMERAS = np.repeat(np.arange(12), 12), np.tile(np.repeat(np.arange(3), 4), 12)

FEW_EACH = np.tile(np.arange(12), 12)
"""A camera for each image of an object."""


class Said(SilentReporter):
    def __init__(self):
        super().__init__()
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def features_of(objects, cameras, size=1.2, seed=1):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(12, 24))[objects] + size * rng.normal(size=(12, 24))[cameras]
    rows = rows + 0.35 * rng.normal(size=(len(objects), 24))
    return torch.nn.functional.normalize(torch.from_numpy(rows.astype(np.float32)), dim=1)


def labelled(settings, rows, cameras):
    target, said = TargetView(len(rows), np.asarray(cameras)), Said()
    part = settings.build(SimpleNamespace(runtime=Runtime("cpu"), report=said, target=target))
    labels = part.label(rows, target).labels
    part.label(rows, target)
    return labels, part, [line for line in said.lines if "fewer than two cameras" in line]


def quality(labels):
    return adjusted_rand_score(OBJECTS, labels)


@pytest.mark.parametrize("use", ["centre", "balance"])
def test_objects_of_all_cameras_are_found_better(use):
    rows = features_of(OBJECTS, CAMERAS)
    ignored, part, _ = labelled(AverageLinkageSettings(), rows, CAMERAS)
    assert "cameras" not in part.figures()
    found, part, said = labelled(AverageLinkageSettings(cameras=use), rows, CAMERAS)
    assert quality(found) > quality(ignored) + 0.2
    assert part.figures()["cameras"] == use
    assert not said


def test_auto_takes_centred_features_where_they_are_rated_higher():
    rows = features_of(OBJECTS, FEW_EACH)
    ignored, _, _ = labelled(AverageLinkageSettings(), rows, FEW_EACH)
    found, part, _ = labelled(AverageLinkageSettings(cameras="auto"), rows, FEW_EACH)
    assert part.figures()["cameras"] == "centre"
    assert np.array_equal(found, labelled(AverageLinkageSettings(cameras="centre"), rows, FEW_EACH)[0])
    assert quality(found) > quality(ignored) + 0.2


def test_centred_features_are_not_taken_where_each_camera_sees_other_objects():
    cameras = OBJECTS // 2
    rows = features_of(OBJECTS, cameras, size=0)
    found, part, _ = labelled(AverageLinkageSettings(cameras="auto"), rows, cameras)
    assert part.figures()["cameras"] == "ignore"
    assert np.array_equal(found, labelled(AverageLinkageSettings(), rows, cameras)[0])


@pytest.mark.parametrize("kind", [AverageLinkageSettings, LabelsEachEpochSettings])
@pytest.mark.parametrize("cameras", [np.full(144, -1), np.zeros(144, np.int64), np.repeat([-1, 4], 72)])
def test_fewer_than_two_known_cameras_change_nothing_and_are_reported_once(kind, cameras):
    rows = features_of(OBJECTS, CAMERAS)
    ignored, _, said = labelled(kind(), rows, cameras)
    assert not said
    found, _, said = labelled(kind(cameras="centre"), rows, cameras)
    assert np.array_equal(found, ignored) and len(said) == 1


@pytest.mark.parametrize(
    ("use", "known"),
    [
        ("centre", CAMERAS),
        pytest.param("auto", FEW_EACH, marks=pytest.mark.slow),
        pytest.param("balance", CAMERAS, marks=pytest.mark.slow),
    ],
)
def test_an_unknown_camera_among_known_ones(use, known):
    rows, cameras = features_of(OBJECTS, known), known.copy()
    cameras[::7] = -1
    found, _, said = labelled(AverageLinkageSettings(cameras=use), rows, cameras)
    assert len(found) == 144 and not said
    assert quality(found) > quality(labelled(AverageLinkageSettings(), rows, cameras)[0])


def test_labels_of_each_epoch_are_those_of_centred_features():
    rows = features_of(OBJECTS, CAMERAS)
    found, _, _ = labelled(LabelsEachEpochSettings(cameras="centre"), rows, CAMERAS)
    centred = camera_centred(rows, CAMERAS)
    assert np.array_equal(found, labelled(LabelsEachEpochSettings(), centred, CAMERAS)[0])


@pytest.mark.parametrize("kind", [AverageLinkageSettings, LabelsEachEpochSettings])
def test_settings_out_of_range(kind):
    with pytest.raises(InputError) as error:
        kind(cameras="remove")
    assert error.value.code == "setting-out-of-range"
