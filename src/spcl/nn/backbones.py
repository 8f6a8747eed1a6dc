"""Trunks: from images ``[B, 3, H, W]`` to feature maps (or, for token networks, to features).

torchvision's ResNets, IBN-a ResNets, and any timm model as ``timm/NAME``. Their weights come from
``imagenet_weights.py``; pooling and neck are in ``encoder_network.py``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any

from spcl.nn.deferred_compiler import load_timm, load_torchvision

load_torchvision()

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torchvision import models  # noqa: E402
from torchvision.models.resnet import BasicBlock, Bottleneck  # noqa: E402

from spcl.errors import InputError, first_line  # noqa: E402
from spcl.nn.ibn import to_ibn_a  # noqa: E402

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

RESNETS: dict[str, Callable[..., models.ResNet]] = {
    "resnet18": models.resnet18,
    "resnet34": models.resnet34,
    "resnet50": models.resnet50,
    "resnet101": models.resnet101,
    "resnet152": models.resnet152,
    "resnet_ibn50a": models.resnet50,
    "resnet_ibn101a": models.resnet101,
}
TIMM_PREFIX = "timm/"
# Errors that timm's models raise for settings or inputs that they do not accept.
_TIMM_ERRORS = (NotImplementedError, TypeError, AssertionError, ValueError, RuntimeError, AttributeError, IndexError)


class ResNetTrunk(nn.Module):
    """The convolutional part of a ResNet; the order of its parts is that of the official ``state_dict``."""

    gives_maps = True

    def __init__(self, arch: str, last_stride: int) -> None:
        super().__init__()
        network = RESNETS[arch](weights=None)
        if "_ibn" in arch:
            network = to_ibn_a(network)
        for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            setattr(self, name, getattr(network, name))
        self.num_features = int(network.fc.in_features)
        self.mean, self.std = IMAGENET_MEAN, IMAGENET_STD
        if last_stride == 1:
            _keep_resolution(network.layer4[0])

    def forward(self, images: Tensor) -> Tensor:
        """``[B, 3, H, W]`` to ``[B, C, h, w]``."""
        for part in self.children():
            images = part(images)
        return images


class TimmTrunk(nn.Module):
    """Any timm model: its feature map if it has one, otherwise its pooled feature."""

    # timm's models share an interface that has no type: forward_features, forward_head, num_features.
    model: Any

    def __init__(self, name: str, last_stride: int, size: tuple[int, int]) -> None:
        super().__init__()
        options: dict[str, Any] = {"num_classes": 0}
        if takes_image_size(name):
            options["img_size"] = size
        if last_stride == 1:
            options["output_stride"] = 16
        try:
            model: Any = load_timm().create_model(name, pretrained=False, **options)
        except _TIMM_ERRORS as error:
            if last_stride == 1:
                raise InputError(
                    f"timm/{name} cannot keep its resolution in the last stage ({error}); leave --last-stride at 0",
                    code="option-does-not-apply",
                ) from error
            raise _unfit(name, size, error) from error
        self.model = model
        settings = model.pretrained_cfg
        self.mean, self.std = tuple(settings["mean"]), tuple(settings["std"])
        try:
            self._look_at_features(size)
        except _TIMM_ERRORS as error:
            raise _unfit(name, size, error, patch_size(self)) from error

    def forward(self, images: Tensor) -> Tensor:
        """``[B, 3, H, W]`` to ``[B, C, h, w]``, or to ``[B, C]`` where ``gives_maps`` is False."""
        return self.model.forward_features(images) if self.gives_maps else self._pooled(images)

    def _pooled(self, images: Tensor) -> Tensor:
        pooled: Tensor = self.model.forward_head(self.model.forward_features(images), pre_logits=True)
        return pooled

    @torch.enable_grad()
    def _look_at_features(self, size: tuple[int, int]) -> None:
        """Encode two images to find whether the output is a map, the feature length, and which parameters are used.

        Unused parameters (of a head, for example) are frozen: several processes would wait for their gradients.
        """
        self.model.eval()
        features: Tensor = self.model.forward_features(torch.zeros(2, 3, *size))
        self.gives_maps = features.ndim == 4 and features.shape[1] == self.model.num_features
        if not self.gives_maps:
            features = self.model.forward_head(features, pre_logits=True)
        self.num_features = int(features.shape[1])
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        gradients = torch.autograd.grad(features.sum(), parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.requires_grad_(gradient is not None)
        self.model.train()


def patch_size(trunk: nn.Module) -> tuple[int, int] | None:
    """Give the height and width in pixels of the patches that an image is cut into; None: it is not cut."""
    embedding: Any = getattr(getattr(trunk, "model", None), "patch_embed", None)
    if not hasattr(embedding, "feat_ratio") or getattr(embedding, "dynamic_img_pad", False):
        return None
    sides = embedding.feat_ratio(as_scalar=False)
    return (int(sides[0]), int(sides[1])) if isinstance(sides, Sequence) else (int(sides), int(sides))


def check_patches(arch: str, trunk: nn.Module, size: tuple[int, int]) -> None:
    """Check that images are whole patches: a network would leave out what is beyond the last one, without a word.

    Args:
        arch: Name of the network.
        trunk: The network.
        size: Height and width of the images in pixels.

    Raises:
        InputError: If they are not; the message has the nearest sizes that are.
    """
    patch = patch_size(trunk)
    if patch is not None and (size[0] % patch[0] or size[1] % patch[1]):
        raise InputError(
            f"{arch} cuts images into patches of {patch[0]} x {patch[1]} pixels, and {size[0]} x {size[1]} are not "
            f"whole patches: give {_whole_patches(size, patch)}",
            code="image-size-not-supported",
        )


def _whole_patches(size: tuple[int, int], patch: tuple[int, int]) -> str:
    """The nearest smaller and larger image sizes that are whole patches, as flags."""
    smaller, larger = (
        [
            max(1, -(-side // pixels) if up else side // pixels) * pixels
            for side, pixels in zip(size, patch, strict=True)
        ]
        for up in (False, True)
    )
    return " or ".join(f"--height {h} --width {w}" for h, w in dict.fromkeys((tuple(smaller), tuple(larger))))


def _unfit(name: str, size: tuple[int, int], error: Exception, patch: tuple[int, int] | None = None) -> InputError:
    """Describe the error of a timm model that does not accept an image size."""
    settings = load_timm().get_pretrained_cfg(name)
    own = "" if settings is None else f", such as its own, {settings.input_size[1]} x {settings.input_size[2]}"
    if patch is not None and (size[0] % patch[0] or size[1] % patch[1]):
        own += f", or whole patches of {patch[0]} x {patch[1]} pixels ({_whole_patches(size, patch)})"
    return InputError(
        f"timm/{name} cannot encode images of {size[0]} x {size[1]} ({first_line(error)}); give another --height and "
        f"--width{own}, or another --arch",
        code="image-size-not-supported",
    )


def check_arch(arch: str) -> None:
    """Check that an architecture can be built.

    Raises:
        InputError: If it cannot be built; the message gives the nearest names.
    """
    if arch in RESNETS:
        return
    if arch.startswith(TIMM_PREFIX):
        name = arch[len(TIMM_PREFIX) :]
        if not load_timm().is_model(name):
            near = get_close_matches(name, load_timm().list_models(), n=3)
            hint = f"; did you mean {' or '.join('timm/' + name for name in near)}?" if near else ""
            raise InputError(f"timm has no model {name!r}{hint}", code="no-such-network")
        try:
            load_timm().get_pretrained_cfg(name)
        except RuntimeError as error:
            there = ", ".join(load_timm().list_pretrained(name.partition(".")[0] + ".*"))
            raise InputError(
                f"timm has no weights {name}; expected {there or 'a name without a tag'}", code="no-such-network"
            ) from error
        return
    near = get_close_matches(arch, RESNETS, n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else f"expected {', '.join(RESNETS)} or timm/NAME"
    if load_timm().is_model(arch):
        hint = f"did you mean timm/{arch}?"
    raise InputError(f"there is no network {arch!r}; {hint}", code="no-such-network")


def build_trunk(arch: str, *, last_stride: int = 0, size: tuple[int, int] = (256, 128)) -> ResNetTrunk | TimmTrunk:
    """Build a trunk with random weights.

    Args:
        arch: A name in ``RESNETS``, or ``timm/NAME``.
        last_stride: Stride of the last stage: 1 keeps the resolution; 2 is the stride of the original network; 0: 1 for
            ResNets (as in the paper), the original network's for timm.
        size: Height and width of the images in pixels, for networks that depend on them.

    Raises:
        InputError: If there is no such network, or it cannot be built with these settings.
    """
    check_arch(arch)
    if arch.startswith(TIMM_PREFIX):
        return TimmTrunk(arch[len(TIMM_PREFIX) :], last_stride, size)
    return ResNetTrunk(arch, 1 if last_stride in (0, 1) else 2)


def _keep_resolution(block: Any) -> None:
    """Set the strides of a stage's first block to 1, in its strided convolution and its shortcut."""
    if isinstance(block, Bottleneck):
        block.conv2.stride = (1, 1)
    elif isinstance(block, BasicBlock):
        block.conv1.stride = (1, 1)
    if block.downsample is not None:
        block.downsample[0].stride = (1, 1)


def takes_image_size(name: str) -> bool:
    """Whether a timm model depends on the size of its images (transformers do)."""
    entry = load_timm().model_entrypoint(name)
    module = inspect.getmodule(entry)
    networks = [
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, nn.Module) and hasattr(member, "forward_features")
    ]
    own = [member for member in networks if module is not None and member.__module__ == module.__name__]
    # A module without a network class of its own makes other settings of an imported transformer.
    return any(map(_has_size, own or [member for member in networks if hasattr(member, "set_input_size")]))


def _has_size(network: type[nn.Module]) -> bool:
    """Whether a class or one that it extends is built for an image size."""
    return any("img_size" in inspect.signature(base.__init__).parameters for base in network.__mro__)  # type: ignore[misc]
