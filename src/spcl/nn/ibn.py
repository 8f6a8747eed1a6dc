"""IBN-a: half of the channels of a bottleneck's first norm are instance-normalised.

Pan et al., *Two at Once: Enhancing Learning and Generalization Capacities via IBN-Net*, ECCV 2018: instance norm
removes appearance (light, colour), batch norm keeps content. Applied to the first three stages; the last keeps plain
batch norm.
"""

from __future__ import annotations

from spcl.nn.deferred_compiler import load_torchvision

load_torchvision()

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torchvision.models import ResNet  # noqa: E402
from torchvision.models.resnet import Bottleneck  # noqa: E402


class InstanceBatchNorm(nn.Module):
    """Instance norm on the first half of the channels, batch norm on the rest.

    The names ``IN`` and ``BN`` are those of the published weights.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_instance = num_features // 2
        self.IN = nn.InstanceNorm2d(self.num_instance, affine=True)
        self.BN = nn.BatchNorm2d(num_features - self.num_instance)

    def forward(self, maps: Tensor) -> Tensor:
        """``[B, C, h, w]`` to the same shape."""
        first, rest = maps[:, : self.num_instance], maps[:, self.num_instance :]
        return torch.cat([self.IN(first.contiguous()), self.BN(rest.contiguous())], dim=1)


def to_ibn_a(network: ResNet) -> ResNet:
    """Turn a ResNet of bottlenecks into its IBN-a form, in place."""
    for stage in (network.layer1, network.layer2, network.layer3):
        for block in stage:
            if not isinstance(block, Bottleneck):
                raise TypeError("IBN-a is defined for bottleneck blocks: ResNet-50 and deeper")
            block.bn1 = InstanceBatchNorm(block.conv1.out_channels)
    return network
