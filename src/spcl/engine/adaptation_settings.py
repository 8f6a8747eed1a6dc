"""How an adaptation runs: a few settings with defaults for a CPU, and the settings of the training run they make.

Beside ``assemble.py``, which reads the settings of a run, this makes some.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from spcl.config import Recipe, overlay
from spcl.data.source_options import SourceOptions


@dataclass(frozen=True)
class AdaptationSettings:
    """How an encoder is adapted; the defaults are meant for a CPU and some hundred to some thousand crops."""

    logs_dir: str = "runs/adapted"
    """Folder of the run: adapted.pth.tar, adaptation.json, and what a training leaves."""
    domain: Literal["auto", "target", "source"] = "auto"
    """Whose batch norm of the checkpoint is adapted; auto: its target's, or its only one."""
    arch: str = ""
    """The architecture, where the checkpoint does not tell."""
    height: int = 0
    """Height of the images, pixels; 0: the checkpoint's own (256 where an official one does not tell)."""
    width: int = 0
    """Width of the images, pixels; 0: the checkpoint's own (128 where an official one does not tell)."""
    epochs: int = 8
    """Epochs; labels are made anew at the start of each."""
    iters: int = 30
    """Steps of an epoch."""
    lr: float = 0.00035
    """Adam's learning rate."""
    batch_size: int = 32
    """Images of a step."""
    eps: float | Literal["auto"] = 0.6
    """Of the clustering: largest distance of two neighbours; auto: eps, k1 and k2 are suggested by the crops."""
    k1: int = 20
    """Of the clustering: neighbours in the k-reciprocal encoding."""
    k2: int = 6
    """Of the clustering: neighbours in the local query expansion."""
    evaluate: str = ""
    """Labelled data to measure both encoders on: a registered name or a path. It decides nothing."""
    data_dir: str = "examples/data"
    """Folder that holds the registered data sets."""
    columns: str = ""
    """Names of a table's columns that differ: path=file."""
    layout: Literal["auto", "all", "dataset"] = "auto"
    """Crops of a folder: all below it, or those of a data set's splits."""
    duplicates: Literal["keep", "first"] = "keep"
    """Byte-identical copies among the crops: keep all, or the first alone."""
    seed: int = 1
    """Of every draw."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Precision of the network."""
    workers: int | Literal["auto"] = "auto"
    """Threads that decode images; auto: as many as compute (--threads); 0: none of their own."""

    def source(self) -> SourceOptions:
        """How the crops and the labelled data are read."""
        return SourceOptions(**self._reading())

    def _reading(self) -> dict[str, Any]:
        names = ("data_dir", "columns", "layout", "duplicates")
        return {name: getattr(self, name) for name in names}

    def to_config(self, checkpoint: Path, target: str) -> Recipe:
        """The settings of the run: those of the checkpoint, and these."""
        # Needs torch; these settings are also read for a help text.
        from spcl.engine.starting_point import settings_from_checkpoint

        told = settings_from_checkpoint(checkpoint, arch=self.arch or None)
        given: dict[str, dict[str, Any]] = {
            "data": {"target": target, **self._reading(), "workers": self.workers, "on_broken": "skip"},
            "network": {"from_checkpoint": str(checkpoint), "from_domain": self.domain},
            "labels": {"k1": self.k1, "k2": self.k2, "eps": self.eps},
            "schedule": {
                "batch_size": self.batch_size,
                "lr": self.lr,
                "epochs": self.epochs,
                "iters": self.iters,
                # Large steps first, a tenth of them for the last third.
                "step_size": max(1, 2 * self.epochs // 3),
            },
            "run": {
                "logs_dir": self.logs_dir,
                "seed": self.seed,
                "device": self.device,
                "precision": self.precision,
            },
        }
        given["data"] |= {name: side for name, side in (("height", self.height), ("width", self.width)) if side}
        config = overlay(Recipe(), told, f"checkpoint {checkpoint}")
        return overlay(config, given, "adapt")
