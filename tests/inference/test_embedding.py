"""Many images are embedded part by part, with the features of the whole; broken ones end nothing."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from PIL import Image

from spcl.data.image_sources import images_of
from spcl.inference.checkpoint import checkpoint_of, save_atomically
from spcl.inference.embedding import Encoder, embed_parts, embed_records, load_encoder
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from spcl.records import Record
from spcl.reporting.console import SilentReporter
from tests.fakes import draw
from tests.input_errors import input_error


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(EncoderNetwork(EncoderSettings(arch="timm/test_resnet", height=32, width=16)).eval(), "target")


@pytest.fixture
def records(tmp_path):
    for number in range(7):
        draw(tmp_path / f"{number}.jpg", number)
    for number in (2, 4, 5):
        (tmp_path / f"{number}.jpg").write_bytes(b"broken")
    return images_of(tmp_path).records


class Steps(SilentReporter):
    """Keeps what the progress was told."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[int, int]] = []

    def progress(self, name):
        return nullcontext(lambda done, total: self.steps.append((done, total)))


def test_parts_are_the_whole(encoder, records):
    whole = embed_records(encoder, records)
    report = Steps()
    # The third part, images 4 and 5, is broken altogether.
    parts = list(embed_parts(encoder, records, part=2, report=report))
    assert [len(part.records) for part in parts] == [2, 1, 0, 1]
    assert [record for part in parts for record in part.records] == list(whole.records)
    assert [path for part in parts for path in part.broken] == list(whole.broken)
    assert np.allclose(np.concatenate([part.features for part in parts]), whole.features, atol=1e-6)
    assert parts[2].features.shape == (0, encoder.feature_dim)
    assert report.steps == [(2, 7), (4, 7), (6, 7), (7, 7)]


def test_none_readable_is_an_error_that_names_the_first(encoder, records):
    broken = [records[number] for number in (4, 5, 2)]
    with input_error("no-readable-images", "4.jpg"):
        list(embed_parts(encoder, broken, part=2))
    with input_error("no-readable-images", "3 images"):
        embed_records(encoder, broken)


def test_the_range_of_pixels_belongs_to_the_encoder(tmp_path):
    """A checkpoint keeps it, features follow it, and another range is another encoder."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.tif" for number in range(3)]
    for path in paths:
        Image.fromarray(rng.integers(0, 1200, (32, 16)).astype(np.uint16)).save(path)
    encoders = {}
    for text in ("auto", "0:4095", "full"):
        torch.manual_seed(0)
        settings = EncoderSettings(arch="timm/test_resnet", height=32, width=16, pixel_range=text)
        save_atomically(
            checkpoint_of(EncoderNetwork(settings), epoch=1, best_mean_ap=None, facts={}), tmp_path / "x.pth.tar"
        )
        encoders[text] = load_encoder(tmp_path / "x.pth.tar")
    assert len({encoder.fingerprint for encoder in encoders.values()}) == 3
    report = SilentReporter()
    told = []
    report.say = told.append
    records = [Record(path) for path in paths]
    for text, encoder in encoders.items():
        found = embed_records(encoder, records, report=report)
        np.testing.assert_allclose(found.features, encoder.embed(paths), atol=1e-5)
        assert found.num_stretched == (0 if text == "full" else 3)
    assert len(told) == 2
    assert "3 images of more than 8 bits use little of their range" in told[0]
    assert "3 images of more than 8 bits: 0 is black, 4095 white" in told[1]
