"""The data sets of the study: where their images are, how they are trained on, the cut to few images, simulated tracks.

Sets named ``NAME-tracks`` have the images of ``NAME`` and simulated tracks: the training images of one identity and
camera. Each camera sees its tracks in random order; a track begins before the one before it has ended, so that tracks
are simultaneous with their neighbours. On omniglot a camera is four drawers, so that a track has four images.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from spcl.data.catalogue import load_dataset
from spcl.data.synthetic import SyntheticSpec, write_market1501
from spcl.records import Record


@dataclass(frozen=True)
class StudySet:
    """A data set of the study.

    Attributes:
        target: The unlabelled images; their identities measure only.
        source: The labelled images; empty: none.
        settings: Sections of the recipe that hold for every variant: size, network, number of steps.
    """

    target: Path
    source: str = ""
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


FEW_IMAGES = 6
DRAWERS = 4
"""Drawers of omniglot that count as one camera where tracks are simulated."""
FRAMES_BETWEEN, FRAMES_TO_THE_NEXT = 3, 8
"""Frames between two images of a simulated track, and between the beginnings of two tracks of a camera."""
SIZES = {"pedestrian": (128, 64), "vehicle": (96, 96)}
"""Kinds of rendered objects, and the height and width of their images."""
DEMONSTRATION = SyntheticSpec(train_identities=40, test_identities=40, cameras=4, images_per_camera=6, seed=1)
KEPT_BACK = SyntheticSpec(train_identities=60, test_identities=40, cameras=6, images_per_camera=3, seed=7)
"""Other objects and cameras, for ``pedestrian-kept`` and ``vehicle-kept``: no choice was made by them."""
OMNIGLOT = {
    "data": {"height": 64, "width": 64},
    "network": {"arch": "timm/resnet10t", "pretrained": "none", "batch_norm_group": 0},
    "schedule": {"iters": 40, "epochs": 20, "eval_step": 4},
}


def set_names(data: Path) -> list[str]:
    """Give the names of the sets of the study; those whose images are not in ``data`` are left out."""
    there = [f"{name}-usl" for name in ("cattle", "grocery") if (data / name).is_dir()]
    omniglot = ["omniglot-uda"] if (data / "omniglot").is_dir() else []
    street = [f"{kind}-{task}" for kind in SIZES for task in ("uda", "usl")]
    whole = [*omniglot, *street, *there]
    tracked = [f"{name}-tracks" for name in whole if not name.startswith("grocery")]
    kept = [f"{kind}-kept" for kind in SIZES]
    return [*whole, *(f"{name}-{FEW_IMAGES}" for name in whole), *kept, *tracked]


def study_set(name: str, data: Path, work: Path) -> StudySet:
    """Give a set of the study; it is rendered or cut where that was not done before.

    Args:
        name: One of ``set_names``.
        data: Folder with ``omniglot``, ``cattle`` and ``grocery``.
        work: Folder of what is rendered or cut.
    """
    if name.endswith(f"-{FEW_IMAGES}"):
        whole = study_set(name[: -len(f"-{FEW_IMAGES}")], data, work)
        return replace(whole, target=cut_to_few(whole.target, work / name, FEW_IMAGES))
    if name.endswith("-tracks"):
        whole = study_set(name.removesuffix("-tracks"), data, work)
        drawers = DRAWERS if name.startswith("omniglot") else 1
        return replace(whole, target=with_tracks(whole.target, work / name, cameras_together=drawers))
    kind, _, task = name.partition("-")
    if kind == "omniglot":
        return StudySet(data / "omniglot/target", str(data / "omniglot/source.csv"), OMNIGLOT)
    if kind in SIZES and task == "kept":
        return StudySet(rendered(work, kind, "street", KEPT_BACK), "", settings_of(SIZES[kind], epochs=5))
    if kind in SIZES:
        street = rendered(work, kind, "street")
        source = str(rendered(work, kind, "studio")) if task == "uda" else ""
        return StudySet(street, source, settings_of(SIZES[kind], epochs=4 if source else 5))
    if kind == "cattle":
        return StudySet(data / "cattle", "", settings_of((128, 64), epochs=5))
    return StudySet(data / "grocery/grocery", "", settings_of((128, 128), epochs=5))


def settings_of(size: tuple[int, int], *, epochs: int) -> dict[str, dict[str, Any]]:
    """Give the settings of photographs and of rendered images: a small network with ImageNet weights, a short run.

    A run takes one to two minutes on one core, so that the whole panel can be run in an evening.
    """
    return {
        "data": {"height": size[0], "width": size[1]},
        "network": {"arch": "timm/tf_efficientnet_lite0", "batch_norm_group": 0},
        "schedule": {"batch_size": 32, "iters": 20, "epochs": epochs, "eval_step": 2},
    }


def rendered(work: Path, kind: str, domain: str, scene: SyntheticSpec = DEMONSTRATION) -> Path:
    """Render the street or the studio, unless it is there: the demonstration's, or another one."""
    folder = work / (f"{domain}-{kind}" if scene == DEMONSTRATION else f"{domain}-{kind}-seed{scene.seed}")
    if not (folder / "query").is_dir():
        height, width = SIZES[kind]
        write_market1501(folder, replace(scene, kind=kind, domain=domain, height=height, width=width))
    return folder


