"""Features averaged over views: views are repeatable, small, and averaged with the image itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from spcl.data.affine_augment import AffineStrength
from spcl.data.view_store import ViewStore
from spcl.errors import InputError
from spcl.training.view_features import ViewFeatures, ViewFeaturesSettings

NONE = AffineStrength(flip=0.0, rotation=0.0, scale=0.0, shear=0.0, shift=0.0, erase=0.0)
SMALL = AffineStrength(flip=0.0, rotation=6.0, scale=0.06, shear=0.06, shift=0.04, erase=0.0)


class Images:
    def __init__(self, num=12, size=(20, 10)):
        noise = np.random.default_rng(0).integers(0, 256, (num, size[0] // 5, size[1] // 5, 3), dtype=np.uint8)
        self.images = noise.repeat(5, axis=1).repeat(5, axis=2)

    def __len__(self):
        return len(self.images)

    def read(self, rows):
        return self.images[rows]


def view(store, strength=SMALL, number=0, seed=1):
    return ViewStore(store, size=(20, 10), strength=strength, seed=seed, number=number)


def test_a_view_without_changes_is_the_image():
    store, rows = Images(), np.arange(12)
    assert np.array_equal(view(store, NONE).read(rows), store.read(rows))


def test_a_view_is_small_repeatable_and_does_not_depend_on_what_else_is_read():
    store, rows = Images(), np.arange(12)
    before = store.images.copy()
    whole = view(store).read(rows)
    assert np.array_equal(view(store).read(np.array([7, 2])), whole[[7, 2]])
    assert not np.array_equal(view(store, number=1).read(rows), whole)
    assert not np.array_equal(view(store, seed=2).read(rows), whole)
    assert 0 < np.abs(whole.astype(int) - store.images).mean() < 40
    assert np.array_equal(store.images, before)


def test_features_are_the_normalised_mean_of_the_image_and_its_views():
    store, rows = Images(), np.arange(12)
    settings = type("S", (), {"height": 20, "width": 10})
    network = type("N", (), {"settings": settings})

    def extract(given, altered=None):
        read = (store if altered is None else altered(store)).read(rows)
        return F.normalize(torch.from_numpy(read.reshape(12, -1).astype(np.float32)), dim=1)

    found = ViewFeatures(network, extract, 2, SMALL, seed=3).features()
    each = [extract(network), *(extract(network, lambda s, n=n: view(s, number=n, seed=3)) for n in range(2))]
    torch.testing.assert_close(found, F.normalize(sum(each), dim=1))


@pytest.mark.parametrize("values", [{"views": 0}, {"rotation": -1.0}, {"scale": 1.0}])
def test_settings_out_of_range(values):
    with pytest.raises(InputError) as error:
        ViewFeaturesSettings(**values)
    assert error.value.code == "setting-out-of-range"
