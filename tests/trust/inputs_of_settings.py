"""Random settings and facts in text: recipes, sweeps, runs, calibrations, times, file names, lists of data sets."""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from spcl.config import Recipe, load_recipe, recipe_names, to_toml
from spcl.data.catalogue import load_dataset
from spcl.data.image_sources import images_of
from spcl.data.time_parsing import as_time
from spcl.experiments.finished_runs import read_run
from spcl.experiments.plan import parsed_settings, plan
from spcl.experiments.table import table_of
from spcl.pages.run_curves import curves_section, read_runs
from spcl.pages.run_settings import settings_of_runs
from spcl.training_run.own_recipe import recipe_of_run
from spcl.verification.calibration import Calibration
from spcl.verification.stored_calibration import EncoderCalibration, read_calibration
from spcl.verification.stranger_scores import StrangerScores
from tests.fakes import draw, write_fake
from tests.gallery.features import unit_rows
from tests.trust.mutations import VALUES, WORDS, damaged_bytes, damaged_text, damaged_value, encoded
from tests.trust.workers import EntryPoint, TryInput

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def _toml(rng: random.Random, samples: Sequence[str]) -> bytes:
    """Recipes: damaged as text, or with other values."""
    if rng.random() < 0.5:
        try:
            return tomli_w.dumps(damaged_value(rng, tomllib.loads(rng.choice(samples)))).encode(
                "utf-8", "surrogatepass"
            )
        except (TypeError, ValueError, AttributeError):
            pass
    return (
        encoded(rng, damaged_text(rng, samples))
        if rng.random() < 0.8
        else damaged_bytes(rng, [s.encode() for s in samples])
    )


def _recipe_samples() -> list[str]:
    names = [f"{name}.toml" for name in recipe_names()]
    return [resources.files("spcl.recipes").joinpath(name).read_text("utf-8") for name in names] + [to_toml(Recipe())]


def _recipe(folder: Path) -> TryInput:
    samples, path = _recipe_samples(), folder / "recipe.toml"

    def try_input(rng: random.Random) -> None:
        path.write_bytes(_toml(rng, samples))
        load_recipe(path)

    return try_input


def _sweep(folder: Path) -> TryInput:
    samples = (
        "labels.eps=0.5,0.6",
        "losses.0.temperature=0.05,0.1",
        'data.target=["a,b", "c"]',
        "schedule.epochs=3",
        "network.arch=resnet50",
        "memory.kind=cluster",
        "labels.search=auto",
        "optimiser.rate=1e-4,3.5e-4",
    )
    names = [
        f"{name}="
        for name in ("run.seed", "schedule.lr", "data.height", "memory.momentum", "labels.k1", "losses", "labels")
    ]

    def try_input(rng: random.Random) -> None:
        texts = [
            damaged_text(rng, samples) if rng.random() < 0.7 else rng.choice(names) + rng.choice(WORDS)
            for _ in range(rng.randrange(1, 3))
        ]
        plan(Recipe(), seeds=rng.choice(((), (1, 2), (1, 1), (-1,))), settings=parsed_settings(texts), logs_dir=folder)

    return try_input


def _run(folder: Path) -> TryInput:
    """The files of a run, as ``spcl runs`` and ``spcl report`` read them."""
    config = to_toml(Recipe())
    rows = [
        {
            "epoch": epoch,
            "loss": 2.5 / epoch,
            "mAP": 0.1 * epoch,
            "top1": 0.2,
            "num_clusters": 12,
            "num_unclustered": 3,
            "losses": {"contrastive": 1.0},
            "seconds": {"labels": 1.5, "training": 20.0},
            "label_agreement": None,
            "largest_cluster": 4,
        }
        for epoch in (1, 2, 3)
    ]

    def try_input(rng: random.Random) -> None:
        (folder / "config.toml").write_bytes(_toml(rng, [config]) if rng.random() < 0.5 else config.encode())
        lines = [json.dumps(damaged_value(rng, row) if rng.random() < 0.3 else row, default=str) for row in rows]
        text = "\n".join(lines) + "\n"
        text = damaged_text(rng, [text]) if rng.random() < 0.3 else text
        (folder / "metrics.jsonl").write_bytes(text.encode("utf-8", "surrogatepass"))
        if rng.random() < 0.5:
            shown = read_runs([folder])
            curves_section(shown)
            settings_of_runs(shown)
        else:
            recipe_of_run(folder)
            table = table_of([read_run(folder)])
            table.to_csv(), table.to_markdown(), table.to_latex(), json.dumps(table.to_dict(), default=str)

    return try_input