def cut_to_few(target: Path, cut: Path, most: int) -> Path:
    """Write the tables of a data set with at most ``most`` training images of each identity; the test is the same.

    Returns:
        The path to give as a data set: tables ``..._train.csv``, ``..._query.csv`` and ``..._gallery.csv``.
    """
    dataset = load_dataset(target)
    cut.parent.mkdir(parents=True, exist_ok=True)
    by_identity: dict[int | None, list[Record]] = defaultdict(list)
    for record in dataset.train:
        by_identity[record.identity].append(record)
    few = [
        records[at]
        for records in by_identity.values()
        for at in np.unique(np.linspace(0, len(records) - 1, min(most, len(records))).astype(np.int64))
    ]
    for split, records in (("train", few), ("query", dataset.query), ("gallery", dataset.gallery)):
        write_table(cut.parent / f"{cut.name}_{split}.csv", records)
    return cut


def with_tracks(target: Path, tracked: Path, *, cameras_together: int = 1) -> Path:
    """Write the tables of a data set with simulated tracks of its training images; the test is the same.

    Args:
        target: The data set; cameras are known.
        tracked: Common beginning of the names of the tables.
        cameras_together: Number of cameras that count as one.

    Returns:
        The path to give as a data set: tables ``..._train.csv``, ``..._query.csv`` and ``..._gallery.csv``.
    """
    dataset = load_dataset(target)
    tracked.parent.mkdir(parents=True, exist_ok=True)
    train = [replace(record, camera=(record.camera or 0) // cameras_together) for record in dataset.train]
    for split, records in (("train", simulated_tracks(train)), ("query", dataset.query), ("gallery", dataset.gallery)):
        write_table(tracked.parent / f"{tracked.name}_{split}.csv", records)
    return tracked


def simulated_tracks(records: Sequence[Record], *, seed: int = 0) -> list[Record]:
    """Make the images of each identity and camera a track; the tracks of a camera overlap in random order."""
    members: dict[tuple[int | None, int | None], list[int]] = defaultdict(list)
    for row, record in enumerate(records):
        members[record.camera, record.identity].append(row)
    rng = np.random.default_rng(seed)
    keys = [list(members)[at] for at in rng.permutation(len(members))]
    starts: dict[int | None, int] = defaultdict(int)
    tracked = list(records)
    for number, key in enumerate(keys):
        for place, row in enumerate(members[key]):
            frame = starts[key[0]] + FRAMES_BETWEEN * place
            tracked[row] = replace(records[row], track=str(number), frame=frame)
        starts[key[0]] += FRAMES_TO_THE_NEXT
    return tracked


def write_table(path: Path, records: Sequence[Record]) -> None:
    """Write records as a table with absolute paths, identities and, where they are known, cameras and tracks."""
    has_cameras = all(record.camera is not None for record in records)
    has_tracks = any(record.track is not None for record in records)
    names = [*(["camera"] if has_cameras else []), *(["track", "frame"] if has_tracks else [])]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "identity", *names])
        for record in records:
            row = [str(record.path.absolute()), f"id{record.identity}"]
            writer.writerow([*row, *(getattr(record, name) for name in names)])
