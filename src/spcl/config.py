"""The recipe of a run: the settings of its parts, composed, and read from and written to TOML. No behaviour.

A recipe (``recipes/*.toml``), a file of the user's and the command line are laid over one another in this order;
what results is written beside the checkpoint. Settings of a part stand in the file of the part, in ``training/``; the
settings here are those of data, network, schedule and run. Defaults are the paper's.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from math import inf
from pathlib import Path
from typing import Any, Literal

import tomli_w

from spcl.errors import InputError, require
from spcl.kinds import KINDS, MOVED
from spcl.pixel_range import PixelRange
from spcl.settings import kind_of, overlaid, plain_values
from spcl.training.adam import AdamSettings
from spcl.training.contrastive import ContrastiveSettings
from spcl.training.hybrid_memory import HybridMemorySettings
from spcl.training.identity_sampling import IdentitySamplerSettings
from spcl.training.memory_rows import MemoryRowsSettings
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

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how they are read."""

    source: str = ""
    """Labelled source domain: a registered name or a path; several as a+b. Empty: from the target alone."""
    target: str = ""
    """Unlabelled target domain: a registered name or a path."""
    data_dir: str = "examples/data"
    """Folder that holds the registered data sets."""
    identity_from: Literal["auto", "table", "folder", "top-folder", "name"] = "auto"
    """Identities of the source: a table's column, the folder an image lies in, or the number before _c in its name."""
    layout: Literal["auto", "all", "dataset"] = "auto"
    """Images of a folder: all below it, or those of a data set's splits; auto: an error where they differ by much."""
    duplicates: Literal["keep", "first"] = "keep"
    """Byte-identical copies among the training images: keep all, or the first alone."""
    columns: str = ""
    """Names of a table's columns that differ: path=file,identity=track_id."""
    time_format: str = ""
    """How times are written in a table, as strptime has it; empty: ISO 8601, EXIF's form or Unix time."""
    height: int = 256
    """Height of the images that the network sees, pixels."""
    width: int = 128
    """Width of the images that the network sees, pixels."""
    workers: int | Literal["auto"] = "auto"
    """Threads that decode images; auto: as many as compute (--threads); 0: none of their own."""
    image_memory: float = 4.0
    """Resized images are kept in memory up to this size, GiB per set; beyond it, in a file of the cache folder."""
    cache_dir: str = ""
    """Folder for resized images that do not fit in memory; empty: ~/.cache/spcl; none: they are decoded each time."""
    check: Literal["sample", "all"] = "sample"
    """Which images are opened before the first step."""
    range: str = "auto"
    """Of images of more than 8 bits, the values that are black and white: auto, full, or LOW:HIGH."""
    on_broken: Literal["error", "skip"] = "error"
    """What to do with an image that cannot be read: stop, or name it, count it and leave it out."""

    def __post_init__(self) -> None:
        require(self.height > 0, "height", self.height, "a positive number of pixels")
        require(self.width > 0, "width", self.width, "a positive number of pixels")
        PixelRange.parse(self.range)
        require(self.workers == "auto" or self.workers >= 0, "workers", self.workers, "auto, or 0 or more")
        require(0 <= self.image_memory < inf, "image_memory", self.image_memory, "a finite number of GiB, 0 or more")


@dataclass(frozen=True)
class NetworkConfig:
    """The encoder."""

    arch: str = "resnet50"
    """resnet18/34/50/101/152, resnet_ibn50a, resnet_ibn101a, or timm/NAME."""
    pretrained: str = "auto"
    """auto: ImageNet weights, found or downloaded; none: random weights; otherwise a file."""
    from_checkpoint: str = ""
    """Start from the whole encoder of this checkpoint, which then sets arch, features, pooling and size."""
    from_domain: Literal["auto", "target", "source"] = "auto"
    """Domain of that checkpoint whose batch norm the target starts from; auto: the target, or the only domain."""
    features: int = 0
    """Length of an embedding layer before the neck; 0: none."""
    dropout: float = 0.0
    """Dropout on the normalised feature in training."""
    pooling: Literal["avg", "gem"] = "avg"
    """Average pooling, or generalised-mean pooling with a learnt exponent."""
    last_stride: Literal[0, 1, 2] = 0
    """Stride of the last stage; 0: 1 for ResNets as in the paper, the network's own for timm."""
    batch_norm_group: int = 16
    """Images over which batch norm takes its statistics in training; 0: the domain's whole part of the batch."""

    def __post_init__(self) -> None:
        require(bool(self.arch), "arch", self.arch, "the name of a network")
        require(self.features >= 0, "features", self.features, "0 (none) or a length")
        require(0 <= self.dropout < 1, "dropout", self.dropout, "a rate from 0 to below 1")
        require(self.batch_norm_group != 1, "batch_norm_group", self.batch_norm_group, "0 or at least 2 images")
        require(self.batch_norm_group >= 0, "batch_norm_group", self.batch_norm_group, "0 or at least 2 images")


