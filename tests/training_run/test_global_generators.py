"""The global random generators of torch, NumPy and Python belong to the caller: no public function moves them."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import spcl
from spcl.inference.encoder import imagenet_encoder
from tests.fakes import draw
from tests.mixtures import mixture
from tests.training_run.small_runs import small_config
from tests.verification.test_calibrate import write_checkpoint


def states() -> tuple[bytes, str, object]:
    return torch.get_rng_state().numpy().tobytes(), str(np.random.get_state()), random.getstate()  # noqa: NPY002


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generators")
    (folder / "crops").mkdir()
    for identity in range(6):
        for shot in range(5):
            draw(folder / "crops" / f"{identity}_{shot}_c{shot % 2}.png", identity, shot)
    write_checkpoint(folder / "c.pth.tar")
    return folder


def _gallery(place: Any) -> None:
    encoder = spcl.load_encoder(place / "c.pth.tar")
    gallery = spcl.Gallery.create(place / "gallery", encoder)
    gallery.add(place / "crops")
    gallery.search(place / "crops" / "0_0_c0.png", k=3, rerank=True)


def _features() -> Any:
    return mixture(num_identities=20, per_identity=8, seed=0)[0]


CALLS: dict[str, Callable[[Any], object]] = {
    "load_encoder": lambda place: spcl.load_encoder(place / "c.pth.tar"),
    "an encoder without a checkpoint": lambda place: imagenet_encoder("timm/test_resnet", pretrained="none"),
    "embed": lambda place: spcl.load_encoder(place / "c.pth.tar").embed(place / "crops"),
    "cluster": lambda place: spcl.cluster(_features()),
    "suggest": lambda place: spcl.suggest(_features()),
    "pseudo_labels": lambda place: spcl.pseudo_labels(_features(), k1=6, k2=3),
    "Gallery": _gallery,
    "calibrate": lambda place: spcl.calibrate_images(
        spcl.CalibrationRequest(str(place / "crops"), seed=1, encoding=_checkpoint(place))
    ),
    "train": lambda place: spcl.train(
        str(place / "crops"), recipe=small_config(str(place / "crops"), place / "run"), logs_dir=str(place / "run")
    ),
}


def _checkpoint(place: Any) -> Any:
    from spcl.inference.encode_options import EncodeOptions, EncoderChoice

    return EncodeOptions(encoder=EncoderChoice(checkpoint=str(place / "c.pth.tar")))


@pytest.mark.parametrize("name", CALLS)
def test_global_generators_are_left_alone(place, name):
    before = states()
    # Features of random weights may give too few pairs for a calibration, which is found after all the drawing.
    with contextlib.suppress(spcl.InputError) if name == "calibrate" else contextlib.nullcontext():
        CALLS[name](place)
    assert states() == before
