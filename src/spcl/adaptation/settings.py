"""Settings of an adaptation, with defaults for a CPU, and the recipe of the training run that they give.

``training_run/assemble.py`` builds the run from that recipe.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from spcl.config import Recipe, overlay
from spcl.data.source_options import SourceOptions


@dataclass(frozen=True)
class AdaptationSettings:
    """Settings of ``adapt``; the defaults are meant for a CPU and some hundred to some thousand crops."""

    logs_dir: str = "runs/adapted"
    """Folder of the run: adapted.pth.tar, adaptation.json, and the files of a training run."""
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
    lr: float = 0.00035
    """Learning rate of Adam."""
    batch_size: int = 32
    """Number of images in a step."""
    eps: float | Literal["auto"] = 0.6
    """Largest distance of two neighbours in a cluster, 0 to 1; auto: eps, k1 and k2 are suggested from the crops."""
    k1: int = 20
    """Number of neighbours that are compared: about the number of images of an object."""
    k2: int = 6
    """Number of neighbours that are averaged."""
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
        return SourceOptions(**self._reading())

    def _reading(self) -> dict[str, Any]:
        names = ("data_dir", "columns", "layout", "duplicates")
        return {name: getattr(self, name) for name in names}

    def to_config(self, checkpoint: Path, target: str) -> Recipe:
        """Give the recipe of the run: the checkpoint's settings with these laid over them."""
        # Imported here because it needs torch, and the help text reads these settings without torch.
        from spcl.training_run.starting_point import settings_from_checkpoint

        stored = settings_from_checkpoint(checkpoint, arch=self.arch or None)
        given: dict[str, dict[str, Any]] = {
            "data": {"target": target, **self._reading(), "workers": self.workers, "on_broken": "skip"},
            "network": {"from_checkpoint": str(checkpoint), "from_domain": self.domain},
            "labels": {"k1": self.k1, "k2": self.k2, "eps": self.eps},
            "schedule": {
                "batch_size": self.batch_size,
                "lr": self.lr,
                "epochs": self.epochs,
                "iters": self.iters,
                # The full learning rate first, a tenth of it for the last third.
                "step_size": max(1, 2 * self.epochs // 3),
            },
            "run": {
                "logs_dir": self.logs_dir,
                "seed": self.seed,
                "device": self.device,
                "precision": self.precision,
            },
        }
        given["data"] |= {"pairs": self.pairs, "no_tracks": self.no_tracks}
        given["data"] |= {name: side for name, side in (("height", self.height), ("width", self.width)) if side}
        config = overlay(Recipe(), stored, f"checkpoint {checkpoint}")
        return overlay(config, given, "adapt")
