"""The command lines of the official project's scripts, names and defaults as there.

``examples/spcl_train_uda.py``, ``examples/spcl_train_usl.py`` and ``examples/test.py`` call the functions at the end;
what runs is the engine of ``spcl train`` and ``spcl evaluate``. One flag is new: ``--pretrained``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Annotated, ClassVar, Literal, TypeVar

import tyro

from spcl.cli.command_line import options_of
from spcl.cli.computing import CommandOptions
from spcl.config import DataConfig, NetworkConfig, Recipe, RunConfig, ScheduleConfig
from spcl.threads import use_threads
from spcl.training.adam import AdamSettings
from spcl.training.contrastive import ContrastiveSettings
from spcl.training.hybrid_memory import HybridMemorySettings
from spcl.training.identity_sampling import IdentitySamplerSettings
from spcl.training.self_paced_labels import SelfPacedLabelSettings

T = TypeVar("T", bound=CommandOptions)
_Short = tyro.conf.arg


@dataclass(frozen=True, kw_only=True)
class _Shared(CommandOptions):
    """Flags of both training scripts."""

    batch_size: Annotated[int, _Short(aliases=["-b"])] = 64
    """Images of each domain in a batch."""
    workers: Annotated[int | Literal["auto"], _Short(aliases=["-j"])] = "auto"
    """Threads that decode images; auto: as many as compute; 0: none of their own."""
    height: int = 256
    """Height of the images that the network sees, pixels."""
    width: int = 128
    """Width of the images that the network sees, pixels."""
    num_instances: int = 4
    """Images of each identity in a batch; 0: images are drawn at random."""
    eps: float = 0.6
    """Largest distance of two neighbours in DBSCAN."""
    eps_gap: float = 0.02
    """How far the tight and the loose clustering lie from eps."""
    k1: int = 30
    """Neighbours of the Jaccard distance."""
    k2: int = 6
    """Neighbours of its query expansion."""
    arch: Annotated[str, _Short(aliases=["-a"])] = "resnet50"
    """resnet18/34/50/101/152, resnet_ibn50a, resnet_ibn101a, or timm/NAME."""
    features: int = 0
    """Length of an embedding layer; 0: none."""
    dropout: float = 0.0
    """Dropout on the feature."""
    momentum: float = 0.2
    """Momentum of the hybrid memory."""
    lr: float = 0.00035
    """Learning rate."""
    weight_decay: float = 5e-4
    """Weight decay."""
    epochs: int = 50
    """Number of epochs."""
    iters: int = 400
    """Steps of an epoch."""
    step_size: int = 20
    """Epochs after which the learning rate falls to a tenth."""
    seed: int = 1
    """Seed of every random draw."""
    print_freq: int = 10
    """Kept for compatibility: progress is shown continuously, with an estimate."""
    eval_step: int = 10
    """Epochs between two evaluations."""
    temp: float = 0.05
    """Temperature of the loss."""
    data_dir: str = "examples/data"
    """Folder of the data sets."""
    logs_dir: str = "examples/logs"
    """Folder of the run."""
    pretrained: str = "auto"
    """auto: ImageNet weights, found or downloaded; none: random weights; otherwise a file."""
    resume: bool = False
    """Continue the run in the log folder. (New: the official scripts cannot.)"""

    def to_recipe(self, source: str, target: str) -> Recipe:
        """These flags as a recipe."""
        return Recipe(
            data=DataConfig(
                source=source,
                target=target,
                data_dir=self.data_dir,
                height=self.height,
                width=self.width,
                workers=self.workers,
            ),
            network=NetworkConfig(
                arch=self.arch, pretrained=self.pretrained, features=self.features, dropout=self.dropout
            ),
            labels=SelfPacedLabelSettings(k1=self.k1, k2=self.k2, eps=self.eps, eps_gap=self.eps_gap),
            memory=HybridMemorySettings(momentum=self.momentum),
            losses=(ContrastiveSettings(temperature=self.temp),),
            sampler=IdentitySamplerSettings(num_instances=self.num_instances),
            optimiser=AdamSettings(lr=self.lr, weight_decay=self.weight_decay, step_size=self.step_size),
            schedule=ScheduleConfig(
                batch_size=self.batch_size, epochs=self.epochs, iters=self.iters, eval_step=self.eval_step
            ),
            run=RunConfig(logs_dir=self.logs_dir, seed=self.seed),
        )


@dataclass(frozen=True, kw_only=True)
class TrainUDA(_Shared):
    """Self-paced contrastive learning, unsupervised domain adaptation: a labelled source, an unlabelled target."""

    usage: ClassVar[str] = "-ds DATA [-dt DATA] [options]"
    example: ClassVar[str] = "python examples/spcl_train_uda.py -ds personx -dt market1501 --logs-dir logs/x2m"

    dataset_source: Annotated[str, _Short(aliases=["-ds"])] = ""
    """Labelled source: market1501, msmt17, personx, veri, vehicleid, vehiclex, or a path. Required."""
    dataset_target: Annotated[str, _Short(aliases=["-dt"])] = "market1501"
    """Unlabelled target: the name of a registered data set."""


@dataclass(frozen=True, kw_only=True)
class TrainUSL(_Shared):
    """Self-paced contrastive learning, unsupervised: an unlabelled data set alone."""

    usage: ClassVar[str] = "[-d DATA] [options]"
    example: ClassVar[str] = "python examples/spcl_train_usl.py -d market1501 --logs-dir logs/market"

    dataset: Annotated[str, _Short(aliases=["-d"])] = "market1501"
    """Data set: market1501, msmt17, personx, veri, vehicleid, vehiclex, or a path."""


@dataclass(frozen=True)
class Test(CommandOptions):
    """Test a trained checkpoint."""

    usage: ClassVar[str] = "--resume FILE [-d DATA] [options]"
    example: ClassVar[str] = "python examples/test.py -d market1501 --resume logs/market/model_best.pth.tar"

    resume: str
    """The checkpoint: ours or an official one."""
    dataset: Annotated[str, _Short(aliases=["-d"])] = "market1501"
    """Data set: market1501, msmt17, personx, veri, vehicleid, vehiclex, or a path."""
    batch_size: Annotated[int, _Short(aliases=["-b"])] = 256
    """Images in a batch."""
    workers: Annotated[int | Literal["auto"], _Short(aliases=["-j"])] = "auto"
    """Threads that decode images; auto: as many as compute; 0: none of their own."""
    height: int = 256
    """Height of the images that the network sees, pixels."""
    width: int = 128
    """Width of the images that the network sees, pixels."""
    arch: Annotated[str, _Short(aliases=["-a"])] = "resnet50"
    """Architecture of the checkpoint."""
    features: int = 0
    """Length of its embedding layer; 0: none."""
    dropout: float = 0.0
    """Has no effect on a test; kept for compatibility."""
    rerank: bool = False
    """Evaluate after k-reciprocal re-ranking, too."""
    dsbn: bool = False
    """The checkpoint has a batch norm per domain: one that was trained with a source."""
    test_source: bool = False
    """With --dsbn: use the source domain's batch norm."""
    seed: int = 1
    """Has no effect on a test; kept for compatibility."""
    print_freq: int = 10
    """Has no effect: progress is shown continuously."""
    data_dir: str = "examples/data"
    """Folder of the data sets."""
    pretrained: str = "auto"
    """Has no effect on a test: the weights are the checkpoint's."""


