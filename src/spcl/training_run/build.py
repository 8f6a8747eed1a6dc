"""From a recipe to the parts of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from spcl.config import Recipe
from spcl.errors import InputError
from spcl.grouping.eps_choice import searched
from spcl.grouping.label_stage import LabelStage, check_label_stage
from spcl.nn.encoder_network import EncoderNetwork
from spcl.selfpaced.slots import Slots
from spcl.training.average_linkage_labels import AverageLinkageSettings
from spcl.training.hybrid_memory import HybridMemorySettings
from spcl.training.parts import BuildContext, LossTerm, Optimisation, Stateful, TargetView, Teacher, built
from spcl.training.self_paced_labels import SelfPacedLabelSettings
from spcl.training.state import RunState
from spcl.training.step import TrainingParts
from spcl.training_run.session import Session


@dataclass(frozen=True)
class RunShape:
    """The sizes and the data that the parts of a run must fit.

    Attributes:
        slots: Layout of the memory.
        target: The view of the target that the labeller may see.
        domains: The names of the domains in a batch, in its order.
        extract: Encodes the target's training images with a network in evaluation mode: ``[N, D]`` on the host.
    """

    slots: Slots
    target: TargetView
    domains: tuple[str, ...]
    extract: Callable[..., Tensor]


def build_parts(recipe: Recipe, encoder: EncoderNetwork, shape: RunShape, session: Session) -> TrainingParts:
    """Build the parts that a recipe names, before the first step.

    Args:
        recipe: The parts and their settings.
        encoder: The encoder; it is moved to the runtime's device.
        shape: Sizes that the parts must fit.
        session: Device, precision and processes, and the receiver of the parts' messages.

    Raises:
        InputError: If parts contradict one another: for example, two terms of the loss have the same name.
    """
    runtime, report = session.runtime, session.report
    # Before the optimiser takes its parameters. Channels last: up to twice as fast, on a CPU too.
    encoder = encoder.to(runtime.device).to(memory_format=torch.channels_last)
    context = BuildContext(
        runtime,
        encoder,
        shape.slots,
        shape.target,
        recipe.run.seed,
        shape.extract,
        report,
        epochs=recipe.schedule.epochs,
        steps=recipe.schedule.epochs * recipe.schedule.iters,
        starts_random=recipe.network.pretrained == "none" and not recipe.network.from_checkpoint,
    )
    optimisation: Optimisation = built(recipe.optimiser, context)
    network = cast(nn.Module, torch.compile(encoder)) if recipe.run.compile else encoder
    context = replace(context, built={"memory": built(recipe.memory, context)})
    teacher: Teacher | None = None if recipe.teacher is None else built(recipe.teacher, context)
    context = replace(context, built={**context.built, "teacher": teacher})
    losses: tuple[LossTerm, ...] = tuple(built(term, context) for term in recipe.losses)
    names = [term.name for term in losses]
    if len(set(names)) < len(names):
        raise InputError(
            f"the terms of the loss are called {', '.join(names)}; each needs another name", code="name-given-twice"
        )
    return TrainingParts(
        runtime=runtime,
        encoder=encoder,
        network=runtime.distribute(network),
        optimisation=optimisation,
        memory=context.memory,
        losses=losses,
        label_features=built(recipe.label_features, context),
        labeller=built(recipe.labels, context),
        teacher=teacher,
        slots=shape.slots,
        target=shape.target,
        domains=shape.domains,
    )


def first_state(parts: TrainingParts) -> RunState:
    """Give the state before the first step: that of every part with a state, the random generators last."""
    named: Mapping[str, Any] = {
        "encoder": parts.encoder,
        "optimizer": parts.optimisation.optimizer,
        "scheduler": parts.optimisation.scheduler,
        "memory": parts.memory,
        "teacher": parts.teacher,
        "labeller": parts.labeller,
        "label_features": parts.label_features,
        **{f"losses.{term.name}": term for term in parts.losses},
        "runtime": parts.runtime,
    }
    return RunState({name: part for name, part in named.items() if isinstance(part, Stateful)})


def check_labelling(recipe: Recipe, slots: Slots, encoder: EncoderNetwork, session: Session) -> None:
    """Report the memory and the time that labelling takes; for the package's labellers only.

    Raises:
        InputError: If it does not fit in memory, or its search is not installed.
    """
    labels, memory, runtime = recipe.labels, recipe.memory, session.runtime
    if not isinstance(labels, SelfPacedLabelSettings | AverageLinkageSettings):
        return
    is_chosen = labels.k1 == "auto" or (isinstance(labels, SelfPacedLabelSettings) and labels.eps == "auto")
    num_slots, dim = len(slots), encoder.feature_dim
    stage = LabelStage(
        slots.num_target_instances,
        dim,
        k1=searched("auto") if is_chosen else int(labels.k1),
        engine=labels.search,
        num_slots=num_slots,
        spread=isinstance(memory, HybridMemorySettings) and memory.is_spread(num_slots, dim, runtime),
    )
    # A checkpoint decides the length of its features.
    flags = ("--k1",) if recipe.network.from_checkpoint else ("--features", "--k1")
    check_label_stage(stage, runtime=runtime, flags=flags, report=session.report)
