"""Transforms of a whole batch: pixel for pixel the official ones for the same draws, and drawn as there."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from scipy.stats import ks_2samp

from spcl.data.augment import AugmentationDraw, TrainAugmentation
from spcl.data.normalise import test_transform as normalise

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HEIGHT, WIDTH = 24, 12


def one_image(image: np.ndarray, flip: bool, top: int, left: int, erase: np.ndarray) -> torch.Tensor:
    """The official pipeline on one image: flip, pad, crop, to tensor, normalise, erase."""
    picture = Image.fromarray(image)
    if flip:
        picture = ImageOps.mirror(picture)
    padded = ImageOps.expand(picture, border=10, fill=0)
    cropped = padded.crop((left, top, left + WIDTH, top + HEIGHT))
    tensor = torch.from_numpy(np.array(cropped)).permute(2, 0, 1).float() / 255
    tensor = (tensor - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    y, x, height, width = erase.tolist()
    if height:
        tensor[:, y : y + height, x : x + width] = torch.tensor(MEAN).view(3, 1, 1)
    return tensor


def augmentation(**changed) -> TrainAugmentation:
    return TrainAugmentation(HEIGHT, WIDTH, mean=MEAN, std=STD, **changed)


def test_pixel_for_pixel():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, HEIGHT, WIDTH, 3), dtype=np.uint8)
    draw = augmentation().draw(40, rng)
    assert draw.flip.any()
    assert draw.erase[:, 2].any()
    expected = torch.stack(
        [
            one_image(images[i], bool(draw.flip[i]), int(draw.top[i]), int(draw.left[i]), draw.erase[i])
            for i in range(40)
        ]
    )
    for apply in (augmentation()._apply_on_host, augmentation()._apply_on_device):
        torch.testing.assert_close(apply(torch.from_numpy(images), draw), expected, atol=1e-5, rtol=0)


def test_nothing_drawn_is_the_test_transform():
    images = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (3, HEIGHT, WIDTH, 3), dtype=np.uint8))
    nothing = AugmentationDraw(np.zeros(3, bool), np.full(3, 10), np.full(3, 10), np.zeros((3, 4), np.int64))
    torch.testing.assert_close(augmentation().apply(images, nothing), normalise(images, MEAN, STD))


def test_distributions():
    num = 40000
    draw = TrainAugmentation(64, 32, mean=MEAN, std=STD).draw(num, np.random.default_rng(2))
    assert abs(draw.flip.mean() - 0.5) < 0.01
    for offsets in (draw.top, draw.left):
        assert np.abs(np.bincount(offsets, minlength=21) / num - 1 / 21).max() < 0.005
    top, left, height, width = draw.erase.T
    erased = height > 0
    assert abs(erased.mean() - 0.5) < 0.01
    assert ((height < 64) & (width < 32) & (top + height <= 64) & (left + width <= 32))[erased].all()


def test_boxes_are_drawn_as_the_official_loop_draws_them():
    height, width = 64, 32
    rng = random.Random(3)
    expected = []
    while len(expected) < 20000:
        area, aspect = rng.uniform(0.02, 0.4) * height * width, rng.uniform(0.3, 1 / 0.3)
        h, w = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
        if w < width and h < height:
            expected.append((rng.randint(0, height - h), rng.randint(0, width - w), h, w))
    augmentation = TrainAugmentation(height, width, mean=MEAN, std=STD, erase=1.0)
    found = augmentation.draw(20000, np.random.default_rng(3)).erase
    boxes = np.array(expected)
    for name, ours, theirs in (
        *zip(("top", "left", "height", "width"), found.T, boxes.T, strict=True),
        ("rows below", height - found[:, 0] - found[:, 2], height - boxes[:, 0] - boxes[:, 2]),
        ("columns right", width - found[:, 1] - found[:, 3], width - boxes[:, 1] - boxes[:, 3]),
        ("area", found[:, 2] * found[:, 3], boxes[:, 2] * boxes[:, 3]),
    ):
        assert ks_2samp(ours, theirs).statistic < 0.02, name
    assert (found[:, 0] + found[:, 2] == height).any()
    assert (found[:, 1] + found[:, 3] == width).any()


def test_a_box_that_never_fits_is_no_box():
    draw = TrainAugmentation(8, 8, mean=MEAN, std=STD, erase=1.0, erase_area=(1.0, 1.0), erase_aspect=1.0)
    assert not draw.draw(16, np.random.default_rng(0)).erase.any()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 3), (5, 40), (40, 5), (10, 10)])
def test_images_smaller_than_the_border(height, width):
    small = TrainAugmentation(height, width, mean=MEAN, std=STD)
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (64, height, width, 3), dtype=np.uint8))
    draw = small.draw(64, rng)
    torch.testing.assert_close(small._apply_on_host(images, draw), small._apply_on_device(images, draw))
