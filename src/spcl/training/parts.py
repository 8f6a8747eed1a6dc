"""The parts of a training run, as Protocols: the methods that the loop calls, without implementations.

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
from spcl.training.target_view import TargetView as TargetView

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from spcl.nn.encoder_network import EncoderNetwork
    from spcl.reporting.epoch_report import EpochReport
    from spcl.reporting.events import Reporter
    from spcl.runtime import Runtime
    from spcl.selfpaced.pseudo_labels import PseudoLabels
    from spcl.selfpaced.slots import Slots

BuiltPart = TypeVar("BuiltPart", covariant=True)


@runtime_checkable
class Stateful(Protocol):
    """A part with state: a part that has both methods is saved with the run and restored."""

    def state_dict(self) -> Any:
        """Give the state as tensors and plain values, by name."""

    def load_state_dict(self, state: Any) -> Any:
        """Restore a state from ``state_dict``."""


class FeatureSource(Protocol):
    """Source of the features from which pseudo labels are computed."""

    def features(self) -> Tensor:
        """Give ``[N, D]`` float32 unit rows, one for each target image; called once an epoch, by every process."""


class Labeller(Protocol):
    """Makes the pseudo labels of an epoch."""

    def label(self, features: Tensor, target: TargetView) -> PseudoLabels:
        """Label the features ``[N, D]``; called once an epoch by every process, with the same result in each."""


@runtime_checkable
class ExplainsLabels(Protocol):
    """A labeller with further figures and advice; optional."""

    def figures(self) -> Mapping[str, Any]:
        """Give plain values for the epoch's report, for example settings that were chosen."""

    def advice(self, labels: PseudoLabels) -> str | None:
        """Describe a fault of these labels and what to change; None: there is none."""

    def advice_at_end(self, history: Sequence[EpochReport], num_images: int) -> str | None:
        """Describe a fault of the labels of a run, from the reports of its epochs; None: there is none."""


@runtime_checkable
class RatesLabels(Protocol):
    """A labeller that rates its labels without identities; optional. Epochs can be compared by it."""

    def label_score(self) -> float | None:
        """Give the score of the last labels, high is good, comparable between epochs; None: there are none."""


class Memory(Stateful, Protocol):
    """Rows of features: one for each source class, then one for each target image."""

    @property
    def labels(self) -> Tensor:
        """The class of each row, ``[K]`` int64; a loss finds an image's class by its slot."""

    def put(self, start: int, features: Tensor, /) -> None:
        """Set rows from ``start`` on, ``[n, D]``; called before the first epoch."""

    def rows(self) -> Tensor:
        """Give all rows, ``[K, D]``."""

    def relabel(self, labels: Tensor, /) -> None:
        """Set the class of each row, ``[K]`` int64 from 0; called at the start of each epoch."""

    def update(self, features: Tensor, slots: Tensor, /) -> None:
        """Update rows with the features of a step.

        Args:
            features: ``[batch, D]`` features of the whole batch, of all processes; without gradient.
            slots: ``[batch]`` int64 on the host, the memory row of each image.
        """


@dataclass(frozen=True)
class StepInputs:
    """The inputs of a loss in one step.

    Attributes:
        features: ``[B, D]`` unit features; the gradient flows into them.
        slots: ``[B]`` int64 on the host, the memory row of each image.
        cameras: ``[B]`` int64 on the host, the camera of each image, -1 unknown.
        memory: The memory, which a loss only reads.
        encode_with_teacher: Function that gives the teacher's features of the same images; None: there is no teacher.
    """

    features: Tensor
    slots: Tensor
    cameras: Tensor
    memory: Memory
    encode_with_teacher: Callable[[], Tensor] | None = None

    @cached_property
    def teacher_features(self) -> Tensor:
        """The teacher's unit features ``[B, D]``, without gradient; computed at the first access.

        Raises:
            InputError: If the recipe has no teacher.
        """
        if self.encode_with_teacher is None:
            raise InputError(
                'a loss reads the features of a teacher; add one to the recipe: [teacher] kind = "ema"',
                code="no-teacher",
            )
        return self.encode_with_teacher()


