"""The command lines of the official project's scripts, names and defaults as there.

``examples/*.py`` call ``train_uda``, ``train_usl`` and ``run_test``, which run ``spcl train`` and ``spcl evaluate``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeVar

import tyro

from spcl.cli.command_line import options_of
from spcl.cli.computing import CommandOptions
from spcl.cli.described_flags import described_flags
from spcl.cli.official_values import OF_TEST, OF_TRAINING, READ_AS, Refusal, refuse_values
from spcl.config import DataConfig, NetworkConfig, Recipe, RunConfig, ScheduleConfig
from spcl.errors import InputError
from spcl.threads import use_threads
from spcl.training.adam import AdamSettings
from spcl.training.contrastive import ContrastiveSettings
from spcl.training.hybrid_memory import HybridMemorySettings
from spcl.training.identity_sampling import IdentitySamplerSettings
from spcl.training.self_paced_labels import SelfPacedLabelSettings

if TYPE_CHECKING:
    from spcl.cli.evaluate import Evaluate
    from spcl.inference.evaluation_request import ExpectedCheckpoint

_Short = tyro.conf.arg


@dataclass(frozen=True)
class _Official(CommandOptions):
    """Flags of an official script.

    Attributes:
        script: Name of the script.
        refusals: Values that are refused, and why.
    """

    script: ClassVar[str] = ""
    refusals: ClassVar[tuple[Refusal, ...]] = ()


T = TypeVar("T", bound=_Official)


@dataclass(frozen=True, kw_only=True)
class _Shared(_Official):
    """Flags of both training scripts."""

    refusals: ClassVar[tuple[Refusal, ...]] = OF_TRAINING

    batch_size: Annotated[int, _Short(aliases=["-b"])] = 64
    """Images of each domain in a batch."""
    workers: Annotated[int | Literal["auto"], _Short(aliases=["-j"])] = "auto"
    """Threads that decode images; auto: as many as compute; 0: none of their own."""
    height: int = 256
    """Height of the images that the network sees, pixels."""
    width: int = 128
    """Width of the images that the network sees, pixels."""
    num_instances: int = 4
    """Images of each identity in a batch; 0 or less: images are drawn at random."""
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
    """Length of an embedding layer; 0 or less: none."""
    dropout: float = 0.0
    """Dropout on the feature in training; 0 or less: none."""
    momentum: float = 0.2
    """Share of the old feature when a memory row is updated."""
    lr: float = 0.00035
    """Learning rate of Adam; 0: the weights stay as they are."""
    weight_decay: float = 5e-4
    """Weight decay of Adam."""
    epochs: int = 50
    """Number of epochs."""
    iters: int = 400
    """Steps of an epoch."""
    step_size: int = 20
    """Epochs after which the learning rate falls to a tenth."""
    seed: int = 1
    """Seed of every random draw."""
    print_freq: int = 10
    """Has no effect: progress is shown continuously, with an estimate."""
    eval_step: int = 10
    """Epochs between two evaluations."""
    temp: float = 0.05
    """Temperature of the loss: similarities are divided by it."""
    data_dir: str = "examples/data"
    """Folder of the data sets."""
    logs_dir: str = "examples/logs"
    """Folder of the run."""
    pretrained: str = "auto"
    """auto: ImageNet weights, found or downloaded; none: random weights; otherwise a file."""
    resume: bool = False
    """Continue the run in the log folder. (New: the official scripts cannot.)"""

    def check(self) -> None:
        """Raise an ``InputError`` for values that do not go together."""
        self.to_recipe("", "")

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

    script: ClassVar[str] = "spcl_train_uda.py"
    usage: ClassVar[str] = "-ds DATA [-dt DATA] [options]"
    example: ClassVar[str] = "python examples/spcl_train_uda.py -ds personx -dt market1501 --logs-dir logs/x2m"

    dataset_source: Annotated[str, _Short(aliases=["-ds"])] = ""
    """Labelled source: market1501, msmt17, personx, veri, vehicleid, vehiclex, or a path. Required."""
    dataset_target: Annotated[str, _Short(aliases=["-dt"])] = "market1501"
    """Unlabelled target: the name of a registered data set."""


@dataclass(frozen=True, kw_only=True)
class TrainUSL(_Shared):
    """Self-paced contrastive learning, unsupervised: an unlabelled data set alone."""

    script: ClassVar[str] = "spcl_train_usl.py"
    usage: ClassVar[str] = "[-d DATA] [options]"
    example: ClassVar[str] = "python examples/spcl_train_usl.py -d market1501 --logs-dir logs/market"

    dataset: Annotated[str, _Short(aliases=["-d"])] = "market1501"
    """Data set: market1501, msmt17, personx, veri, vehicleid, vehiclex, or a path."""


@dataclass(frozen=True)
class OfficialTest(_Official):
    """Test a trained checkpoint."""

    script: ClassVar[str] = "test.py"
    refusals: ClassVar[tuple[Refusal, ...]] = OF_TEST
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
    """Length of its embedding layer; 0 or less: none."""
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

    def to_evaluation(self) -> tuple[Evaluate, ExpectedCheckpoint]:
        """These flags as those of ``spcl evaluate``, and what the checkpoint must be."""
        from spcl.cli.evaluate import Evaluate
        from spcl.inference.evaluation_request import ExpectedCheckpoint

        options = Evaluate(
            self.resume,
            self.dataset,
            rerank=self.rerank,
            batch_size=self.batch_size,
            data_dir=self.data_dir,
            arch=self.arch,
            # Without --dsbn the official script has one batch norm, whatever --test-source says.
            domain="source" if self.test_source and self.dsbn else "target",
            workers=self.workers,
        )
        return options, ExpectedCheckpoint((self.height, self.width), self.features, self.dsbn)


def train_uda(arguments: Sequence[str] | None = None) -> None:
    """``examples/spcl_train_uda.py``."""
    from spcl.cli.train import run_training_command

    options = parsed_flags(TrainUDA, arguments)
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

    options = parsed_flags(TrainUSL, arguments)
    run_training_command(options.to_recipe("", options.dataset), resume=options.resume)


def run_test(arguments: Sequence[str] | None = None) -> None:
    """``examples/test.py``."""
    from spcl.cli.evaluate import run_evaluation

    run_evaluation(*parsed_flags(OfficialTest, arguments).to_evaluation())


def parsed_flags(kind: type[T], arguments: Sequence[str] | None = None) -> T:
    """The flags of an official script; each value keeps its official meaning or is refused with the reason.

    Args:
        kind: The script's flags.
        arguments: The words after its name; None: those of this process.

    Raises:
        InputError: If a flag is unknown, or a value cannot be used.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = options_of(kind, [_written_out(word, kind) for word in given], kind.script)
    values = {entry.name: getattr(options, entry.name) for entry in fields(kind)}
    refuse_values(values, kind.refusals, lambda name: _as_typed(name, given, kind))
    options = replace(options, **{name: READ_AS[name](value) for name, value in values.items() if name in READ_AS})
    try:
        options.check()
    except InputError as error:
        # Values that do not go together; the message begins with the name of one.
        raise InputError(f"{_as_typed(str(error).split()[0], given, kind)}: {error}", code=error.code) from None
    use_threads()
    return options


def _written_out(word: str, kind: type[T]) -> str:
    """A long flag in full, where its beginning fits one flag alone: the official scripts understand that."""
    given, equals, value = word.partition("=")
    if not given.startswith("--"):
        return word
    flags = [f"--{entry.name.replace('_', '-')}" for entry in fields(kind)]
    meant = [flag for flag in (*flags, "--help") if flag.startswith(given.replace("_", "-"))]
    return f"{meant[0]}{equals}{value}" if len(meant) == 1 else word


def _as_typed(name: str, words: Sequence[str], kind: type[T]) -> str:
    """A flag as it stands on the command line, or its long name."""
    flag = next(flag for flag in described_flags(kind) if flag.name == name.replace("_", "-"))
    short = flag.spellings[:-1]
    for word in words:
        if _written_out(word, kind).partition("=")[0] == flag.spellings[-1]:
            return word.partition("=")[0]
        if any(word.startswith(spelling) for spelling in short):
            return short[0]
    return flag.spellings[-1]