def calibration_values() -> dict[str, Any]:
    """A whole calibration as plain values."""
    rng = np.random.default_rng(0)
    same, different = rng.normal(0.8, 0.05, 400).clip(-1, 1), rng.normal(0.1, 0.1, 4000).clip(-1, 1)
    groups = np.sort(rng.choice(60, size=(4000, 2)), axis=1)
    objects = np.arange(240) // 6
    strangers = StrangerScores.measure(unit_rows(240), objects, objects, rng)
    found = Calibration.fit(same, different, different_groups=groups, strangers=strangers)
    return dict(json.loads(json.dumps(EncoderCalibration(found, "labels", "f", 400, 60, ("a note",)).to_dict())))


def _calibration(folder: Path) -> TryInput:
    values, path = calibration_values(), folder / "calibration.json"
    text = json.dumps(values)

    def try_input(rng: random.Random) -> None:
        if rng.random() < 0.7:
            path.write_text(json.dumps(damaged_value(rng, values)))
        else:
            path.write_bytes(damaged_bytes(rng, [text.encode()]))
        found = read_calibration(path)[0].calibration
        for rate in (0.1, 1e-3):
            found.threshold(rate)
        found.probability(rng.uniform(-1, 1))

    return try_input


def _times(folder: Path) -> TryInput:
    samples = (
        "2026-03-01 12:00:05.25",
        "2026-03-01T12:00:05+02:00",
        "20260301T120005Z",
        "2026:03:01 12:00:05",
        "1772366400",
        "1772366400.5",
        "2026-03-01",
        "03/01/2026 12:00",
        "Sun, 01 Mar 2026 12:00:05 +0000",
        "12:00",
    )
    formats = ("", "", "", "%Y-%m-%d %H:%M:%S.%f", "%d.%m.%Y", "%s", "%Z%z", "%", "%Q", "%j%U%w", "x" * 100)

    def try_input(rng: random.Random) -> None:
        value = rng.choice(VALUES) if rng.random() < 0.2 else damaged_text(rng, samples)
        as_time(value, rng.choice(formats))

    return try_input


def _names(folder: Path) -> TryInput:
    """A folder of images with names of any form, read as a data set."""
    samples = (
        "0001_c1s1_000151_01.jpg",
        "0002_c3_f0001.png",
        "-1_c1s1_000900_00.jpg",
        "cam 7/ann/1.png",
        "query/0005_c2s1_1_0.jpg",
        "bounding_box_train/0002_c1s1_1_00.jpg",
        "bounding_box_test/0003_c2s1_1_00.jpg",
        "img_20260301_120000.jpeg",
        "c6/t12/000001.webp",
    )
    images = [draw(folder / "images" / f"{number}.png", number) for number in range(3)]

    def try_input(rng: random.Random) -> None:
        root = folder / f"set {rng.random()}"
        for _ in range(rng.randrange(1, 6)):
            name = rng.choice(samples) if rng.random() < 0.4 else damaged_text(rng, samples)
            parts = [
                part[:60].strip("\x00")
                for part in name.encode("utf-8", "surrogateescape" if "\udc80" in name else "replace")
                .decode("utf-8", "replace")
                .split("/")
            ]
            path = root.joinpath(*[part.replace("\x00", "") for part in parts if part not in ("", ".", "..")])
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                os.link(rng.choice(images), path)
            except OSError:
                continue
        if root.exists():
            images_of(root, labelled=rng.random() < 0.5)

    return try_input


def _listed_data_set(name: str, lists: Sequence[str]) -> Callable[[Path], TryInput]:
    """A registered data set that is described by lists of names and identities."""

    def prepare(folder: Path) -> TryInput:
        root = write_fake(name, folder)
        whole = {file: (root / file).read_text() for file in lists}

        def try_input(rng: random.Random) -> None:
            for file, text in whole.items():
                (root / file).write_bytes(
                    encoded(rng, damaged_text(rng, [text])) if rng.random() < 0.4 else text.encode()
                )
            load_dataset(name, folder)

        return try_input

    return prepare


ENTRY_POINTS = (
    EntryPoint("recipe, TOML", _recipe),
    EntryPoint("settings of a sweep", _sweep),
    EntryPoint("files of a run", _run),
    EntryPoint("calibration, JSON", _calibration),
    EntryPoint("times", _times, (ValueError,)),
    EntryPoint("names of files and folders", _names),
    EntryPoint("lists of MSMT17", _listed_data_set("msmt17", ("list_train.txt", "list_query.txt", "list_gallery.txt"))),
    EntryPoint(
        "lists of VehicleID",
        _listed_data_set("vehicleid", ("train_test_split/train_list.txt", "train_test_split/test_list_800.txt")),
    ),
)
