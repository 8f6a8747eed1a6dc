"""Affine augmentation: the compiled pass equals the operations on the device, and each change alone is as described."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spcl.data.affine_augment import AffineAugmentation, AffineDraw, AffineStrength
from spcl.data.augment import TrainAugmentation
from spcl.data.normalise import test_transform as normalise

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HEIGHT, WIDTH = 24, 12


def augmentation(**strength) -> AffineAugmentation:
    none = dict.fromkeys(("flip", "rotation", "scale", "shear", "shift", "erase"), 0.0)
    base = TrainAugmentation(HEIGHT, WIDTH, mean=MEAN, std=STD, erase=strength.get("erase", 0.0))
    return AffineAugmentation(base, AffineStrength(**(none | strength)))


def random_images(num: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (num, HEIGHT, WIDTH, 3), dtype=np.uint8))


EVERYTHING = {
    **{"flip": 0.5, "rotation": 30.0, "scale": 0.3, "shear": 0.2, "shift": 0.2, "brightness": 0.4, "contrast": 0.4},
    **{"saturation": 0.4, "grey": 0.3, "blur": 0.5, "erase": 0.5},
}


@pytest.mark.parametrize("strength", [{"rotation": 30.0, "shift": 0.2}, EVERYTHING])
def test_the_compiled_pass_equals_the_operations_on_the_device(strength):
    images, augment = random_images(30), augmentation(**strength)
    draw = augment.draw(30, np.random.default_rng(1))
    before = images.clone()
    torch.testing.assert_close(
        augment._apply_on_host(images, draw), augment._apply_on_device(images, draw), atol=2e-3, rtol=0
    )
    assert torch.equal(images, before)


def test_nothing_drawn_is_the_test_transform():
    images, augment = random_images(3), augmentation()
    found = augment.apply(images, augment.draw(3, np.random.default_rng(2)))
    torch.testing.assert_close(found, normalise(images, MEAN, STD), atol=1e-4, rtol=0)


def test_flip_alone_mirrors_and_outside_is_the_border_pixel():
    images, augment = random_images(4), augmentation(flip=1.0)
    found = augment.apply(images, augment.draw(4, np.random.default_rng(3)))
    torch.testing.assert_close(found, normalise(images.flip(2), MEAN, STD), atol=1e-4, rtol=0)
    draw = augmentation().draw(1, np.random.default_rng(3))
    draw.matrix[0, 0, 2] = 2.0  # one whole image to the right: only the last column is left
    moved = augmentation().apply(images[:1], draw)
    expected = normalise(images[:1, :, -1:].expand(-1, -1, WIDTH, -1), MEAN, STD)
    torch.testing.assert_close(moved, expected, atol=1e-4, rtol=0)


def test_a_rotation_keeps_lengths_in_pixels():
    draw = augmentation(rotation=90.0).draw(500, np.random.default_rng(4))
    to_pixels = np.diag([WIDTH / 2, HEIGHT / 2])
    for matrix in draw.matrix[:20, :, :2]:
        in_pixels = to_pixels @ matrix @ np.linalg.inv(to_pixels)
        np.testing.assert_allclose(in_pixels @ in_pixels.T, np.eye(2), atol=1e-5)


def test_grey_images_have_equal_channels():
    draw = augmentation(grey=1.0).draw(5, np.random.default_rng(5))
    plain = AffineAugmentation(
        TrainAugmentation(HEIGHT, WIDTH, mean=(0.0,) * 3, std=(1.0,) * 3), augmentation(grey=1.0).strength
    )
    found = plain.apply(random_images(5), draw)
    torch.testing.assert_close(found[:, 0], found[:, 2], atol=1e-5, rtol=0)


def test_draws_of_a_part_and_their_ranges():
    augment = augmentation(**EVERYTHING)
    draw = augment.draw(2000, np.random.default_rng(6))
    part = draw.part(slice(3, 9))
    assert isinstance(part, AffineDraw) and np.array_equal(part.matrix, draw.matrix[3:9])
    assert np.abs(draw.matrix[:, :, 2]).max() <= 0.4
    assert abs((np.linalg.det(draw.matrix[:, :, :2]) < 0).mean() - 0.5) < 0.05
    assert abs((draw.tone[:, 2] == 0).mean() - 0.3) < 0.05 and abs((draw.blur > 0).mean() - 0.5) < 0.05
