"""Where ImageNet weights are looked for, and which are there; nothing is downloaded."""

from __future__ import annotations

from spcl.doctor.findings import Finding
from spcl.nn.imagenet_weights import SEARCH_DIR, known_places

_ARCHITECTURES = ("resnet50", "timm/tf_efficientnet_lite0")


def weights() -> Finding:
    """Look for the weights of the default networks in every place where a training looks."""
    found, missing = {}, []
    for arch in _ARCHITECTURES:
        here, searched = known_places(arch)
        found[arch] = str(here) if here is not None else ""
        if here is None:
            missing.append(f"{arch} ({', '.join(map(str, searched))})")
    there = ", ".join(f"{arch}: {place}" for arch, place in found.items() if place)
    values = {"found": found, "folder": str(SEARCH_DIR.absolute())}
    if not missing:
        return Finding("weights", "ok", there, "", values)
    text = f"{there + '; ' if there else ''}not on this machine: {'; '.join(missing)}"
    step = (
        f"with a network they are downloaded when they are needed; without one, put the file into {SEARCH_DIR}, or "
        "give --pretrained FILE (docs/checkpoints.md)"
    )
    return Finding("weights", "note", text, step, values)
