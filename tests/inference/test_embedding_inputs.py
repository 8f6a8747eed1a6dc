"""Encoder.embed takes files, arrays, tensors and data loaders alike, with progress and threads; its repr is a line."""

from __future__ import annotations

import logging
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset

from spcl.data.image_sources import images_of
from spcl.inference.embedding import Encoder
from spcl.inference.embedding_inputs import num_images
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from spcl.reporting.quiet_reporters import LoggingReporter
from tests.fakes import draw
from tests.input_errors import input_error


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(EncoderNetwork(EncoderSettings(arch="timm/test_resnet", height=32, width=16)).eval(), "target")


@pytest.fixture
def paths(tmp_path):
    for number in range(5):
        draw(tmp_path / f"{number}.png", number)
    return [record.path for record in images_of(tmp_path).records]


class Prepared(Dataset):
    """A data set as users of torch write it."""

    def __init__(self, paths, transform) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row):
        return self.transform(self.paths[row]), row


class Stream(IterableDataset):
    """Without a length."""

    def __init__(self, images) -> None:
        self.images = images

    def __iter__(self):
        return iter(self.images)


def test_every_kind_of_input_gives_the_same_rows(encoder, paths, tmp_path):
    rows = encoder.embed(paths)
    pixels = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])
    of_tensors = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    prepared = torch.stack([encoder.transform(path) for path in paths])
    loader = DataLoader(Prepared(paths, encoder.transform), batch_size=2)
    kinds = {
        "folder": tmp_path,
        "PIL": [Image.open(path) for path in paths],
        "arrays": list(pixels),
        "uint8 tensor": of_tensors,
        "list of tensors": list(of_tensors),
        "tensors beside paths": [of_tensors[0], *paths[1:]],
        "prepared": prepared,
        "list of prepared": list(prepared),
        "data loader": loader,
        "data loader of mappings": DataLoader([{"images": row} for row in prepared], batch_size=3),
        "data loader without a length": DataLoader(Stream(list(of_tensors)), batch_size=4),
    }
    for name, images in kinds.items():
        assert np.allclose(encoder.embed(images, batch_size=3), rows, atol=1e-6), name
    assert np.allclose(encoder.embed(of_tensors[2]), rows[2:3], atol=1e-6)
    assert encoder.embed([]).shape == (0, encoder.feature_dim)


def test_threads_change_nothing(encoder, paths):
    assert np.array_equal(encoder.embed(paths, num_threads=3), encoder.embed(paths, num_threads=0))


def test_progress_is_called_with_images(encoder, paths):
    steps = []
    encoder.embed(paths, batch_size=2, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(2, 5), (4, 5), (5, 5)]
    assert num_images(DataLoader(Stream([]))) is None


def test_a_transform_goes_to_other_processes(encoder, paths):
    again = pickle.loads(pickle.dumps(encoder.transform))
    assert torch.equal(again(paths[0]), encoder.transform(paths[0]))


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(2, 1, 32, 16),
        torch.zeros(2, 3, 16, 32),
        torch.zeros(3, 16, 32),
        [torch.zeros(3, 32, 16), np.zeros((32, 16, 3), np.uint8)],
        [torch.zeros(3, 5, 5, dtype=torch.int32), torch.zeros(3, 4, 5, dtype=torch.int32)],
    ],
)
def test_tensors_of_other_shapes_are_refused(encoder, images):
    with input_error("wrong-shape"):
        encoder.embed(images)


def test_a_loader_without_images_is_refused(encoder):
    with input_error("not-an-image"):
        encoder.embed(DataLoader([{"label": 3}]))


def test_the_repr_is_a_line(encoder):
    text = repr(encoder)
    assert "\n" not in text
    for part in ("timm/test_resnet", "32x16", str(encoder.feature_dim), "cpu", encoder.fingerprint):
        assert part in text
    assert encoder.device == torch.device("cpu")


def test_reports_go_to_logging(caplog):
    report = LoggingReporter()
    with caplog.at_level(logging.DEBUG, logger="spcl"):
        report.say("three images")
        report.warn("one is grey")
        with report.progress("features") as advance:
            advance(3, 3)
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING", "DEBUG"]
    assert "features: 3" in caplog.records[2].getMessage()
    assert report.warnings == ["one is grey"]