def train_uda(arguments: Sequence[str] | None = None) -> None:
    """``examples/spcl_train_uda.py``."""
    from spcl.cli.train import run_training_command
    from spcl.errors import InputError

    options = _parse(TrainUDA, arguments, "spcl_train_uda.py")
    if not options.dataset_source:
        raise InputError(
            "a source data set is needed: -ds/--dataset-source NAME or PATH. "
            "(The official default, DukeMTMC, was withdrawn by its authors)",
            code="missing-argument",
        )
    run_training_command(options.to_recipe(options.dataset_source, options.dataset_target), resume=options.resume)


def train_usl(arguments: Sequence[str] | None = None) -> None:
    """``examples/spcl_train_usl.py``."""
    from spcl.cli.train import run_training_command

    options = _parse(TrainUSL, arguments, "spcl_train_usl.py")
    run_training_command(options.to_recipe("", options.dataset), resume=options.resume)


def evaluate(arguments: Sequence[str] | None = None) -> None:
    """``examples/test.py``."""
    from spcl.cli.evaluate import Evaluate, run_evaluation
    from spcl.inference.evaluate_dataset import ExpectedCheckpoint

    options = _parse(Test, arguments, "test.py")
    run_evaluation(
        Evaluate(
            options.resume,
            options.dataset,
            rerank=options.rerank,
            batch_size=options.batch_size,
            data_dir=options.data_dir,
            arch=options.arch,
            domain="source" if options.test_source else "target",
            workers=options.workers,
        ),
        ExpectedCheckpoint(size=(options.height, options.width), features=options.features, domains=options.dsbn),
    )


def _parse(kind: type[T], arguments: Sequence[str] | None, prog: str) -> T:
    words = [_written_out(word, kind) for word in (sys.argv[1:] if arguments is None else arguments)]
    use_threads()
    return options_of(kind, words, prog)


def _written_out(word: str, kind: type[T]) -> str:
    """A long flag in full, where its beginning fits one flag alone: the official scripts understand that."""
    given, equals, value = word.partition("=")
    if not given.startswith("--"):
        return word
    flags = [f"--{entry.name.replace('_', '-')}" for entry in fields(kind)]
    meant = [flag for flag in (*flags, "--help") if flag.startswith(given.replace("_", "-"))]
    return f"{meant[0]}{equals}{value}" if len(meant) == 1 else word
