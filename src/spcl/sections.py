"""The settings of a run that belong to no part: data, network, schedule and run. The defaults are the paper's."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

from spcl.errors import InputError, require
from spcl.pixel_range import PixelRange


@dataclass(frozen=True)
class DataConfig:
    """The images, and how they are read."""

    source: str = ""
    """Labelled source domain: a registered name or a path; several as a+b. Without it: no source."""
    target: str = ""
    """Unlabelled target domain: a registered name or a path; several as a+b."""
    data_dir: str = "examples/data"
    """Folder that holds the registered data sets."""
    identity_from: Literal["auto", "table", "folder", "top-folder", "name"] = "auto"
    """Identities of the source: table (a column), folder (the folder of an image), top-folder (the folder directly
    below the given one) or name (the number before _c in the file name): docs/data.md."""
    layout: Literal["auto", "all", "dataset"] = "auto"
    """Which images of a folder: all below it, or those in the folders of a data set. auto: an error if these differ by
    more than a tenth."""
    duplicates: Literal["keep", "first"] = "keep"
    """Byte-identical copies among the training images: keep all, or only the first."""
    columns: str = ""
    """Names of the table's columns, where they differ from the standard ones: path=file,identity=track_id."""
    time_format: str = ""
    """Format of the times in a table, in the codes of strptime (%d.%m.%Y). Without it: ISO 8601, EXIF or Unix time."""
    pairs: str = ""
    """Table of known pairs of the target's images: path_a, path_b, relation (same or different); several as
    a.csv,b.csv. A folder of spcl cluster means its corrections. Without it: pairs.csv beside the images, where there is
    one."""
    no_tracks: bool = False
    """Do not use the tracks of the target's images (column track), which are known to show one object each."""
    height: int = 256
    """Height in pixels of the images that the network receives."""
    width: int = 128
    """Width in pixels of the images that the network receives."""
    workers: int | Literal["auto"] = "auto"
    """Number of threads that decode images. auto: as --threads; 0: no separate threads."""
    image_memory: float = 4.0
    """Largest size in GiB of a set of resized images that is kept in memory; a larger set is kept in the cache
    folder."""
    cache_dir: str = ""
    """Folder for resized images that do not fit in memory. none: decode each time. Without it: ~/.cache/spcl."""
    check: Literal["sample", "all"] = "sample"
    """Which images are opened before the first step, to find broken ones: a sample, or all."""
    range: str = "auto"
    """Grey images of more than 8 bits. auto: stretch those that use little of their range; full: the range of the file;
    LOW:HIGH: the values that become black and white, for example 0:4095."""
    on_broken: Literal["error", "skip"] = "error"
    """What to do with an image that cannot be read: stop, or name it and leave it out."""

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
    """The network: resnet18/34/50/101/152, resnet_ibn50a, resnet_ibn101a, or timm/NAME."""
    pretrained: str = "auto"
    """The first weights. auto: ImageNet weights, found or downloaded; none: random; or a file."""
    from_checkpoint: str = ""
    """Start from the encoder of this checkpoint, which also sets --arch, --features, --pooling, --height and
    --width."""
    from_domain: Literal["auto", "target", "source"] = "auto"
    """With --from-checkpoint: the domain whose batch norm the target starts from. auto: target, or the only domain."""
    features: int = 0
    """Length of an embedding layer before the last batch norm; 0: none."""
    dropout: float = 0.0
    """Dropout rate of the feature in training, 0 to below 1."""
    pooling: Literal["avg", "gem"] = "avg"
    """Pooling of feature maps: average, or generalised-mean with a learnt exponent. Networks of tokens (ViT) pool by
    themselves, and take avg only."""
    last_stride: Literal[0, 1, 2] = 0
    """Stride of the last stage; 0: 1 for ResNets as in the paper, the network's own for timm."""
    batch_norm_group: int = 16
    """Number of images over which batch norm computes its statistics in training; 0: all of a domain in the batch."""

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
    """Number of images of each domain in a batch."""
    epochs: int = 50
    """Number of epochs; pseudo labels are computed at the start of each."""
    iters: int = 400
    """Number of steps in an epoch."""
    eval_step: int = 10
    """Number of epochs between evaluations; the last epoch is always evaluated."""
    select: Literal["auto", "evaluation", "label-free", "last"] = "evaluation"
    """Epoch that is kept as the best: by the mAP of evaluations; label-free: by its pseudo labels, without identities;
    auto: by mAP where the target has queries, otherwise label-free; last: none."""
    patience: int = 0
    """Stop after this number of epochs without a better one by --select; 0: never."""
    accumulate: int = 1
    """Number of parts in which a batch is encoded if it is too large for the device; the result is the same."""
    source_only: bool = False
    """Train on the labelled source alone and evaluate on the target: the baseline of an adaptation."""

    def __post_init__(self) -> None:
        require(self.batch_size >= 2, "batch_size", self.batch_size, "at least 2 images")
        for name in ("epochs", "iters", "eval_step", "accumulate"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.patience >= 0, "patience", self.patience, "0 or more epochs")
        if self.patience and self.select == "last":
            raise InputError(
                f"patience is {self.patience}, and select last compares no epochs; give --select auto",
                code="option-contradiction",
            )


@dataclass(frozen=True)
class RunConfig:
    """Log folder, seed, device and precision of the run."""

    logs_dir: str = "runs/spcl"
    """Folder of the run: checkpoints, settings, metrics."""
    seed: int = 1
    """Seed of all random draws; the same command gives the same numbers on the same machine."""
    device: str = "auto"
    """Device of the network: auto, cpu, cuda, cuda:N or mps."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Precision of the network; the loss and the memory are always float32."""
    compile: bool = False
    """Compile the network (torch.compile): minutes at the start, faster steps on a GPU."""
    checkpoint_iters: int = 0
    """Number of steps between two saves inside an epoch; 0: save only at the end of each epoch."""

    def __post_init__(self) -> None:
        require(bool(self.logs_dir), "logs_dir", self.logs_dir, "a folder")
        require(self.seed >= 0, "seed", self.seed, "0 or more")
        require(self.checkpoint_iters >= 0, "checkpoint_iters", self.checkpoint_iters, "0 or more")
