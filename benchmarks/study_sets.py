"""The data sets of the study: where their images are, how they are trained on, and the cut to few images an object."""

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
SIZES = {"pedestrian": (128, 64), "vehicle": (96, 96)}
"""Kinds of rendered objects, and the height and width of their images."""
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
    return [*whole, *(f"{name}-{FEW_IMAGES}" for name in whole)]


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
    kind, _, task = name.partition("-")
    if kind == "omniglot":
        return StudySet(data / "omniglot/target", str(data / "omniglot/source.csv"), OMNIGLOT)
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


def rendered(work: Path, kind: str, domain: str) -> Path:
    """Render the street or the studio of the demonstration, unless it is there."""
    folder = work / f"{domain}-{kind}"
    if not (folder / "query").is_dir():
        write_market1501(
            folder,
            SyntheticSpec(
                kind=kind,
                domain=domain,
                train_identities=40,
                test_identities=40,
                cameras=4,
                images_per_camera=6,
                height=SIZES[kind][0],
                width=SIZES[kind][1],
                seed=1,
            ),
        )
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


def write_table(path: Path, records: Sequence[Record]) -> None:
    """Write records as a table with absolute paths, identities and, where they are known, cameras."""
    has_cameras = all(record.camera is not None for record in records)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "identity", *(["camera"] if has_cameras else [])])
        for record in records:
            row = [str(record.path.absolute()), f"id{record.identity}"]
            writer.writerow([*row, *([record.camera] if has_cameras else [])])