@dataclass(frozen=True)
class ScheduleConfig:
    """Batches and steps."""

    batch_size: int = 64
    """Images of each domain in a batch."""
    epochs: int = 50
    """Epochs; labels are made anew at the start of each."""
    iters: int = 400
    """Steps of an epoch."""
    eval_step: int = 10
    """Epochs between evaluations; the last epoch is always evaluated."""
    accumulate: int = 1
    """Parts that a batch is encoded in, one after the other, where it is too large for the device; same result."""
    source_only: bool = False
    """Train on the labelled source alone and evaluate on the target: the baseline that adaptation must beat."""

    def __post_init__(self) -> None:
        require(self.batch_size >= 2, "batch_size", self.batch_size, "at least 2 images")
        for name in ("epochs", "iters", "eval_step", "accumulate"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")


@dataclass(frozen=True)
class RunConfig:
    """Where and how the run runs."""

    logs_dir: str = "runs/spcl"
    """Folder of the run: checkpoints, settings, metrics."""
    seed: int = 1
    """One seed for everything; the same command gives the same numbers on the same machine."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Precision of the network; the loss and the memory are always float32."""
    compile: bool = False
    """Compile the network (torch.compile): minutes at the start, faster steps on a GPU."""
    checkpoint_iters: int = 0
    """Steps between two saves inside an epoch; 0: at the end of each epoch only."""

    def __post_init__(self) -> None:
        require(bool(self.logs_dir), "logs_dir", self.logs_dir, "a folder")
        require(self.seed >= 0, "seed", self.seed, "0 or more")
        require(self.checkpoint_iters >= 0, "checkpoint_iters", self.checkpoint_iters, "0 or more")


@dataclass(frozen=True)
class Recipe:
    """All the settings of a training run.

    Attributes:
        data: The images and how they are read.
        network: The encoder.
        labels: The labeller: ``[labels] kind = "..."``.
        label_features: Source of the features from which labels are computed.
        memory: The memory, which the losses read.
        losses: The terms of the loss, in TOML each one a table ``[[losses]]``. Two terms have two names.
        teacher: A second network that follows the encoder; None: there is none.
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
    sampler: SamplerSettings = field(default_factory=IdentitySamplerSettings)
    optimiser: Settings[Optimisation] = field(default_factory=AdamSettings)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        require(bool(self.losses), "losses", self.losses, "at least one term")


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    folder = resources.files("spcl.recipes")
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_recipe(name_or_path: str | Path) -> Recipe:
    """A recipe of the package, or one in a TOML file.

    Args:
        name_or_path: One of ``recipe_names()``, or the path of a TOML file, laid over the defaults.

    Returns:
        Recipe: every setting of a training run, frozen; ``dataclasses.replace`` gives an altered copy.

    Raises:
        InputError: If there is no such recipe, it names an unknown setting, or a value is out of range.
    """
    name = str(name_or_path)
    if isinstance(name_or_path, Path) or name.endswith(".toml"):
        return load_config(Path(name))
    if name not in recipe_names():
        raise InputError(f"there is no recipe {name!r}; there are {', '.join(recipe_names())}")
    text = resources.files("spcl.recipes").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    return overlay(Recipe(), tomllib.loads(text), f"recipe {name}")


def load_config(path: Path, base: Recipe | None = None) -> Recipe:
    """The settings in a TOML file, laid over ``base`` (None: the defaults).

    A part's kind may be ``module:Name``, code of the user's own: it is looked for in the file's folder, too.

    Raises:
        InputError: If the file cannot be read, names an unknown setting or holds a value out of range.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the settings file {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}") from error
    return overlay(base or Recipe(), values, str(path), folder=path.parent)


def overlay(base: Recipe, values: Mapping[str, Any], where: str, *, folder: Path | None = None) -> Recipe:
    """A copy of a recipe with some values replaced.

    Args:
        base: The recipe.
        values: Its new values; sections as nested mappings, losses as a list of mappings. A section with another
            ``kind`` than the base's starts from that kind's defaults.
        where: Name of the origin of the values in error messages.
        folder: Where modules of kinds of the user's own are looked for, beside the usual places.

    Raises:
        InputError: For an unknown name, a wrong type, a value out of range, or a kind that cannot be loaded.
    """
    return overlaid(base, in_new_places(values, base), where, kinds=KINDS, folder=folder)


def in_new_places(values: Mapping[str, Any], base: Recipe | None = None) -> dict[str, Any]:
    """Settings with those of version 0.1.0 moved to their present places.

    A setting of an old name stays where the section's own kind has a setting of that name.
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
    """Terms of the loss, the base's where none are given, with a temperature for each kind of the package's."""
    given = terms or [{"kind": kind_of("losses", term, KINDS)} for term in base.losses]
    if not any(term.get("kind") in KINDS["losses"] for term in given):
        raise InputError(f"temperature is {value!r}, and no term of the loss is of a kind that takes it from here")
    return [{"temperature": value} | term if term.get("kind") in KINDS["losses"] else term for term in given]


def to_values(recipe: Recipe) -> dict[str, Any]:
    """Every setting as plain values, by section, with the kind of each part; what is None is left out."""
    return plain_values(recipe, KINDS)


def to_toml(recipe: Recipe) -> str:
    """The settings as TOML text, every value written out."""
    return tomli_w.dumps(to_values(recipe))
