"""The model card of exported weights: a description, and code that loads the weights without this package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spcl._version import __version__
from spcl.export.shared_facts import last_name
from spcl.inference.embedding import Encoder
from spcl.nn.backbones import TIMM_PREFIX, takes_image_size

_IBN = '''
class InstanceBatchNorm(torch.nn.Module):
    """IBN-a: instance norm on the first half of the channels, batch norm on the rest."""

    def __init__(self, channels):
        super().__init__()
        self.half = channels // 2
        self.IN = torch.nn.InstanceNorm2d(self.half, affine=True)
        self.BN = torch.nn.BatchNorm2d(channels - self.half)

    def forward(self, maps):
        return torch.cat([self.IN(maps[:, : self.half]), self.BN(maps[:, self.half :])], dim=1)

'''


def model_card(encoder: Encoder, file_name: str) -> str:
    """The model card of an encoder's exported weights, Markdown.

    Args:
        encoder: The encoder.
        file_name: File name of the weights, without a folder.
    """
    own = f'`spcl.load_encoder("{file_name}"{_domain_option(encoder)}).embed("image.jpg")`'
    code = loading_code(encoder, file_name)
    return card_sections(encoder, Path(file_name).stem, f"With spcl: {own}. Without it:\n\n```python\n{code}```\n")


def card_sections(encoder: Encoder, title: str, loading: str) -> str:
    """The sections of a model card, Markdown.

    Args:
        encoder: The encoder.
        title: The heading.
        loading: How the weights are loaded, Markdown that ends with a line break.
    """
    settings = encoder.network.settings
    height, width = encoder.size
    return f"""# {title}

A re-identification encoder: it turns an image of one object (a crop) into {encoder.feature_dim} numbers, so that images
of the same object lie close together. It was written by spcl {__version__} (self-paced contrastive learning).

| | |
|---|---|
| architecture | `{settings.arch}`, {_head_in_words(encoder)} |
| feature | {encoder.feature_dim} float32, length 1; compare two by their dot product, 1 at most |
| input | one object an image, {height} x {width} (height x width), RGB |
| domain | `{encoder.domain}` |
| fingerprint | `{encoder.fingerprint}`: only features of encoders with the same fingerprint can be compared |

## How it was trained

{_training_in_words(encoder.facts)}

## How images are prepared

Decode, turn upright by EXIF, put transparent pixels on white, convert to RGB; resize to {height} x {width} (height x
width; bicubic, without keeping the aspect ratio); divide by 255; subtract the mean {_numbers(encoder.network.mean)}
and divide by the standard deviation {_numbers(encoder.network.std)} of each channel. Other preparation gives other
features.

## How to load it

{loading}
## What it is for, and what it is not

It compares crops like those it was trained on: the same kind of object, cameras and framing. It does not detect
objects, and similarity is no proof of identity. How often two different objects are taken for one depends on the
images: choose a threshold on pairs of your own images before you use it for decisions. In many countries, features of
persons are personal data, and storing them may need a legal ground.

## Licence

The code of spcl is under the MIT licence. For the weights, the terms of the training images and of the pretrained
weights apply. If you share this file, write these terms here.
"""


def loading_code(encoder: Encoder, file_name: str) -> str:
    """Python that loads the weights with torch, safetensors and timm or torchvision, and encodes ``image.jpg``.

    Args:
        encoder: The encoder.
        file_name: File name of the weights.

    Returns:
        Lines; they leave ``features [1, D]`` behind.
    """
    settings = encoder.network.settings
    is_timm = settings.arch.startswith(TIMM_PREFIX)
    library = "import timm\nimport torch\n" if is_timm else "import torch\nimport torchvision\n"
    height, width = encoder.size
    return f"""import numpy as np
{library}from PIL import Image
from safetensors.torch import load_file
{_IBN if "_ibn" in settings.arch else ""}
weights = load_file("{file_name}")
own = {{name.removeprefix("reid."): value for name, value in weights.items() if name.startswith("reid.")}}
{_timm_trunk(encoder) if is_timm else _torchvision_trunk(settings.arch, settings.last_stride)}
trunk.load_state_dict({{name: value for name, value in weights.items() if not name.startswith("reid.")}})
neck = torch.nn.BatchNorm1d({encoder.feature_dim})
neck.load_state_dict({{name.removeprefix("neck."): value for name, value in own.items() if name.startswith("neck.")}})
trunk.eval(), neck.eval()

