"""Exports, crops and links, killed before a change of the disk: the old results or the new, never a mixture."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from spcl.data.image_sources import images_of
from spcl.export.hub_folder import export_hub
from spcl.export.weights import export_weights
from spcl.footage.crops_folder import CropsFolder
from spcl.inference.embedding import load_encoder
from spcl.linking.link_table import tracks_in, write_links
from tests.trust.jobs import write_inputs, write_tracks
from tests.trust.killing import each_kill
from tests.trust.normal_form import files_of, temporary_in
from tests.trust.tally import tries


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoders")
    write_inputs(folder)
    return load_encoder(folder / "c.pth.tar"), load_encoder(folder / "other.pth.tar")


def check_kills(folder, write_old, write_new, *, spread):
    """Kill ``write_new`` before some of its changes; the folder has the old results or the new ones."""

    def prepare():
        shutil.rmtree(folder, ignore_errors=True)
        write_old()

    prepare()
    old = files_of(folder)
    write_new()
    new = files_of(folder)
    assert old != new
    left = []
    for _ in each_kill(write_new, prepare=prepare, spread=spread):
        left.append(files_of(folder))
        assert left[-1] in (old, new)
        write_new()
        assert files_of(folder) == new
        assert temporary_in(folder) == []
    assert old in left


def test_links_are_replaced_at_once(tmp_path):
    write_tracks(tmp_path)
    images = images_of(tmp_path / "tracks/crops.csv")
    tracks = tracks_in(images)

    def write(identities):
        write_links(tmp_path / "out/links", images, tracks, np.array(identities), np.full(6, 0.5), {})

    check_kills(
        tmp_path / "out", lambda: write([1, 2, 3, 4, 5, 6]), lambda: write([1, 2, 3, 1, 2, 3]), spread=tries(1000, 6)
    )


def test_crops_of_a_camera_are_replaced_at_once(tmp_path):
    def write(camera, track, value):
        with CropsFolder(tmp_path / "out/cut", camera, overwrite=True).crops() as crops:
            crops.write(np.full((8, 8, 3), value, np.uint8), track, 1, {"quality": 1.0})

    def write_old():
        write("b", "1", 0)
        write("a", "1", 9)

    check_kills(tmp_path / "out", write_old, lambda: write("a", "2", 200), spread=tries(1000, 6))


def test_crops_of_a_further_camera_are_added_after_a_kill(tmp_path):
    """Images in their place without rows in the table are those of a killed command, and are made again."""

    def write(camera):
        with CropsFolder(tmp_path / "cut", camera, overwrite=False).crops() as crops:
            crops.write(np.full((8, 8, 3), 9, np.uint8), "1", 1, {"quality": 1.0})

    def prepare():
        shutil.rmtree(tmp_path / "cut", ignore_errors=True)
        write("a")

    prepare()
    old = files_of(tmp_path / "cut")
    write("b")
    new = files_of(tmp_path / "cut")
    for _ in each_kill(lambda: write("b"), prepare=prepare, spread=tries(1000, 6)):
        table = files_of(tmp_path / "cut")["crops.csv"]
        assert table in (old["crops.csv"], new["crops.csv"])
        if table == old["crops.csv"]:
            write("b")
        else:
            CropsFolder(tmp_path / "cut", "b", overwrite=True)
        assert files_of(tmp_path / "cut") == new
        assert temporary_in(tmp_path / "cut") == []


@pytest.mark.slow
def test_a_hub_folder_is_replaced_at_once(encoders, tmp_path):
    ours, other = encoders
    check_kills(
        tmp_path / "out",
        lambda: export_hub(other, tmp_path / "out/hub", overwrite=True),
        lambda: export_hub(ours, tmp_path / "out/hub", overwrite=True),
        spread=tries(1000, 3),
    )


@pytest.mark.slow
def test_weights_never_lie_beside_the_card_of_others(encoders, tmp_path):
    ours, other = encoders
    file, card = tmp_path / "e.safetensors", tmp_path / "e.md"

    def write():
        export_weights(ours, file, overwrite=True)

    export_weights(other, file)
    old = files_of(tmp_path)
    write()
    new = files_of(tmp_path)
    for _ in each_kill(write, prepare=lambda: export_weights(other, file, overwrite=True), spread=tries(1000, 5)):
        left = files_of(tmp_path)
        assert left["e.safetensors"] in (old["e.safetensors"], new["e.safetensors"])
        whole = old if left["e.safetensors"] == old["e.safetensors"] else new
        assert left.get("e.md") in (None, whole["e.md"])
        write()
        assert files_of(tmp_path) == new
    # A killed export of new files is repeated without --overwrite.
    card.unlink()
    export_weights(ours, file)
    assert files_of(tmp_path) == new
