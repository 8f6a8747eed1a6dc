"""An encoder as a folder in the format of the Hugging Face hub, which plain timm loads: trunk, pooling and neck.

``config.json`` and ``model.safetensors`` are those of a timm model whose classifier is the embedding layer and the
batch norm neck, multiplied to one linear layer::

    classifier(p) = diag(s) (E p + e - m) + b,       s = weight / sqrt(variance + eps)

with E and e of the embedding layer (the identity without one), and m, b of the neck. Its output, scaled to length 1, is
the feature. ``reid_head.safetensors`` has the layers apart, so that ``load_encoder`` gives the same encoder to the bit.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from spcl._version import __version__
from spcl.atomic_files import check_way, flush
from spcl.atomic_folders import folder_written_aside
from spcl.errors import InputError, first_line
from spcl.export.hub_card import hub_card
from spcl.export.shared_facts import shared_facts
from spcl.file_kinds import HUB_HEAD
from spcl.inference.checkpoint import checkpoint_of
from spcl.inference.hub_files import CLASSIFIER, CONFIG_FILE, MODEL_FILE
from spcl.inference.weights_file import REID_PREFIX, file_tensors, write_tensors
from spcl.nn.backbones import TIMM_PREFIX, takes_image_size
from spcl.nn.deferred_compiler import load_timm

if TYPE_CHECKING:
    from spcl.inference.embedding import Encoder

_LEAST_COSINE = 0.99999
_CARD_FILE = "README.md"
_NUM_CHECKED = 8


@dataclass(frozen=True)
class HubFolder:
    """What was written.

    Attributes:
        folder: The folder.
        least_cosine: Smallest cosine of a feature of timm's model and of the encoder, on random images.
        pushed: Address of the repository that it was uploaded to; empty: it was not.
    """

    folder: Path
    least_cosine: float
    pushed: str = ""


def export_hub(encoder: Encoder, folder: str | Path, *, overwrite: bool = False, push: str = "") -> HubFolder:
    """Write an encoder as a folder that ``timm.create_model("local-dir:FOLDER", pretrained=True)`` loads.

    The folder is loaded with timm and compared with the encoder before it is put in its place.

    Args:
        encoder: The encoder.
        folder: The folder; it must not exist, or be empty.
        overwrite: Whether a folder that holds an earlier export is replaced.
        push: Repository of the hub to upload the folder to, ``OWNER/NAME``; empty: none.

    Returns:
        HubFolder.

    Raises:
        InputError: If timm's model cannot hold the encoder (another pooling than the average, IBN, the stride of the
            last stage), the folder holds something else, or the upload fails.
    """
    folder = Path(folder)
    refuse_other_folder(folder, overwrite=overwrite)
    name, options = timm_model_of(encoder)
    check_way(folder)
    files = (CONFIG_FILE, MODEL_FILE, HUB_HEAD, _CARD_FILE)
    with folder_written_aside(folder, ours=files, mark=HUB_HEAD, unfinished="") as aside:
        _write(encoder, aside, name, options, push or folder.name)
        cosine = _agreement(encoder, aside)
        if cosine < _LEAST_COSINE:
            raise InputError(
                f"timm's {name} gives other features than the encoder (smallest cosine {cosine:.6f}): its head is more "
                "than a pooling and a linear layer; write NAME.safetensors, whose card has the code to load it",
                code="hub-not-possible",
            )
        for file in aside.iterdir():
            flush(file)
    return HubFolder(folder, cosine, pushed=_pushed(folder, push) if push else "")


def refuse_other_folder(folder: Path, *, overwrite: bool) -> None:
    """Raise an ``InputError`` for a path that is a file, or a folder that may not be replaced."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give the name of a folder", code="not-a-folder")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not (folder / HUB_HEAD).is_file():
        raise InputError(f"{folder} holds other files; give the name of a new folder", code="already-exists")
    if not overwrite:
        raise InputError(
            f"{folder} holds an encoder already; give another name, or --overwrite to replace it", code="already-exists"
        )


def timm_model_of(encoder: Encoder) -> tuple[str, dict[str, Any]]:
    """Give the name of timm's model with the trunk of an encoder, and its arguments.

    Raises:
        InputError: If timm has no model with this trunk and pooling.
    """
    settings = encoder.network.settings
    reason = ""
    if settings.pooling == "gem":
        reason = "generalised-mean pooling"
    elif "_ibn" in settings.arch:
        reason = "instance norm (IBN)"
    elif not settings.arch.startswith(TIMM_PREFIX) and settings.last_stride != 2:
        reason = "stride 1 in the last stage"
    if reason:
        raise InputError(
            f"timm has no model with {reason}, which this encoder has ({settings.arch}); write NAME.safetensors, whose "
            "card has the code to load it",
            code="hub-not-possible",
        )
    name = settings.arch.removeprefix(TIMM_PREFIX)
    options: dict[str, Any] = {}
    if settings.arch.startswith(TIMM_PREFIX):
        if takes_image_size(name):
            options["img_size"] = [settings.height, settings.width]
        if settings.last_stride == 1:
            options["output_stride"] = 16
    return name, options


