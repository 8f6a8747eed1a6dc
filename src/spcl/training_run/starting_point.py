"""The starting point of a run: the weights of a trunk, or the whole encoder of a checkpoint.

A checkpoint contains the whole encoder: trunk, pooling, embedding layer, neck, running statistics. It can be one of
spcl, with one domain or two, or an official one; the run can have one domain or two as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spcl.config import Recipe
from spcl.errors import InputError
from spcl.inference.checkpoint import load_facts, load_network, settings_of
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from spcl.nn.imagenet_weights import find_weights
from spcl.nn.trunk_weights import Weights
from spcl.runtime import Runtime

_FIXED = ("features", "pooling", "last_stride")


@dataclass(frozen=True)
class Start:
    """The starting point of a run.

    Attributes:
        source: Description for the report.
        weights: Weights of the trunk; None if the run starts from a checkpoint.
        checkpoint: File of the whole encoder; None if the run starts from the weights of a trunk.
        network: The encoder of the checkpoint.
        domain: Domain whose batch norm the target starts from.
    """

    source: str
    weights: Weights | None = None
    checkpoint: Path | None = None
    network: EncoderNetwork | None = None
    domain: str = "target"

    def encoder(self, settings: EncoderSettings) -> EncoderNetwork:
        """Build the encoder that the run begins with.

        Args:
            settings: Settings of the run's encoder. Dropout, domains and the batch-norm group are free; the others must
                be those of the checkpoint.

        Raises:
            InputError: If the settings are not the checkpoint's; names both.
        """
        if self.network is None:
            return EncoderNetwork(settings, self.weights)
        found = self.network.settings
        for name in _FIXED:
            if getattr(settings, name) != getattr(found, name):
                raise InputError(
                    f"{self.checkpoint} has {name} {getattr(found, name)!r}, and the setting is "
                    f"{getattr(settings, name)!r}; leave {name} out: that of the checkpoint is used",
                    code="checkpoint-mismatch",
                )
        encoder = EncoderNetwork(settings)
        values = self.network.state_dict()
        origin = {name: _name_in_checkpoint(name, self.network.domains, self.domain) for name in encoder.state_dict()}
        encoder.load_state_dict({name: values[there] for name, there in origin.items()})
        return encoder


def find_start(
    runtime: Runtime, *, arch: str, size: tuple[int, int], pretrained: str, checkpoint: str, domain: str
) -> Start:
    """Find the weights or the checkpoint; weights may be downloaded.

    Args:
        runtime: Processes of the run, one of which downloads.
        arch: Architecture of the run's network.
        size: Height and width of the run's images in pixels.
        pretrained: Weights as for ``nn.imagenet_weights.find_weights``; not used with a checkpoint.
        checkpoint: A checkpoint of spcl or of the official scripts; empty: none.
        domain: Whose batch norm starts the target's: ``target``, ``source``, or ``auto``: the target's where the
            checkpoint has one, else its only one.

    Raises:
        InputError: If there are no weights, or the checkpoint is of another network or has no such domain.
    """
    if not checkpoint:
        runtime.on_main(lambda: find_weights(arch, pretrained).source)
        weights = runtime.together(lambda: find_weights(arch, pretrained))
        return Start(weights.source, weights=weights)
    return runtime.together(lambda: _from_checkpoint(Path(checkpoint), arch, size, domain))


def start_of(config: Recipe, runtime: Runtime) -> Start:
    """Find the starting point that a recipe names, with ``find_start``."""
    network, data = config.network, config.data
    return find_start(
        runtime,
        arch=network.arch,
        size=(data.height, data.width),
        pretrained=network.pretrained,
        checkpoint=network.from_checkpoint,
        domain=network.from_domain,
    )


def _from_checkpoint(path: Path, arch: str, size: tuple[int, int], domain: str) -> Start:
    own = settings_of(path, arch=arch)
    # Checked first: the error about weights that depend on the size would be misleading.
    if load_facts(path) and (own.height, own.width) != size:
        differ = {"--height": own.height != size[0], "--width": own.width != size[1]}
        flags = " and ".join(flag for flag, is_other in differ.items() if is_other)
        raise InputError(
            f"{path} was trained on images of {own.height} x {own.width}, and the settings are {size[0]} x "
            f"{size[1]}; leave {flags} out: those of the checkpoint are used",
            code="checkpoint-mismatch",
        )
    network = load_network(path, arch=arch, size=size)
    chosen = chosen_domain(network.domains, domain, path)
    branch = f", {chosen} branch" if len(network.domains) > 1 else ""
    return Start(f"the checkpoint {path}{branch}", checkpoint=path, network=network, domain=chosen)


def chosen_domain(domains: tuple[str, ...], wanted: str, path: Path) -> str:
    """Give the domain of a checkpoint that a setting names.

    Args:
        domains: Domains of the checkpoint.
        wanted: One of them, or ``auto``: the target's where there is one, else the only one.
        path: The file, for the error.

    Raises:
        InputError: If it has no such domain.
    """
    if wanted == "auto":
        return "target" if "target" in domains else domains[-1]
    if wanted not in domains:
        raise InputError(f"{path} has no domain {wanted!r}; it has {', '.join(domains)}", code="no-such-domain")
    return wanted


def settings_from_checkpoint(path: Path, *, arch: str | None = None) -> dict[str, dict[str, Any]]:
    """Give the settings of a run that a checkpoint determines, by section.

    Args:
        path: A checkpoint of spcl or of the official scripts.
        arch: Architecture; needed only for a checkpoint that does not contain it.

    Returns:
        Architecture, embedding length, pooling and last stride; the size of images, and the range of their values,
        if the checkpoint contains it (official ones do not).

    Raises:
        InputError: If it is no checkpoint.
    """
    found = settings_of(path, arch=arch)
    fixed: dict[str, dict[str, Any]] = {
        "network": {"arch": found.arch} | {name: getattr(found, name) for name in _FIXED}
    }
    if "encoder" in load_facts(path):
        fixed["data"] = {"height": found.height, "width": found.width}
        if found.pixel_range != "auto":
            fixed["data"]["range"] = found.pixel_range
    return fixed


def _name_in_checkpoint(name: str, domains: tuple[str, ...], chosen: str) -> str:
    """Give the name in the checkpoint of a value of the run's encoder.

    The target's batch norm starts from that of the chosen domain; the source's from that of the checkpoint's source if
    there is one.
    """

    def from_domain(found: re.Match[str]) -> str:
        origin = "source" if found[1] == "source" and "source" in domains else chosen
        return f".norms.{origin}."

    return re.sub(r"\.norms\.(\w+)\.", from_domain, name)
