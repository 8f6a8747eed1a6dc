"""Whether images look like writing, whose mirror images are other characters."""

from __future__ import annotations

import numpy as np
import pytest

from spcl.data.image_store import ImageStore
from spcl.data.mirror_images import mirror_advice
from spcl.data.synthetic import SyntheticSpec, in_memory


def strokes(num: int, ink: int = 0, paper: int = 255) -> np.ndarray:
    rng = np.random.default_rng(0)
    images = np.full((num, 32, 32, 3), paper, dtype=np.uint8)
    for image in images:
        row = rng.integers(4, 28)
        image[row : row + 2, 4:28] = ink
    return images


@pytest.mark.parametrize(("ink", "paper"), [(0, 255), (20, 230), (255, 0)])
def test_ink_on_paper_is_not_mirrored(ink, paper):
    found = mirror_advice(strokes(10, ink, paper))
    assert found.flip == found.erase == 0 and "writing" in found.reason


def test_other_images_are_mirrored():
    noise = np.random.default_rng(1).integers(0, 256, (10, 32, 32, 3), dtype=np.uint8)
    coloured = strokes(10)
    coloured[:, :8, :, 0] = 90
    grey_ramp = np.broadcast_to(np.arange(32, dtype=np.uint8)[None, :, None, None] * 8, (10, 32, 32, 3))
    empty = np.full((3, 8, 8, 3), 255, dtype=np.uint8)
    for images in (noise, coloured, grey_ramp, empty, strokes(0)):
        assert mirror_advice(images).flip == 0.5


@pytest.mark.parametrize("kind", ["pedestrian", "vehicle"])
def test_rendered_objects_are_mirrored(kind):
    dataset, arrays = in_memory(SyntheticSpec(kind=kind, train_identities=4, test_identities=0, height=64, width=32))
    store = ImageStore(dataset.train, size=(64, 32), arrays=arrays, num_threads=0)
    assert mirror_advice(store.read(np.arange(len(store)))).flip == 0.5
