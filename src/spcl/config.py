"""The recipe of a run: the settings of its parts, composed, and read from and written to TOML. No behaviour.

A recipe (``recipes/*.toml``), a file of the user's and the command line are laid over one another in this order;
the result is written beside the checkpoint. The settings of a part are in the file of the part, in ``training/``; those
of data, network, schedule and run are in ``sections.py``. The defaults are the paper's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w

from spcl.errors import InputError, require
from spcl.kinds import KINDS, MOVED
from spcl.nested_text import toml_of
from spcl.sections import DataConfig as DataConfig
from spcl.sections import NetworkConfig as NetworkConfig
from spcl.sections import RunConfig as RunConfig
from spcl.sections import ScheduleConfig as ScheduleConfig
from spcl.settings import kind_of, overlaid, plain_values
from spcl.training.adam import AdamSettings
from spcl.training.augmentation import AugmentationSettings
from spcl.training.contrastive import ContrastiveSettings
from spcl.training.hybrid_memory import HybridMemorySettings
from spcl.training.identity_sampling import IdentitySamplerSettings
from spcl.training.memory_rows import MemoryRowsSettings
from spcl.training.paper_augmentation import PaperAugmentationSettings
from spcl.training.parts import (
    FeatureSource,
    Labeller,
    LossTerm,
    Memory,
    Optimisation,
    SamplerSettings,
    Settings,
    Teacher,
)
from spcl.training.self_paced_labels import SelfPacedLabelSettings


@dataclass(frozen=True)
class Recipe:
    """The settings of a training run.

    Attributes:
        data: The images and how they are read.
        network: The encoder.
        labels: The labeller: ``[labels] kind = "..."``.
        label_features: Source of the features from which labels are computed.
        memory: The memory, which the losses read.
        losses: The terms of the loss, in TOML each one a table ``[[losses]]``. Two terms have two names.
        teacher: A second network that follows the encoder; None: there is none.
        augmentation: Random transforms of training images.
        sampler: Chooses the images of each batch.
        optimiser: The optimiser and its schedule.
        schedule: Batches and steps.
        run: Log folder, seed, device and precision of the run.
    """

    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    labels: Settings[Labeller] | Labeller = field(default_factory=SelfPacedLabelSettings)
    label_features: Settings[FeatureSource] = field(default_factory=MemoryRowsSettings)
    memory: Settings[Memory] = field(default_factory=HybridMemorySettings)
    losses: tuple[Settings[LossTerm] | LossTerm, ...] = (ContrastiveSettings(),)
    teacher: Settings[Teacher] | None = None
    augmentation: AugmentationSettings = field(default_factory=PaperAugmentationSettings)
    sampler: SamplerSettings = field(default_factory=IdentitySamplerSettings)
    optimiser: Settings[Optimisation] = field(default_factory=AdamSettings)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        require(bool(self.losses), "losses", self.losses, "at least one term")


DEFAULT_RECIPE = "spcl-plus"
"""The recipe of a training for which none is named; ``spcl`` is the paper's."""