image = Image.open("image.jpg").convert("RGB").resize(({width}, {height}), Image.Resampling.BICUBIC)
pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).unsqueeze(0) / 255
mean = torch.tensor({_numbers(encoder.network.mean)}).view(1, 3, 1, 1)
std = torch.tensor({_numbers(encoder.network.std)}).view(1, 3, 1, 1)
with torch.no_grad():
    pooled = {_pooled(encoder, is_timm=is_timm)}
{_embedded(encoder)}    features = torch.nn.functional.normalize(neck(pooled), dim=1)  # [1, {encoder.feature_dim}]
"""


def _timm_trunk(encoder: Encoder) -> str:
    settings = encoder.network.settings
    options = "num_classes=0"
    if takes_image_size(settings.arch[len(TIMM_PREFIX) :]):
        options += f", img_size=({settings.height}, {settings.width})"
    if settings.last_stride == 1:
        options += ", output_stride=16"
    return f'trunk = timm.create_model("{settings.arch[len(TIMM_PREFIX) :]}", {options})'


def _torchvision_trunk(arch: str, last_stride: int) -> str:
    plain = arch.replace("_ibn", "").removesuffix("a") if "_ibn" in arch else arch
    lines = [f"trunk = torchvision.models.{plain}(weights=None)"]
    if "_ibn" in arch:
        lines += [
            "for stage in (trunk.layer1, trunk.layer2, trunk.layer3):",
            "    for block in stage:",
            "        block.bn1 = InstanceBatchNorm(block.conv1.out_channels)",
        ]
    if last_stride in (0, 1):
        conv = "conv1" if plain in ("resnet18", "resnet34") else "conv2"
        lines += [
            "# The last stage keeps its resolution.",
            f"trunk.layer4[0].{conv}.stride = trunk.layer4[0].downsample[0].stride = (1, 1)",
        ]
    return "\n".join([*lines, "trunk.avgpool = trunk.fc = torch.nn.Identity()"])


def _pooled(encoder: Encoder, *, is_timm: bool) -> str:
    inputs = "(pixels - mean) / std"
    if not getattr(encoder.network.trunk, "gives_maps", True):
        return f"trunk.forward_head(trunk.forward_features({inputs}), pre_logits=True)"
    channels = int(getattr(encoder.network.trunk, "num_features", 0))
    maps = f"trunk.forward_features({inputs})"
    if not is_timm:
        # torchvision's forward flattens the maps: their places are one axis then.
        maps = f"trunk({inputs}).view(1, {channels}, -1, 1)"
    if encoder.network.settings.pooling == "gem":
        return f'{maps}.clamp(min=1e-6).pow(own["pooling.exponent"]).mean(dim=(2, 3)).pow(1 / own["pooling.exponent"])'
    return f"{maps}.mean(dim=(2, 3))"


def _embedded(encoder: Encoder) -> str:
    if not encoder.network.settings.features:
        return ""
    return '    pooled = torch.nn.functional.linear(pooled, own["embedding.weight"], own["embedding.bias"])\n'


def _numbers(values: Any) -> str:
    return f"({', '.join(str(float(value)) for value in values)})"


def _domain_option(encoder: Encoder) -> str:
    return "" if encoder.domain == "target" else f', domain="{encoder.domain}"'


def _head_in_words(encoder: Encoder) -> str:
    settings = encoder.network.settings
    parts = ["generalised-mean pooling" if settings.pooling == "gem" else "average pooling"]
    if not getattr(encoder.network.trunk, "gives_maps", True):
        parts = ["its own pooling"]
    if settings.features:
        parts.append(f"linear layer to {settings.features}")
    return ", ".join([*parts, "batch norm neck", "unit length"])


def _training_in_words(facts: Mapping[str, Any]) -> str:
    """Describe the training, from the facts of the checkpoint."""
    config = facts.get("config")
    if not isinstance(config, Mapping):
        return "Not stored in the checkpoint (an official one, or an encoder trained on ImageNet only)."
    data, schedule = config.get("data", {}), config.get("schedule", {})
    source, target = (last_name(data.get(name)) for name in ("source", "target"))
    if schedule.get("source_only"):
        learnt = f"On the labelled data `{source}` alone."
    elif source:
        learnt = f"Without identity labels of `{target}`, beside the labelled data `{source}` (UDA)."
    else:
        learnt = f"Without identity labels, on `{target}` (USL)."
    lines = [learnt]
    # A checkpoint of version 0.1.0 has the learning rate in the schedule.
    schedule = {**schedule, **config.get("optimiser", {})}
    if {"epochs", "iters", "batch_size", "lr"} <= set(schedule):
        lines.append(
            f"{schedule['epochs']} epochs of {schedule['iters']} steps, {schedule['batch_size']} images of each domain "
            f"in a batch, Adam with learning rate {schedule['lr']:g}."
        )
    labels = config.get("labels", {})
    if {"k1", "k2", "eps"} <= set(labels):
        lines.append(_labels_in_words(labels))
    return "\n".join(lines)


def _labels_in_words(labels: Mapping[str, Any]) -> str:
    start = "Pseudo labels: k-reciprocal Jaccard distance"
    if labels["eps"] == "auto":
        return f"{start}, DBSCAN; eps, k1 and k2 as the features of the first epoch suggested them (`--eps auto`)."
    return f"{start} (k1 {labels['k1']}, k2 {labels['k2']}), DBSCAN with eps {labels['eps']:g}."
