"""The settings of a run: frozen, typed, validated, read from and written to TOML. No behaviour.

A recipe (``recipes/*.toml``), a file of the user's and the command line are laid over one another in this order;
what results is written beside the checkpoint. Only ``engine/assemble.py`` and the command line read this; every other
part takes plain arguments. Defaults are the paper's.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from importlib import resources
from math import inf
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tomli_w

from spcl.errors import InputError
from spcl.pixel_range import PixelRange

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")


def _require(condition: bool, name: str, value: object, expected: str) -> None:
    if not condition:
        raise InputError(f"{name} is {value!r}; expected {expected}")


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how they are read."""

    source: str = ""
    """Labelled source domain: a registered name or a path; several as a+b. Empty: from the target alone."""
    target: str = ""
    """Unlabelled target domain: a registered name or a path."""
    data_dir: str = "examples/data"
    """Folder that holds the registered data sets."""
    identity_from: Literal["auto", "table", "folder", "name"] = "auto"
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
        _require(self.height > 0, "height", self.height, "a positive number of pixels")
        _require(self.width > 0, "width", self.width, "a positive number of pixels")
        PixelRange.parse(self.range)
        _require(self.workers == "auto" or self.workers >= 0, "workers", self.workers, "auto, or 0 or more")
        _require(0 <= self.image_memory < inf, "image_memory", self.image_memory, "a finite number of GiB, 0 or more")


@dataclass(frozen=True)
class NetworkConfig:
    """The encoder."""

    arch: str = "resnet50"
    """resnet18/34/50/101/152, resnet_ibn50a, resnet_ibn101a, or timm/NAME."""
    pretrained: str = "auto"
    """auto: ImageNet weights, found or downloaded; none: random weights; otherwise a file."""
    from_checkpoint: str = ""
    """Start from the whole encoder of this checkpoint, which then tells arch, features, pooling and size."""
    from_domain: Literal["auto", "target", "source"] = "auto"
    """Whose batch norm of that checkpoint starts the target's; auto: its target's, or its only one."""
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
        _require(bool(self.arch), "arch", self.arch, "the name of a network")
        _require(self.features >= 0, "features", self.features, "0 (none) or a length")
        _require(0 <= self.dropout < 1, "dropout", self.dropout, "a rate from 0 to below 1")
        _require(self.batch_norm_group != 1, "batch_norm_group", self.batch_norm_group, "0 or at least 2 images")
        _require(self.batch_norm_group >= 0, "batch_norm_group", self.batch_norm_group, "0 or at least 2 images")


@dataclass(frozen=True)
class LabelConfig:
    """Pseudo labels."""

    k1: int = 30
    """Neighbours in the k-reciprocal encoding, the image itself included."""
    k2: int = 6
    """Neighbours in the local query expansion."""
    eps: float | Literal["auto"] = 0.6
    """DBSCAN: largest distance of two neighbours; auto: eps, k1 and k2 are suggested by the first epoch's features."""
    eps_gap: float = 0.02
    """How far the tight and the loose clustering lie from eps."""
    min_samples: int = 4
    """DBSCAN: neighbours, itself included, that make a core sample."""
    search: Literal["auto", "torch", "faiss", "approximate"] = "auto"
    """Of the neighbours: torch and faiss compare every pair; approximate those of near regions; auto goes by size."""

    def __post_init__(self) -> None:
        _require(self.k1 >= 1, "k1", self.k1, "at least 1")
        _require(self.k2 >= 1, "k2", self.k2, "at least 1")
        _require(self.eps_gap >= 0, "eps_gap", self.eps_gap, "0 or more")
        _require(
            self.eps == "auto" or (self.eps - self.eps_gap >= 0 and self.eps + self.eps_gap < 1),
            "eps",
            self.eps,
            f"a Jaccard distance with eps - {self.eps_gap} at least 0 and eps + {self.eps_gap} below 1",
        )
        _require(self.min_samples >= 1, "min_samples", self.min_samples, "at least 1")
        if self.eps == "auto":
            _require(self.min_samples >= 2, "min_samples", self.min_samples, "at least 2 with eps auto")
            _require(self.eps_gap <= 0.1, "eps_gap", self.eps_gap, "at most 0.1 with eps auto")


@dataclass(frozen=True)
class MemoryConfig:
    """The hybrid memory and its loss."""

    momentum: float = 0.2
    """Share of the old feature when a memory row moves."""
    temperature: float = 0.05
    """Divides the similarities in the loss."""

    def __post_init__(self) -> None:
        _require(0 <= self.momentum <= 1, "momentum", self.momentum, "a share from 0 to 1")
        _require(0 < self.temperature < inf, "temperature", self.temperature, "a positive, finite number")