def linear_head(encoder: Encoder) -> tuple[Tensor, Tensor]:
    """Give weight ``[D, P]`` and bias ``[D]`` of embedding layer and neck as one linear layer of P pooled numbers."""
    neck: Any = encoder.network.neck
    scale = neck.weight / torch.sqrt(neck.running_var + neck.eps)
    embedding = encoder.network.embedding
    if isinstance(embedding, nn.Linear):
        weight, shift = embedding.weight, embedding.bias - neck.running_mean
    else:
        weight, shift = torch.eye(len(scale), device=scale.device), -neck.running_mean
    return (scale[:, None] * weight).detach(), (scale * shift + neck.bias).detach()


def _write(encoder: Encoder, folder: Path, name: str, options: dict[str, Any], title: str) -> None:
    content = checkpoint_of(encoder.network, epoch=0, best_mean_ap=None, facts=shared_facts(encoder.facts))
    tensors = file_tensors(content)
    trunk = {each: value for each, value in tensors.items() if not each.startswith(REID_PREFIX)}
    model: Any = load_timm().create_model(name, pretrained=False, num_classes=encoder.feature_dim, **options)
    classifier = model.get_classifier()
    if not isinstance(classifier, nn.Linear):
        raise InputError(
            f"timm's {name} has no linear classifier that could hold the neck; write NAME.safetensors, whose card has "
            "the code to load it",
            code="hub-not-possible",
        )
    own = {each: value for each, value in model.state_dict().items() if each not in trunk}
    at = next(each for each, module in model.named_modules() if module is classifier)
    weight, bias = linear_head(encoder)
    head = {f"{at}.weight": weight.cpu().contiguous(), f"{at}.bias": bias.cpu().contiguous()}
    if set(own) != set(head) or own[f"{at}.weight"].shape != weight.shape:
        raise InputError(
            f"timm's {name} has further layers between the pooling and the classifier; write NAME.safetensors, whose "
            "card has the code to load it",
            code="hub-not-possible",
        )
    # Not by save_file, whose errors of the disk are no OSError.
    (folder / MODEL_FILE).write_bytes(save({**trunk, **head}, metadata={"format": "pt"}))
    layers = {each: value for each, value in tensors.items() if each.startswith(REID_PREFIX)}
    write_tensors(layers, content["spcl"], folder / HUB_HEAD, {CLASSIFIER: at})
    config = json.dumps(_config(encoder, model, name, options), indent=2)
    (folder / CONFIG_FILE).write_text(config + "\n", encoding="utf-8")
    (folder / _CARD_FILE).write_text(hub_card(encoder, title), encoding="utf-8")


def _config(encoder: Encoder, model: Any, name: str, options: dict[str, Any]) -> dict[str, Any]:
    """The content of config.json; images are resized to the size of the encoder without keeping the aspect ratio."""
    height, width = encoder.size
    settings = model.pretrained_cfg
    return {
        "architecture": name,
        "num_classes": encoder.feature_dim,
        "num_features": int(model.num_features),
        **({"model_args": options} if options else {}),
        "pretrained_cfg": {
            "input_size": [3, height, width],
            "fixed_input_size": bool(options.get("img_size")),
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "crop_mode": "squash",
            "mean": list(encoder.network.mean),
            "std": list(encoder.network.std),
            "num_classes": encoder.feature_dim,
            "first_conv": settings.get("first_conv"),
            "classifier": settings.get("classifier"),
            "custom_load": False,
        },
        "spcl": {"version": __version__, "domain": encoder.domain, "fingerprint": encoder.fingerprint},
    }


@torch.no_grad()
def _agreement(encoder: Encoder, folder: Path) -> float:
    """The smallest cosine of a feature of the folder's timm model and of the encoder, on random images."""
    model = loaded_by_timm(folder)
    height, width = encoder.size
    generator = torch.Generator().manual_seed(0)
    # Of coarse patches: noise of single pixels is averaged away by every network.
    coarse = torch.randn(_NUM_CHECKED, 3, 8, 8, generator=generator)
    images = F.interpolate(coarse, (height, width), mode="bicubic")
    expected = encoder.encode(images).cpu()
    return float((F.normalize(model(images).float(), dim=1) * expected).sum(dim=1).min())


def loaded_by_timm(folder: Path) -> Any:
    """Load a folder as users of timm do, in evaluation mode.

    Raises:
        InputError: If timm cannot load it; the message has timm's.
    """
    try:
        model = load_timm().create_model(f"local-dir:{folder}", pretrained=True)
    except (RuntimeError, ValueError, KeyError, TypeError, AssertionError, OSError) as error:
        raise InputError(
            f"timm cannot load the folder ({first_line(error)}); timm 1.0.16 or newer reads such folders: pip install "
            "--upgrade timm",
            code="hub-not-possible",
        ) from error
    return model.eval()


def _pushed(folder: Path, repository: str) -> str:
    """Upload a folder to a repository of the hub, and give its address."""
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        message = "--push needs huggingface_hub: pip install huggingface_hub"
        raise InputError(message, code="package-not-installed") from error
    try:
        api = HfApi()
        address = str(api.create_repo(repository, exist_ok=True))
        words = f"Encoder written by spcl {__version__}"
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message=words)
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise InputError(
            f"the upload to {repository} failed: {first_line(error)}. The folder {folder} is complete; log in with hf "
            "auth login, and try again",
            code="upload-failed",
        ) from error
    return address
