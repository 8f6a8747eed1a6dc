"""Which parts of a training bring what: every part alone on the paper's recipe, the stack, the stack without each part.

    python benchmarks/study.py --data data --out runs/study                              (everything: days on two cores)
    python benchmarks/study.py --data data --out runs/study --sets omniglot-uda --variants spcl stack --seeds 1 2 3

Every run is one of ``spcl sweep``: the same command again goes on where it was stopped, and the table is made from all
runs that are finished. For each set the *floor* (UDA: the source alone; USL: a hardly trained encoder) and the
*ceiling* (the true labels in place of pseudo labels, the paper's recipe) are trained once for each seed; the figure of
a variant is its share of the way from floor to ceiling. The identities of the target's training images measure only.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score
from study_sets import StudySet, set_names, study_set
from study_table import study_table

from spcl import PseudoLabels
from spcl.cli.main import run_guarded
from spcl.config import Recipe, load_recipe, overlay
from spcl.data.catalogue import load_dataset
from spcl.errors import InputError
from spcl.experiments.sweep import SweepOptions, sweep
from spcl.records import identities_of
from spcl.reporting.console import ConsoleReporter, ReporterListener
from spcl.reporting.events import Event, Labelled, RunStarted

QUALITY_FILE = "label_quality.jsonl"

# Each part is what it adds to the paper's recipe, by section.
PARTS: dict[str, dict[str, Any]] = {
    "fresh features": {"label_features": {"kind": "extracted"}},
    "views": {"label_features": {"kind": "views"}},
    "unit centroids": {"losses": [{"kind": "normalised-centroids", "temperature": 0.05}]},
    "settings each epoch": {"labels": {"kind": "self-paced-each-epoch"}},
    "average linkage": {"labels": {"kind": "average-linkage"}},
    "cluster memory": {"memory": {"kind": "cluster"}},
    "cluster memory, hardest": {"memory": {"kind": "cluster", "update": "hardest"}},
    "cameras": {"labels": {"kind": "average-linkage", "cameras": "auto"}},
    "refreshed cluster memory": {
        "memory": {"kind": "cluster"},
        "label_features": {"kind": "extracted-into-memory"},
    },
    "several positives": {
        "losses": [{"kind": "normalised-centroids", "weight": 0.5}, {"kind": "several-positives", "weight": 0.5}]
    },
    "two views": {
        "sampler": {"kind": "two-views"},
        "losses": [{"kind": "normalised-centroids"}, {"kind": "two-views"}],
    },
    "affine": {"augmentation": {"kind": "affine"}},
    # Three times the rate from random weights and in runs of fewer than 1,000 steps; the paper's otherwise.
    "rate": {
        "optimiser": {
            **{"kind": "adamw", "decoupled": False, "schedule": "step"},
            **{"random_weights_factor": 3.0, "short_run_factor": 3.0},
        }
    },
    "cosine": {"optimiser": {"kind": "adamw", "decoupled": False, "schedule": "cosine", "warmup_epochs": 1}},
    "teacher": {"teacher": {"kind": "ema", "momentum": 0.98}},
    "gem": {"network": {"pooling": "gem"}},
    "colour": {"augmentation": {"kind": "affine", "brightness": 0.2, "contrast": 0.2, "saturation": 0.2}},
    "grey and blur": {"augmentation": {"kind": "affine", "grey": 0.1, "blur": 0.2}},
    "cluster consensus": {"losses": [{"kind": "cluster-consensus"}]},
}
NO_TRACKS: dict[str, Any] = {"data": {"no_tracks": True}}
STACK = ("fresh features", "average linkage", "affine", "rate", "cosine")


@dataclass(frozen=True)
class TrueLabels:
    """The true identities in place of pseudo labels: the ceiling. Measures only."""

    data: str = ""

    def label(self, features: Any, target: Any) -> PseudoLabels:
        """The identities of the training images."""
        return PseudoLabels.from_labels(identities_of(load_dataset(self.data).train))


@dataclass(frozen=True)
class StudyOptions:
    """What is trained."""

    data: Path = Path("data")
    """Folder with omniglot, cattle and grocery."""
    out: Path = Path("runs/study")
    """Folder of the runs and of the table."""
    sets: tuple[str, ...] = ()
    """Data sets; none: all."""
    variants: tuple[str, ...] = ()
    """Variants: spcl, stack, floor, ceiling, true labels (stack with them), PART, "without PART", +PART; none: all."""
    seeds: tuple[int, ...] = (1, 2, 3)
    """Seeds."""
    set: tuple[str, ...] = ()
    """Settings of every run, JSON values: schedule.epochs=2 run.precision=bf16."""
    table_only: bool = False
    """Make the table from the finished runs, and train nothing."""


class LabelQuality:
    """Writes BCubed F and the adjusted Rand index of each epoch's labels beside the run; a listener."""

    def __init__(self, truth: NDArray[np.int64]) -> None:
        self.truth, self.folder = truth, Path()

    def on(self, event: Event) -> None:
        """Note the run, and rate its labels."""
        if isinstance(event, RunStarted):
            self.folder = event.folder
        if isinstance(event, Labelled) and len(event.labels):
            row = label_quality(event.labels, self.truth)
            with (self.folder / QUALITY_FILE).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def label_quality(labels: NDArray[np.int64], truth: NDArray[np.int64]) -> dict[str, float]:
    """Give BCubed precision, recall and F, the adjusted Rand index, and the number of true objects.

    Args:
        labels: ``[N]`` int64, a class for each image; an image alone is a class of one.
        truth: ``[N]`` int64 identities.
    """
    classes, objects = (np.unique(each, return_inverse=True)[1].reshape(-1) for each in (labels, truth))
    pairs, counts = np.unique(np.stack([classes, objects]), axis=1, return_counts=True)
    precision = float((counts**2 / np.bincount(classes)[pairs[0]]).sum() / len(labels))
    recall = float((counts**2 / np.bincount(objects)[pairs[1]]).sum() / len(labels))
    return {
        "precision": precision,
        "recall": recall,
        "F": 2 * precision * recall / (precision + recall),
        "ARI": float(adjusted_rand_score(truth, labels)),
        "objects": int(objects.max()) + 1,
    }


