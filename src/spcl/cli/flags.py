"""The flags of ``spcl train``: the settings of the package's own kinds of parts, flat, laid over a recipe."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, Literal

import tyro

from spcl.config import DataConfig, NetworkConfig, Recipe, RunConfig, ScheduleConfig, overlay
from spcl.errors import InputError
from spcl.kinds import KINDS
from spcl.settings import kind_of
from spcl.training.adam import AdamSettings
from spcl.training.contrastive import ContrastiveSettings
from spcl.training.hybrid_memory import HybridMemorySettings
from spcl.training.identity_sampling import IdentitySamplerSettings
from spcl.training.self_paced_labels import SelfPacedLabelSettings


@dataclass(frozen=True)
class _Memory(HybridMemorySettings):
    """The hybrid memory."""

    placement: Annotated[Literal["auto", "replicated", "sharded"], tyro.conf.arg(name="memory")] = "auto"
    """The hybrid memory with several processes: all rows in each (replicated) or a part in each (sharded). auto: by
    size."""


@dataclass(frozen=True)
class _Loss(ContrastiveSettings):
    """The unified contrastive loss."""

    weight: tyro.conf.Suppress[float] = 1.0
    """Weight of this term in the sum of all terms; in a recipe only."""


@dataclass(frozen=True)
class Flags:
    """Every setting that has a flag."""

    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    labels: SelfPacedLabelSettings = field(default_factory=SelfPacedLabelSettings)
    memory: _Memory = field(default_factory=_Memory)
    loss: _Loss = field(default_factory=_Loss)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    sampler: IdentitySamplerSettings = field(default_factory=IdentitySamplerSettings)
    optimiser: AdamSettings = field(default_factory=AdamSettings)
    run: RunConfig = field(default_factory=RunConfig)


_PARTS: dict[str, tuple[type, str]] = {
    "labels": (SelfPacedLabelSettings, "self-paced"),
    "memory": (HybridMemorySettings, "hybrid"),
    "sampler": (IdentitySamplerSettings, "identity"),
    "optimiser": (AdamSettings, "adam"),
}


def flags_of(recipe: Recipe) -> Flags:
    """The flags as a recipe sets them; those of a part that it has of another kind keep their defaults."""
    plain = Flags()
    given: dict[str, Any] = {name: getattr(recipe, name) for name in ("data", "network", "schedule", "run")}
    for section, (kind, _) in _PARTS.items():
        part = getattr(recipe, section)
        if isinstance(part, kind):
            # A kind that extends the package's first one has settings without a flag.
            known = {entry.name: getattr(part, entry.name) for entry in fields(getattr(plain, section))}
            given[section] = type(getattr(plain, section))(**known)
    terms = [term for term in recipe.losses if isinstance(term, ContrastiveSettings)]
    if terms:
        given["loss"] = _Loss(**asdict(terms[0]))
    return Flags(**given)


def given_flags(words: Sequence[str]) -> frozenset[str]:
    """The names of the settings whose flags are among the words of a command line; ``placement`` for ``--memory``."""
    names = {word.partition("=")[0][2:].replace("-", "_") for word in words if word.startswith("--")}
    return frozenset("placement" if name == "memory" else name for name in names)


def _has_setting(part: object, name: str) -> bool:
    """Whether a setting of a part has an effect; the epochs of a step have none in a schedule without steps."""
    return hasattr(part, name) and (name != "step_size" or getattr(part, "schedule", "step") == "step")


def _flag(name: str) -> str:
    return "--memory" if name == "placement" else "--" + name.replace("_", "-")


def recipe_of(flags: Flags, recipe: Recipe, given: Collection[str] = ()) -> Recipe:
    """The recipe with what the flags changed.

    A flag of a part that the recipe has of another kind applies where that kind has a setting of the same name.

    Args:
        flags: After parsing, over ``flags_of(recipe)``.
        recipe: The recipe before the changes.
        given: Names of the settings whose flags are on the command line, whatever their values.

    Raises:
        InputError: If a flag was given that belongs to a part which the recipe has of another kind.
    """
    before = flags_of(recipe)
    values: dict[str, Any] = {}
    for section in (entry.name for entry in fields(Flags)):
        old, new = asdict(getattr(before, section)), asdict(getattr(flags, section))
        changed = {name: value for name, value in new.items() if value != old[name]}
        is_other = section in _PARTS and not isinstance(getattr(recipe, section), _PARTS[section][0])
        if is_other:
            # The value may be the default of the flag's own kind, and another one in the recipe.
            changed |= {name: value for name, value in new.items() if name in given}
        if not changed:
            continue
        if section == "loss":
            # ``overlay`` finds the loss for a temperature by its former place.
            values["memory"] = values.get("memory", {}) | changed
            continue
        if is_other and changed.get("eps") == "auto" and getattr(getattr(recipe, section), "threshold", 0) == "auto":
            # What it asks for is done by these labels in each epoch.
            del changed["eps"]
        unknown = [name for name in changed if not _has_setting(getattr(recipe, section), name)]
        if unknown:
            kind = kind_of(section, getattr(recipe, section), KINDS)
            raise InputError(
                f"{', '.join(map(_flag, unknown))}: a setting of {section} of the kind "
                f"{_PARTS[section][1]!r}, and the recipe has {kind!r}; write its settings under [{section}] in a file "
                f"(--config), or start from a recipe with {_PARTS[section][1]!r}, such as --recipe spcl",
                code="option-does-not-apply",
            )
        values[section] = values.get(section, {}) | changed
    return overlay(recipe, values, "command line")