def recipe_names() -> list[str]:
    """Give the names of the recipes that come with the package."""
    folder = resources.files("spcl.recipes")
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Load a recipe of the package, or one in a TOML file.

    Args:
        name_or_path: One of ``recipe_names()``, or the path of a TOML file. The values of a file replace those of the
            recipe that it names as ``base``, ``base = "spcl-plus"``, or the defaults.

    Returns:
        Recipe: every setting of a training run, frozen; ``dataclasses.replace`` gives an altered copy.

    Raises:
        InputError: If there is no such recipe, it names an unknown setting, or a value is out of range.
    """
    name = str(name_or_path)
    if isinstance(name_or_path, Path) or name.endswith(".toml"):
        return load_config(Path(name))
    if name not in recipe_names():
        raise InputError(f"there is no recipe {name!r}; there are {', '.join(recipe_names())}", code="no-such-recipe")
    values = toml_of(resources.files("spcl.recipes").joinpath(f"{name}.toml").read_text(encoding="utf-8"))
    base = base_of(values, name)
    return overlay(load_recipe(base) if base else Recipe(), _without_base(values), f"recipe {name}")


def base_of(values: Mapping[str, Any], where: str) -> str:
    """Give the name of the recipe that values start from: their ``base``; empty: the defaults.

    Raises:
        InputError: If there is no such recipe.
    """
    base = values.get("base", "")
    if "base" in values and base not in recipe_names():
        raise InputError(
            f"{where}: base is {base!r}; expected the name of a recipe: {', '.join(recipe_names())}",
            code="no-such-recipe",
        )
    return str(base)


def _without_base(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in values.items() if name != "base"}


def load_config(path: Path, base: Recipe | None = None) -> Recipe:
    """Read a TOML file; its settings replace those of ``base`` (None: of the recipe that it names as ``base``, if any).

    The kind of a part may be ``module:Name``, which is searched for in the folder of the file as well.

    Raises:
        InputError: If the file cannot be read, names an unknown setting or holds a value out of range.
    """
    values = read_settings(path)
    if base is None:
        name = base_of(values, str(path))
        base = load_recipe(name) if name else Recipe()
    return overlay(base, _without_base(values), str(path), folder=path.parent)


def read_settings(path: Path) -> dict[str, Any]:
    """Read a TOML file as plain values, by section.

    Raises:
        InputError: If the file cannot be read, or is not valid.
    """
    try:
        return toml_of(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"cannot read the settings file {path}: {error.strerror or error}", code="unreadable-file"
        ) from error
    except ValueError as error:
        raise InputError(f"{path} is not valid TOML: {error}", code="malformed-settings") from error


def overlay(base: Recipe, values: Mapping[str, Any], where: str, *, folder: Path | None = None) -> Recipe:
    """Give a copy of a recipe with some values replaced.

    Args:
        base: The recipe.
        values: The new values; sections as nested mappings, losses as a list of mappings. A section with another
            ``kind`` than the base's starts from that kind's defaults.
        where: Name of the origin of the values in error messages.
        folder: Folder that is searched for modules with kinds of the user, besides the import path.

    Raises:
        InputError: For an unknown name, a wrong type, a value out of range, or a kind that cannot be loaded.
    """
    return overlaid(base, in_new_places(values, base), where, kinds=KINDS, folder=folder)


def in_new_places(values: Mapping[str, Any], base: Recipe | None = None) -> dict[str, Any]:
    """Give settings in which those of version 0.1.0 are moved to their present places.

    A setting is not moved if the kind of its section has a setting of that name.
    """
    moved = {name: dict(part) if isinstance(part, Mapping) else part for name, part in values.items()}
    for (section, name), (new_section, new_name) in MOVED.items():
        part = moved.get(section)
        if not isinstance(part, dict) or name not in part or ":" in str(part.get("kind", "")):
            continue
        if base is not None and hasattr(getattr(base, section), name):
            continue
        value = part.pop(name)
        if new_section == "losses":
            moved["losses"] = _with_temperature(moved.get("losses"), value, base or Recipe())
        else:
            moved[new_section] = {new_name: value} | dict(moved.get(new_section) or {})
    return moved


def _with_temperature(terms: Any, value: Any, base: Recipe) -> list[dict[str, Any]]:
    """Set the temperature of the terms of the loss that are kinds of the package; no terms: those of the base."""
    given = terms or [{"kind": kind_of("losses", term, KINDS)} for term in base.losses]
    if not any(term.get("kind") in KINDS["losses"] for term in given):
        raise InputError(
            f"temperature is {value!r}, and no term of the loss takes its temperature from the section [memory]",
            code="option-does-not-apply",
        )
    return [{"temperature": value} | term if term.get("kind") in KINDS["losses"] else term for term in given]


def to_values(recipe: Recipe) -> dict[str, Any]:
    """Give every setting as plain values, by section, with the kind of each part; None values are left out."""
    return plain_values(recipe, KINDS)


def to_toml(recipe: Recipe) -> str:
    """Give the settings as TOML text with every value."""
    return tomli_w.dumps(to_values(recipe))
