"""The encoder: trunk, pooling, optional embedding layer, batch norm neck, unit-length feature.

Paper: section 4.1; Reference: ``spcl/models/resnet.py``. Features are normalised in training and in evaluation; the
neck's bias is frozen at zero with one domain and trained with several (method: row 11).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from spcl.errors import InputError
from spcl.nn.backbones import build_trunk
from spcl.nn.domain_batchnorm import DomainRouting, convert, fold
from spcl.nn.pooling import AveragePooling, GeneralisedMeanPooling
from spcl.nn.trunk_weights import Weights, load_weights


@dataclass(frozen=True)
class EncoderSettings:
    """The settings of an encoder without its weights: enough to build it again and to prepare images for it.

    Attributes:
        arch: Architecture of the trunk: a name in ``backbones.RESNETS`` or ``timm/NAME``.
        height: Image height in pixels.
        width: Image width in pixels.
        features: Length of the embedding layer; 0: no such layer.
        dropout: Share of the normalised feature's values that are dropped in training.
        pooling: Pooling of the feature map: ``avg`` or ``gem``.
        last_stride: Stride of the last stage, as in ``backbones.build_trunk``.
        domains: Names of the domains, in the order of their parts in a batch.
        group_size: Number of images in a batch-norm group; 0: all of a domain's part of the batch.
        pixel_range: Values of black and white in images of more than 8 bits, as in ``pixel_range.py``.
    """

    arch: str = "resnet50"
    height: int = 256
    width: int = 128
    features: int = 0
    dropout: float = 0.0
    pooling: str = "avg"
    last_stride: int = 0
    domains: tuple[str, ...] = ("target",)
    group_size: int = 0
    pixel_range: str = "auto"

    def to_dict(self) -> dict[str, Any]:
        """Give the settings as plain values, for a checkpoint."""
        return asdict(self) | {"domains": list(self.domains)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> EncoderSettings:
        """Build the settings from the values that ``to_dict`` gave."""
        return cls(**(values | {"domains": tuple(values["domains"])}))


class EncoderNetwork(nn.Module):
    """The network that maps images to unit-length features.

    Attributes:
        settings: Settings of the encoder.
        feature_dim: D, the length of a feature.
        mean, std: Mean and standard deviation of the image normalisation, for each channel.
        used_weights: The tensors of the given weights that the trunk took; None: no weights were given.
    """

    def __init__(self, settings: EncoderSettings, weights: Weights | None = None) -> None:
        """Build the network.

        Args:
            settings: Settings of the encoder.
            weights: Weights of the trunk; None: random ones.

        Raises:
            InputError: If there is no such trunk, it does not fit these settings, or the weights are of another
                network.
        """
        super().__init__()
        self.settings = settings
        trunk = build_trunk(settings.arch, last_stride=settings.last_stride, size=(settings.height, settings.width))
        self.routing = DomainRouting(settings.domains, evaluation=settings.domains[-1])
        self.mean, self.std = trunk.mean, trunk.std
        self.pooling: nn.Module = nn.Identity()
        if trunk.gives_maps:
            self.pooling = GeneralisedMeanPooling() if settings.pooling == "gem" else AveragePooling()
        elif settings.pooling == "gem":
            raise InputError(
                f"{settings.arch} gives tokens, not feature maps, and pools them by itself: --pooling gem does not "
                "apply; leave it out, or give --pooling avg",
                code="option-does-not-apply",
            )
        self.feature_dim = settings.features or trunk.num_features
        self.embedding: nn.Module = nn.Identity()
        if settings.features:
            self.embedding = nn.Linear(trunk.num_features, settings.features)
            nn.init.kaiming_normal_(self.embedding.weight, mode="fan_out")
            nn.init.zeros_(self.embedding.bias)
        neck = nn.BatchNorm1d(self.feature_dim)
        neck.bias.requires_grad_(False)
        self.used_weights = load_weights(trunk, weights) if weights is not None and weights.dictionaries else None
        self.trunk = convert(trunk, self.routing, settings.group_size)
        self.neck = convert(neck, self.routing, settings.group_size)

    @property
    def domains(self) -> tuple[str, ...]:
        """The names of the domains."""
        return self.routing.domains

    @property
    def evaluation_domain(self) -> str:
        """The domain whose batch norm is used in evaluation mode."""
        return self.routing.evaluation

    @evaluation_domain.setter
    def evaluation_domain(self, domain: str) -> None:
        if domain not in self.domains:
            raise InputError(
                f"the encoder has no domain {domain!r}; it has {', '.join(self.domains)}", code="no-such-domain"
            )
        self.routing.evaluation = domain

    def forward(
        self, images: Tensor, domain_sizes: Sequence[int] | None = None, part: tuple[int, int] = (1, 1)
    ) -> Tensor:
        """Encode a batch.

        Args:
            images: ``[B, 3, H, W]`` normalised images; in training, the domains' parts one after the other.
            domain_sizes: Number of images of each domain, in training; None: equal parts. Not needed in evaluation.
            part: In training, the number of this part of a step's batch, from 1, and the number of parts.

        Returns:
            ``[B, D]`` unit rows (before dropout, in training).

        Raises:
            InputError: If a domain's part is a single image, which gives batch norm no statistics.
        """
        if self.training:
            self.routing.sizes = self._split(len(images), domain_sizes)
            self.routing.part = part
        features: Tensor = self.neck(self.embedding(self.pooling(self.trunk(images))))
        features = F.normalize(features, dim=1)
        if self.settings.dropout:
            features = F.dropout(features, self.settings.dropout, self.training)
        return features

    def folded(self, domain: str | None = None) -> EncoderNetwork:
        """Give a copy with the plain batch norm of one domain (None: the evaluation domain)."""
        chosen = domain or self.evaluation_domain
        if chosen not in self.domains:
            raise InputError(
                f"the encoder has no domain {chosen!r}; it has {', '.join(self.domains)}", code="no-such-domain"
            )
        plain = copy.deepcopy(self)
        fold(plain, chosen)
        plain.routing = DomainRouting((chosen,), evaluation=chosen)
        plain.settings = replace(self.settings, domains=(chosen,))
        return plain

    def _split(self, batch: int, sizes: Sequence[int] | None) -> tuple[int, ...]:
        count = len(self.domains)
        if sizes is None and batch % count:
            raise InputError(
                f"{batch} images do not split evenly over {count} domains; give domain_sizes",
                code="batch-not-divisible",
            )
        split = tuple(sizes) if sizes is not None else (batch // count,) * count
        if 1 in split:
            raise InputError(
                "batch norm needs at least two images of a domain in a training batch; it got one",
                code="batch-too-small",
            )
        return split
