"""Settings of an adaptation, with defaults for a CPU; ``run_recipe.py`` makes a recipe of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from spcl.data.source_options import SourceOptions


@dataclass(frozen=True)
class AdaptationSettings:
    """Settings of ``adapt``; the defaults are meant for a CPU and some hundred to some thousand crops."""

    logs_dir: str = "runs/adapted"
    """Folder of the run: adapted.pth.tar, adaptation.json, and the files of a training run."""
    recipe: str = ""
    """Recipe of the training: its labels, memory, losses, augmentation, sampler and optimiser; a name of docs/cli.md or
    a TOML file. Without it: spcl-plus, with --resume that of the run; spcl is the paper's."""
    domain: Literal["auto", "target", "source"] = "auto"
    """Domain of the checkpoint whose batch norm is adapted; auto: the target, or the only domain."""
    arch: str = ""
    """Architecture; needed only for a checkpoint that does not contain it."""
    height: int = 0
    """Image height in pixels; 0: the checkpoint's (256 for a checkpoint that does not contain it)."""
    width: int = 0
    """Image width in pixels; 0: the checkpoint's (128 for a checkpoint that does not contain it)."""
    epochs: int = 8
    """Number of epochs; pseudo labels are computed at the start of each."""
    iters: int = 30
    """Number of steps in an epoch."""
    lr: float | None = None
    """Learning rate. Without it: the recipe's, 0.00035 in spcl and spcl-plus; spcl-plus uses three times the rate in
    runs of fewer than 1,000 steps, also of a given one."""
    batch_size: int = 32
    """Number of images in a step."""
    eps: float | Literal["auto"] | None = None
    """With --recipe spcl: largest distance of two neighbours in a cluster, 0 to 1 (without it: 0.6); auto: eps, k1 and
    k2 are suggested from the crops. spcl-plus chooses its clusters in each epoch, and takes auto only."""
    k1: int | None = None
    """Number of neighbours that are compared: about the number of images of an object. Without it: 20 with --recipe
    spcl; spcl-plus tries several in each epoch."""
    k2: int | None = None
    """With --recipe spcl: number of neighbours that are averaged. Without it: 6."""
    evaluate: str = ""
    """Labelled data to measure both encoders on: a registered name or a path. It does not affect the verdict."""
    data_dir: str = "examples/data"
    """Folder that holds the registered data sets."""
    columns: str = ""
    """Column names of a table that differ from the standard ones: path=file."""
    layout: Literal["auto", "all", "dataset"] = "auto"
    """Which crops of a folder are taken: all below it, or those of a data set's splits."""
    duplicates: Literal["keep", "first"] = "keep"
    """Byte-identical copies among the crops: keep all, or only the first."""
    pairs: str = ""
    """Table of known pairs of the crops: path_a, path_b, relation (same or different); several as a.csv,b.csv. A
    folder of spcl cluster means its corrections. Without it: pairs.csv beside the crops, where there is one."""
    no_tracks: bool = False
    """Do not use the tracks of the crops (column track), which are known to show one object each."""
    seed: int = 1
    """Seed of all random draws."""
    device: str = "auto"
    """Device of the network: auto, cpu, cuda, cuda:N or mps."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Floating-point precision of the network."""
    workers: int | Literal["auto"] = "auto"
    """Number of threads that decode images. auto: as --threads; 0: no separate threads."""

    def source(self) -> SourceOptions:
        """Give the options by which the crops and the labelled data are read."""
        return SourceOptions(
            data_dir=self.data_dir, columns=self.columns, layout=self.layout, duplicates=self.duplicates
        )