def variants() -> dict[str, dict[str, Any]]:
    """Give every variant by name, as what it changes in the paper's recipe."""
    stack = merged(*(PARTS[part] for part in STACK))
    found: dict[str, dict[str, Any]] = {"floor": {}, "ceiling": {}, "spcl": {}, "stack": stack}
    found["true labels"] = stack
    # On a set with tracks, spcl and stack use them.
    found |= {"spcl, no tracks": NO_TRACKS, "stack, no tracks": merged(stack, NO_TRACKS)}
    found |= PARTS
    for part in PARTS:
        if part in STACK:
            found[f"without {part}"] = merged(*(PARTS[each] for each in STACK if each != part))
        elif part != "settings each epoch":  # it takes the place of average linkage
            found[f"+{part}"] = merged(stack, PARTS[part])
    return found


def merged(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """Give sections of several parts together."""
    whole: dict[str, Any] = {}
    for part in parts:
        for section, values in part.items():
            whole[section] = values if isinstance(values, list) else {**whole.get(section, {}), **values}
    return whole


def recipe_of(name: str, given: StudySet, settings: Mapping[str, Any]) -> Recipe:
    """Give the recipe of a variant on a data set.

    Args:
        name: Name of the variant.
        given: The data set.
        settings: Sections that are laid over it last.
    """
    changed = variants()[name]
    true_labels = {"labels": {"kind": "study:TrueLabels", "data": str(given.target)}}
    if name == "ceiling":
        changed = true_labels
    if name == "true labels":
        # Not merged: the settings of the labels that it replaces are not its own.
        changed = {**changed, **true_labels}
    if name == "floor" and given.source:
        changed = {"schedule": {"source_only": True}}
    recipe = overlay(load_recipe("spcl"), changed, name)
    recipe = overlay(recipe, given.settings, "data set")
    if name == "floor" and not given.source:
        # Batch norm and weights move by nothing that could be seen.
        still = {"schedule": {"epochs": 1, "iters": 1}, "optimiser": {"lr": 1e-12}}
        recipe = overlay(recipe, still, name)
    return overlay(recipe, settings, "--set")


def given_settings(texts: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Give ``schedule.epochs=2`` as sections."""
    sections: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, _, value = text.partition("=")
        section, _, setting = name.partition(".")
        try:
            read = json.loads(value)
        except ValueError:
            read = value
        sections.setdefault(section, {})[setting] = read
    return sections


def known(wanted: Sequence[str], names: Sequence[str], what: str) -> list[str]:
    """Give the wanted names, or all; raise an ``InputError`` for one that is not known."""
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise InputError(f"there is no {what} {unknown[0]!r}; expected {', '.join(names)}", code="no-such-name")
    return list(wanted or names)


def study(options: StudyOptions) -> str:
    """Train what is not finished yet, and give the table as Markdown; it is also written to ``table.md``."""
    chosen = known(options.sets, set_names(options.data), "set")
    names = known(options.variants, list(variants()), "variant")
    for set_name in () if options.table_only else chosen:
        given = study_set(set_name, options.data, options.out / "data")
        truth = identities_of(load_dataset(given.target).train)
        for name in names:
            folder = options.out / set_name / name.replace(" ", "-")
            sweep(
                given.target,
                source=given.source or None,
                recipe=recipe_of(name, given, given_settings(options.set)),
                seeds=options.seeds,
                logs_dir=folder,
                options=SweepOptions(listeners=(LabelQuality(truth), ReporterListener(ConsoleReporter()))),
            )
    table = study_table(options.out, chosen, list(variants()), QUALITY_FILE)
    (options.out / "table.md").write_text(table, encoding="utf-8")
    return table


def main(arguments: list[str] | None = None) -> None:
    """Run the study."""
    run_guarded(lambda: print(study(tyro.cli(StudyOptions, args=arguments))))


if __name__ == "__main__":
    # The ceiling's labeller is a kind of this file.
    sys.modules.setdefault("study", sys.modules[__name__])
    main()
