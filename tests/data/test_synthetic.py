"""Built-in images: deterministic, independent of how many are made, in Market-1501's layout, with a visible gap."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spcl.data.catalogue import load_dataset
from spcl.data.image_store import ImageStore
from spcl.data.synthetic import DOMAINS, KINDS, SyntheticSpec, in_memory, render_image, write_market1501
from tests.input_errors import input_error

SPEC = SyntheticSpec(train_identities=3, test_identities=3, cameras=3, images_per_camera=2, height=64, width=32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("domain", DOMAINS)
def test_an_image_depends_on_nothing_but_itself(kind, domain):
    spec = replace(SPEC, kind=kind, domain=domain)
    image = np.asarray(render_image(spec, 4, 1, 1))
    assert image.shape == (64, 32, 3)
    more = replace(spec, train_identities=90, cameras=9, images_per_camera=7)
    assert np.array_equal(image, np.asarray(render_image(more, 4, 1, 1)))
    for other in ((5, 1, 1), (4, 2, 1), (4, 1, 0)):
        assert not np.array_equal(image, np.asarray(render_image(spec, *other)))
    assert not np.array_equal(image, np.asarray(render_image(replace(spec, seed=1), 4, 1, 1)))


def test_written_in_the_market_layout(tmp_path):
    folder = write_market1501(tmp_path / "street", SPEC)
    dataset = load_dataset(folder)
    assert (len(dataset.train), len(dataset.query), len(dataset.gallery)) == (18, 9, 9)
    assert {record.camera for record in dataset.train} == {0, 1, 2}
    for query in dataset.query:
        assert any(g.identity == query.identity and g.camera != query.camera for g in dataset.gallery)
    before = folder.stat().st_mtime_ns
    assert write_market1501(folder, SPEC) == folder
    assert folder.stat().st_mtime_ns == before
    with input_error("folder-not-empty"):
        write_market1501(folder, replace(SPEC, seed=9))


def test_in_memory():
    dataset, arrays = in_memory(SPEC)
    store = ImageStore(dataset.train, size=(64, 32), arrays=arrays)
    pixels = store.read(np.arange(len(dataset.train)))
    assert np.array_equal(pixels[7], np.asarray(render_image(SPEC, 1, 0, 1)))


def test_the_domains_differ_and_identities_show():
    means, right = {}, {}
    for domain in DOMAINS:
        spec = replace(SPEC, domain=domain, train_identities=12, test_identities=0)
        dataset, arrays = in_memory(spec)
        pixels = np.stack([arrays[record.path] for record in dataset.train]).astype(float)
        means[domain] = pixels.mean(axis=(0, 1, 2))
        # Colours of the upper and the lower half of the figure, against the camera's own mean.
        cells = pixels.reshape(len(pixels), 4, 16, 4, 8, 3).mean(axis=(2, 4))[:, :, 1:3].reshape(len(pixels), -1)
        cameras = np.array([record.camera for record in dataset.train])
        for camera in range(3):
            cells[cameras == camera] -= cells[cameras == camera].mean(axis=0)
        distance = np.linalg.norm(cells[:, None] - cells, axis=2)
        np.fill_diagonal(distance, np.inf)
        identities = np.array([record.identity for record in dataset.train])
        right[domain] = (identities[distance.argmin(axis=1)] == identities).mean()
    assert np.abs(means["studio"] - means["street"]).max() > 30
    assert right["studio"] > 0.6
    assert 3 / 12 < right["street"] < right["studio"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"kind": "cow"}, "pedestrian or vehicle"),
        ({"domain": "moon"}, "studio or street"),
        ({"cameras": 0}, "cameras is 0"),
    ],
)
def test_bad_settings_are_named(changed, message):
    with input_error("setting-out-of-range", message):
        replace(SPEC, **changed)
