"""From the settings of an adaptation to the recipe of its training run; ``training_run/assemble.py`` builds the run.

A recipe gives the parts of the training and what the checkpoint leaves open of the network. Images and steps are those
of the adaptation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spcl.adaptation.settings import AdaptationSettings
from spcl.config import DEFAULT_RECIPE, Recipe, load_recipe, overlay, recipe_names, to_values
from spcl.errors import InputError
from spcl.kinds import KINDS
from spcl.settings import kind_of
from spcl.training.self_paced_labels import SelfPacedLabelSettings
from spcl.training_run.own_recipe import recipe_of_run

LABELS_OF_CROPS: Mapping[str, Any] = {"k1": 20, "k2": 6, "eps": 0.6}
"""The paper's labels where the package's recipe has them and nothing else is given: fewer images of an object."""

_OF_THE_ADAPTATION = ("data", "schedule", "run")
"""Sections that are not taken from a recipe."""


@dataclass(frozen=True)
class ChosenRecipe:
    """The recipe of an adaptation.

    Attributes:
        recipe: The recipe, before the settings of the adaptation are laid over it.
        name: Its name or its file; empty: that of the run that is continued.
        notes: Sentences for the user: which one it is, and what of it is not used.
    """

    recipe: Recipe
    name: str
    notes: tuple[str, ...]


def chosen_recipe(settings: AdaptationSettings, *, resume: bool = False) -> ChosenRecipe:
    """Give the recipe that is named; without a name that of the run that is continued, or the default one.

    Args:
        settings: The settings of the adaptation.
        resume: Whether the run in the log folder is continued.

    Raises:
        InputError: If there is no such recipe, or a setting was given that its labels do not have.
    """
    own = recipe_of_run(Path(settings.logs_dir)) if resume and not settings.recipe else None
    if own is not None:
        chosen = ChosenRecipe(own, "", ("recipe: that of the run that is continued",))
    else:
        name = settings.recipe or DEFAULT_RECIPE
        recipe = load_recipe(name)
        words = f"recipe {name}" + ("" if settings.recipe else "; --recipe spcl is the paper's")
        chosen = ChosenRecipe(recipe, name, (words, *_not_used(recipe)))
    _check_labels(settings, chosen)
    return chosen


def _not_used(recipe: Recipe) -> list[str]:
    """A sentence about the sections that a recipe sets and an adaptation does not take from it."""
    plain, found = to_values(Recipe()), to_values(recipe)
    # An adaptation rates its last epoch, so that no other one is chosen.
    plain["schedule"]["select"] = found["schedule"]["select"]
    names = [name for name in _OF_THE_ADAPTATION if found[name] != plain[name]]
    if not names:
        return []
    listed = " and ".join(f"[{name}]" for name in names)
    return [f"not used of it: {listed}; image size and steps are those of the checkpoint and of the flags"]


def _label_settings(settings: AdaptationSettings) -> dict[str, Any]:
    """Give those of eps, k1 and k2 that were given."""
    return {name: value for name in ("eps", "k1", "k2") if (value := getattr(settings, name)) is not None}


def _check_labels(settings: AdaptationSettings, chosen: ChosenRecipe) -> None:
    """Raise an ``InputError`` for a setting of the clusters that the recipe's labels do not have."""
    labels = chosen.recipe.labels
    unknown = [name for name in _used(labels, _label_settings(settings)) if not hasattr(labels, name)]
    if not unknown:
        return
    flags = ", ".join(f"--{name} {getattr(settings, name)}" for name in unknown)
    recipe = f"the recipe {chosen.name}" if chosen.name else "the recipe of the run that is continued"
    raise InputError(
        f"{flags}: {recipe} has labels of the kind {kind_of('labels', labels, KINDS)!r}, which have no such setting"
        f"{' and choose their clusters in each epoch' if _chooses_thresholds(labels) else ''}; leave it out, or start "
        "from a recipe with the paper's labels: --recipe spcl",
        code="option-does-not-apply",
    )


def _chooses_thresholds(labels: object) -> bool:
    return getattr(labels, "threshold", None) == "auto"


def _used(labels: object, given: dict[str, Any]) -> dict[str, Any]:
    """Leave out ``eps = "auto"`` where the labels do in each epoch what it asks for."""
    done = given.get("eps") == "auto" and _chooses_thresholds(labels)
    return {name: value for name, value in given.items() if not (done and name == "eps")}


def run_recipe(settings: AdaptationSettings, chosen: ChosenRecipe, checkpoint: Path, target: str) -> Recipe:
    """Give the recipe of the run: a recipe's parts, over them the checkpoint's settings, and over both the given ones.

    Args:
        settings: The settings of the adaptation.
        chosen: Result of ``chosen_recipe``.
        checkpoint: The encoder to start from.
        target: Name of the crops.

    Raises:
        InputError: If the file is no checkpoint, or a value is out of range.
    """
    # Imported here because it needs torch, and the help text reads the settings without torch.
    from spcl.training_run.starting_point import settings_from_checkpoint

    stored = settings_from_checkpoint(checkpoint, arch=settings.arch or None)
    taken = {name: part for name, part in vars(chosen.recipe).items() if name not in _OF_THE_ADAPTATION}
    config = overlay(Recipe(**taken), stored, f"checkpoint {checkpoint}")
    return overlay(config, _given(settings, chosen, checkpoint, target), "adapt")


def _given(settings: AdaptationSettings, chosen: ChosenRecipe, checkpoint: Path, target: str) -> dict[str, Any]:
    """Give the settings of the adaptation by the sections of a recipe."""
    recipe = chosen.recipe
    labels = _used(recipe.labels, _label_settings(settings))
    if type(recipe.labels) is SelfPacedLabelSettings and chosen.name in recipe_names():
        labels = {**LABELS_OF_CROPS, **labels}
    optimiser: dict[str, Any] = {} if settings.lr is None else {"lr": settings.lr}
    if getattr(recipe.optimiser, "schedule", "step") == "step" and hasattr(recipe.optimiser, "step_size"):
        # The full learning rate first, a tenth of it for the last third.
        optimiser["step_size"] = max(1, 2 * settings.epochs // 3)
    reading = {name: getattr(settings, name) for name in ("data_dir", "columns", "layout", "duplicates")}
    reading |= {name: getattr(settings, name) for name in ("workers", "pairs", "no_tracks")}
    reading |= {name: side for name in ("height", "width") if (side := getattr(settings, name))}
    return {
        "data": {"target": target, **reading, "on_broken": "skip"},
        "network": {"from_checkpoint": str(checkpoint), "from_domain": settings.domain},
        "labels": labels,
        "optimiser": optimiser,
        "schedule": {name: getattr(settings, name) for name in ("batch_size", "epochs", "iters")},
        "run": {name: getattr(settings, name) for name in ("logs_dir", "seed", "device", "precision")},
    }
