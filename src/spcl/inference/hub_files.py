"""A folder in the format of the Hugging Face hub, as ``spcl export --hub`` writes it, read as a checkpoint.

``model.safetensors`` is a timm model whose last linear layer is embedding and neck together; the trunk is taken from
it. ``reid_head.safetensors`` has embedding and neck apart, and the settings of the encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spcl.errors import InputError, first_line
from spcl.file_kinds import HUB_HEAD, HUB_PREFIX
from spcl.inference.weights_file import content_of_tensors, opened_weights, settings_in_header, write_tensors

CONFIG_FILE, MODEL_FILE = "config.json", "model.safetensors"
CLASSIFIER = "classifier"
"""Entry of the header of ``HUB_HEAD``: the name of the classifier in timm's model."""

_FILES = (CONFIG_FILE, MODEL_FILE, HUB_HEAD)


def read_hub(path: Path) -> dict[str, Any]:
    """Read a folder, or download it first, as the content of a checkpoint.

    Args:
        path: The folder, or ``hf-hub:OWNER/NAME``.

    Raises:
        InputError: If a file is missing or damaged, or the download fails.
    """
    folder = _downloaded(str(path)) if str(path).startswith(HUB_PREFIX) else path
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}; get the folder again", code="damaged-file")
    model, _ = opened_weights(folder / MODEL_FILE)
    head, header = opened_weights(folder / HUB_HEAD)
    facts = settings_in_header(header, folder / HUB_HEAD)
    # The classifier of timm's model is what the layers of the head are together.
    classifier = header.get(CLASSIFIER, "") + "."
    trunk = {name: value for name, value in model.items() if not name.startswith(classifier)}
    return content_of_tensors({**trunk, **head}, facts)


def add_hub_facts(path: Path, facts: Mapping[str, Any]) -> None:
    """Add facts to a folder as plain values; the weights are not changed.

    Raises:
        InputError: If the path is a name on the hub, or a file is damaged.
    """
    if str(path).startswith(HUB_PREFIX):
        raise InputError(
            f"{path} is on the hub, where nothing can be added; write to a folder that was downloaded",
            code="cannot-write",
        )
    head, header = opened_weights(path / HUB_HEAD)
    known = settings_in_header(header, path / HUB_HEAD)
    write_tensors(head, known | dict(facts), path / HUB_HEAD, header)


def _downloaded(name: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        raise InputError(
            f"{name} needs huggingface_hub: pip install huggingface_hub", code="package-not-installed"
        ) from error
    repository, _, revision = name.removeprefix(HUB_PREFIX).partition("@")
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=list(_FILES)))
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise InputError(
            f"{name} cannot be downloaded: {first_line(error)}. Check the name and the connection, or give a folder",
            code="download-failed",
        ) from error
