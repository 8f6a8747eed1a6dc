"""The data sets of the study: where their images are, how they are trained on, and the cut to few images an object."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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


SMALL = {"arch": "timm/tf_efficientnet_lite0", "batch_norm_group": 0}
FEW_IMAGES = 6


def panel(data: Path, work: Path, *, few: bool = True) -> dict[str, StudySet]:
    """Give the sets of the study by name, and write those that are rendered or cut.

    Args:
        data: Folder with ``omniglot``, ``cattle`` and ``grocery``; sets that are not there are left out.
        work: Folder of what is written.
        few: Whether each set is also given with ``FEW_IMAGES`` images an object.
    """
    sets: dict[str, StudySet] = {}
    if (data / "omniglot").is_dir():
        sets["omniglot-uda"] = StudySet(
            data / "omniglot/target",
            str(data / "omniglot/source.csv"),
            {
                "data": {"height": 64, "width": 64},
                "network": {"arch": "timm/resnet10t", "pretrained": "none", "batch_norm_group": 0},
                "schedule": {"iters": 40, "epochs": 20, "eval_step": 4},
                "optimiser": {"lr": 0.001},
            },
        )
    for kind, size in (("pedestrian", (128, 64)), ("vehicle", (96, 96))):
        street, studio = (rendered(work, kind, domain, size) for domain in ("street", "studio"))
        settings = {
            "data": {"height": size[0], "width": size[1]},
            "network": SMALL,
            "schedule": {"batch_size": 32, "iters": 30, "epochs": 6, "eval_step": 2},
        }
        sets[f"{kind}-uda"] = StudySet(street, str(studio), settings)
        sets[f"{kind}-usl"] = StudySet(street, "", settings)
    short = {"batch_size": 32, "iters": 20, "epochs": 6, "eval_step": 2}
    if (data / "cattle").is_dir():
        size = {"height": 128, "width": 64}
        sets["cattle-usl"] = StudySet(data / "cattle", "", {"data": size, "network": SMALL, "schedule": short})
    if (data / "grocery").is_dir():
        size = {"height": 128, "width": 128}
        sets["grocery-usl"] = StudySet(
            data / "grocery/grocery", "", {"data": size, "network": SMALL, "schedule": short}
        )
    if few:
        for name, given in list(sets.items()):
            cut = cut_to_few(given.target, work / f"{name}-{FEW_IMAGES}", FEW_IMAGES)
            sets[f"{name}-{FEW_IMAGES}"] = StudySet(cut, given.source, given.settings)
    return sets


def rendered(work: Path, kind: str, domain: str, size: tuple[int, int]) -> Path:
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
                height=size[0],
                width=size[1],
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