@dataclass(frozen=True)
class ScheduleConfig:
    """Batches, steps and the optimiser."""

    batch_size: int = 64
    """Images of each domain in a batch."""
    num_instances: int = 4
    """Images of an identity or a cluster in a batch."""
    lr: float = 0.00035
    """Adam's learning rate."""
    weight_decay: float = 5e-4
    """Adam's weight decay."""
    epochs: int = 50
    """Epochs; labels are made anew at the start of each."""
    iters: int = 400
    """Steps of an epoch."""
    step_size: int = 20
    """Epochs after which the learning rate falls to a tenth."""
    eval_step: int = 10
    """Epochs between evaluations; the last epoch is always evaluated."""
    accumulate: int = 1
    """Parts that a batch is encoded in, one after the other, where it is too large for the device; same result."""
    source_only: bool = False
    """Train on the labelled source alone and evaluate on the target: the baseline that adaptation must beat."""

    def __post_init__(self) -> None:
        _require(self.batch_size >= 2, "batch_size", self.batch_size, "at least 2 images")
        _require(self.num_instances >= 1, "num_instances", self.num_instances, "at least 1")
        _require(0 < self.lr < inf, "lr", self.lr, "a positive, finite number")
        _require(0 <= self.weight_decay < inf, "weight_decay", self.weight_decay, "a finite number, 0 or more")
        for name in ("epochs", "iters", "step_size", "eval_step", "accumulate"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")


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
    memory: Literal["auto", "replicated", "sharded"] = "auto"
    """The hybrid memory of several processes: whole on each, or a part on each; auto: by its size."""
    checkpoint_iters: int = 0
    """Steps between two saves inside an epoch; 0: at the end of each epoch only."""

    def __post_init__(self) -> None:
        _require(bool(self.logs_dir), "logs_dir", self.logs_dir, "a folder")
        _require(self.seed >= 0, "seed", self.seed, "0 or more")
        _require(self.checkpoint_iters >= 0, "checkpoint_iters", self.checkpoint_iters, "0 or more")


@dataclass(frozen=True)
class Config:
    """All the settings of a training run."""

    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    labels: LabelConfig = field(default_factory=LabelConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    run: RunConfig = field(default_factory=RunConfig)


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    folder = resources.files("spcl.recipes")
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_recipe(name: str) -> Config:
    """A recipe of the package.

    Raises:
        InputError: If there is no such recipe.
    """
    if name not in recipe_names():
        raise InputError(f"there is no recipe {name!r}; there are {', '.join(recipe_names())}")
    text = resources.files("spcl.recipes").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    return overlay(Config(), tomllib.loads(text), f"recipe {name}")


def load_config(path: Path, base: Config | None = None) -> Config:
    """The settings in a TOML file, laid over ``base`` (None: the defaults).

    Raises:
        InputError: If the file cannot be read, names an unknown setting or holds a value out of range.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the settings file {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}") from error
    return overlay(base or Config(), values, str(path))


def overlay(base: T, values: Mapping[str, Any], where: str) -> T:
    """A copy of a settings object with some values replaced.

    Args:
        base: A dataclass of this module.
        values: Its new values; sections as nested mappings.
        where: What to call the origin in an error.

    Raises:
        InputError: For an unknown name, a wrong type or a value out of range.
    """
    known = {entry.name: getattr(base, entry.name) for entry in fields(base)}  # type: ignore[arg-type]
    types = get_type_hints(type(base))
    for name, value in values.items():
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
            raise InputError(f"{where}: unknown setting {name!r}{hint}")
        if is_dataclass(known[name]):
            if not isinstance(value, Mapping):
                raise InputError(f"{where}: {name!r} is a section; write its settings under [{name}]")
            known[name] = overlay(known[name], value, f"{where} [{name}]")
        else:
            known[name] = _typed(value, types[name], f"{where}: {name}")
    try:
        return type(base)(**known)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _typed(value: Any, expected: Any, where: str) -> Any:
    if get_origin(expected) in (Union, UnionType):  # a number, or a word in its place
        kind, words = get_args(expected)
        if isinstance(value, str) and value not in get_args(words):
            raise InputError(f"{where} is {value!r}; expected {kind.__name__} or {', '.join(get_args(words))}")
        return value if isinstance(value, str) else _typed(value, kind, where)
    if get_origin(expected) is Literal:
        if value not in get_args(expected):
            raise InputError(f"{where} is {value!r}; expected one of {', '.join(map(repr, get_args(expected)))}")
        return value
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        raise InputError(f"{where} is {value!r}; expected {expected.__name__}")
    return value


def to_toml(config: Config) -> str:
    """The settings as TOML text, every value written out."""
    return tomli_w.dumps(asdict(config))
