"""The parts of a training run, as Protocols: what the loop asks of each, and nothing of how it is done.

A part is a plain object. Its settings are a frozen dataclass in the same file, whose ``build(context)`` makes it;
``config.py`` lists the kinds that come with the package, and a recipe may name a kind of the user's own. A settings
object without ``build`` is the part itself.

Shapes: ``B`` images of a batch (this process's share), ``D`` feature length, ``N`` target images, ``S`` source classes,
``K = S + N`` memory rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, cast, runtime_checkable

from spcl.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from spcl.nn.encoder import Encoder
    from spcl.runtime import Runtime
    from spcl.selfpaced.pseudo_labels import PseudoLabels
    from spcl.selfpaced.slots import Slots
    from spcl.training.epoch_report import EpochReport
    from spcl.training.events import Reporter

BuiltPart = TypeVar("BuiltPart", covariant=True)


@runtime_checkable
class Stateful(Protocol):
    """What survives a stop: a part that has both methods is saved with the run and restored."""

    def state_dict(self) -> Any:
        """Tensors and plain values, by name."""

    def load_state_dict(self, state: Any) -> Any:
        """Continue where ``state_dict`` was taken."""


@dataclass(frozen=True)
class TargetView:
    """The data of the target's training images that a labeller may use, without their identities.

    Attributes:
        num_images: N, the number of images.
        cameras: ``[N]`` int64, -1 unknown.
    """

    num_images: int
    cameras: NDArray[np.int64]


class FeatureSource(Protocol):
    """Where the features come from of which labels are made."""

    def features(self) -> Tensor:
        """``[N, D]`` float32 unit rows, one for each target image; called once an epoch, by every process."""


class Labeller(Protocol):
    """Makes the pseudo labels of an epoch."""

    def label(self, features: Tensor, target: TargetView) -> PseudoLabels:
        """Labels of features ``[N, D]``; called once an epoch, by every process, and the same in each."""


@runtime_checkable
class ExplainsLabels(Protocol):
    """A labeller that has more to say of an epoch; not required."""

    def figures(self) -> Mapping[str, Any]:
        """Plain values for the epoch's report: settings that were chosen, say."""

    def advice(self, labels: PseudoLabels) -> str | None:
        """What is wrong with these labels and what to change; None: nothing."""

    def advice_at_end(self, history: Sequence[EpochReport], num_images: int) -> str | None:
        """What was wrong with the labels of a run, given the reports of its epochs; None: nothing."""


class Memory(Stateful, Protocol):
    """Rows of features: one for each source class, then one for each target image."""

    @property
    def labels(self) -> Tensor:
        """``[K]`` int64, the class of each row; a loss finds an image's class by its slot."""

    def put(self, start: int, features: Tensor, /) -> None:
        """Set rows from ``start`` on, ``[n, D]``; before the first epoch."""

    def rows(self) -> Tensor:
        """All rows, ``[K, D]``."""

    def relabel(self, labels: Tensor, /) -> None:
        """Give each row its class, ``[K]`` int64 from 0; at the start of each epoch."""

    def update(self, features: Tensor, slots: Tensor, /) -> None:
        """Take in the features of a step.

        Args:
            features: ``[batch, D]`` of the whole batch, of all processes; without gradient.
            slots: ``[batch]`` int64 on the host, the memory row of each.
        """


@dataclass(frozen=True)
class StepInputs:
    """What a loss reads.

    Attributes:
        features: ``[B, D]`` unit features; the gradient flows into them.
        slots: ``[B]`` int64 on the host, the memory row of each image.
        cameras: ``[B]`` int64 on the host, -1 unknown.
        memory: Read only.
        encode_with_teacher: Gives the teacher's features of the same images; None: there is no teacher.
    """

    features: Tensor
    slots: Tensor
    cameras: Tensor
    memory: Memory
    encode_with_teacher: Callable[[], Tensor] | None = None

    @cached_property
    def teacher_features(self) -> Tensor:
        """``[B, D]`` unit features of the teacher, without gradient; computed when first asked for.

        Raises:
            InputError: If the recipe has no teacher.
        """
        if self.encode_with_teacher is None:
            raise InputError('a loss reads the features of a teacher; add one to the recipe: [teacher] kind = "ema"')
        return self.encode_with_teacher()


class LossTerm(Protocol):
    """One term of the loss: it reads, and changes nothing.

    Attributes:
        name: Name in reports; the terms of a run have different names.
        weight: Factor of the term in the sum.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def weight(self) -> float: ...  # noqa: D102

    def __call__(self, step: StepInputs) -> Tensor:
        """The loss of each image, ``[B]`` float32."""


class Teacher(Stateful, Protocol):
    """A second network that follows the encoder: it is evaluated and saved in the encoder's place."""

    @property
    def network(self) -> Encoder:
        """Always in evaluation mode, without gradients."""

    def follow(self, encoder: torch.nn.Module) -> None:
        """Move towards the encoder; after each step."""


class Sampler(Protocol):
    """Which images make a batch: a function of epoch and iteration, so that a stopped run draws the same again."""

    def batch(self, epoch: int, iteration: int) -> NDArray[np.int64]:
        """Row numbers ``[batch size]`` of a domain's images."""


@dataclass(frozen=True)
class SamplerContext:
    """What a sampler is built for: one domain in one epoch.

    Attributes:
        labels: ``[images]`` int64, the class of each image of the domain.
        cameras: ``[images]`` int64, -1 unknown.
        batch_size: Images of the domain in a batch.
        seed: Seed of the run.
        domain: Number of the domain: each has draws of its own.
    """

    labels: NDArray[np.int64]
    cameras: NDArray[np.int64]
    batch_size: int
    seed: int
    domain: int


class Optimisation(NamedTuple):
    """An optimiser and the schedule of its learning rate, which advances once an epoch."""

    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler


@dataclass(frozen=True)
class BuildContext:
    """What a part may be built from.

    Attributes:
        runtime: Device, precision and processes.
        encoder: The network in training, on the device.
        slots: Layout of the memory.
        target: The target's training images, without identities.
        seed: Seed of the run.
        extract: Encodes the target's training images with a network in evaluation mode: ``[N, D]`` on the host.
        report: Receives progress and warnings.
        built: The parts that are there already, by name: the memory, then the teacher.
    """

    runtime: Runtime
    encoder: Encoder
    slots: Slots
    target: TargetView
    seed: int
    extract: Callable[[Encoder], Tensor]
    report: Reporter
    built: Mapping[str, Any] = field(default_factory=dict)

    @property
    def feature_dim(self) -> int:
        """D, the length of a feature."""
        return self.encoder.feature_dim

    @property
    def memory(self) -> Memory:
        """The memory; not yet there while it is built itself."""
        return cast("Memory", self.built["memory"])

    @property
    def teacher(self) -> Teacher | None:
        """The teacher, if the recipe has one."""
        return cast("Teacher | None", self.built.get("teacher"))


class Settings(Protocol[BuiltPart]):
    """Settings of a part: a frozen dataclass."""

    def build(self, context: BuildContext, /) -> BuiltPart:
        """The part."""


class SamplerSettings(Protocol):
    """Settings of a sampler, which is built for each domain and epoch."""

    def build(self, context: SamplerContext, /) -> Sampler:
        """The sampler of a domain."""


def built(settings: object, context: BuildContext) -> Any:
    """The part of some settings; an object without ``build`` is the part itself."""
    build = getattr(settings, "build", None)
    return settings if build is None else build(context)