class LossTerm(Protocol):
    """One term of the loss; a step changes no state.

    Attributes:
        name: Name in reports; the terms of a run have different names.
        weight: Factor of the term in the sum.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def weight(self) -> float: ...  # noqa: D102

    def __call__(self, step: StepInputs) -> Tensor:
        """Compute the loss of each image, ``[B]`` float32."""


@runtime_checkable
class FollowsLabels(Protocol):
    """A loss term that depends on the labels of earlier epochs; optional. It is called at the start of each epoch."""

    def follow_labels(self, labels: NDArray[np.int64]) -> None:
        """Receive the target's labels ``[N]`` of a new epoch, from 0 without gaps; called by every process."""


class Teacher(Stateful, Protocol):
    """A second network that follows the encoder: it is evaluated and saved in the encoder's place."""

    @property
    def network(self) -> EncoderNetwork:
        """The teacher's network, always in evaluation mode and without gradients."""

    def follow(self, encoder: torch.nn.Module) -> None:
        """Move towards the encoder; called after each step."""


class Sampler(Protocol):
    """Chooses the images of a batch as a function of epoch and iteration, so that a resumed run draws the same."""

    def batch(self, epoch: int, iteration: int) -> NDArray[np.int64]:
        """Give the row numbers ``[batch size]`` of a domain's images."""


@dataclass(frozen=True)
class SamplerContext:
    """The context that a sampler is built from: one domain in one epoch.

    Attributes:
        labels: ``[images]`` int64, the class of each image of the domain.
        cameras: ``[images]`` int64, the camera of each image, -1 unknown.
        batch_size: Number of images of the domain in a batch.
        seed: Seed of the run.
        domain: Number of the domain; each has separate random draws.
        tracks: ``[images]`` int64, the track of each image of the domain, -1 none; None: no tracks are used.
    """

    labels: NDArray[np.int64]
    cameras: NDArray[np.int64]
    batch_size: int
    seed: int
    domain: int
    tracks: NDArray[np.int64] | None = None


class Optimisation(NamedTuple):
    """An optimiser and the schedule of its learning rate, which advances once an epoch."""

    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler


@dataclass(frozen=True)
class BuildContext:
    """The context that a part is built from.

    Attributes:
        runtime: Device, precision and processes.
        encoder: The network in training, on the device.
        slots: Layout of the memory.
        target: The target's training images, without identities.
        seed: Seed of the run.
        extract: Function that encodes the target's training images with a network in evaluation mode, ``[N, D]`` on the
            host; a second argument gives a view of their store.
        report: Receives progress and warnings.
        built: The parts that are built already, by name: the memory, then the teacher.
        epochs: Number of epochs of the run.
        steps: Number of steps of the run, over all epochs.
        starts_random: Whether the network starts from random weights.
    """

    runtime: Runtime
    encoder: EncoderNetwork
    slots: Slots
    target: TargetView
    seed: int
    extract: Callable[..., Tensor]
    report: Reporter
    built: Mapping[str, Any] = field(default_factory=dict)
    epochs: int = 1
    steps: int = 1
    starts_random: bool = False

    @property
    def feature_dim(self) -> int:
        """D, the length of a feature."""
        return self.encoder.feature_dim

    @property
    def memory(self) -> Memory:
        """The memory; not available while the memory itself is built."""
        return cast("Memory", self.built["memory"])

    @property
    def teacher(self) -> Teacher | None:
        """The teacher, if the recipe has one."""
        return cast("Teacher | None", self.built.get("teacher"))


class Settings(Protocol[BuiltPart]):
    """Settings of a part: a frozen dataclass."""

    def build(self, context: BuildContext, /) -> BuiltPart:
        """Build the part."""


class SamplerSettings(Protocol):
    """Settings of a sampler, which is built for each domain and epoch."""

    def build(self, context: SamplerContext, /) -> Sampler:
        """Build the sampler of a domain."""


def built(settings: object, context: BuildContext) -> Any:
    """Build the part of the settings; an object without ``build`` is the part itself."""
    build = getattr(settings, "build", None)
    return settings if build is None else build(context)
