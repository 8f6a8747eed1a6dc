"""What multi-object trackers feed a re-identification model in an ONNX file.

Read off mikel-brostrom/boxmot (``boxmot/reid``, formerly ``boxmot/appearance``): crops are resized to a size that the
*name of the file* decides, turned to RGB, divided by 255, normalised by ImageNet's mean and deviation, and given to the
file's first input; its first output is taken and normalised. The name must hold that of a network the tracker knows,
though an ONNX file brings its own. Its own exporter calls the two ``images`` and ``output``.
"""

from __future__ import annotations

from spcl.errors import InputError
from spcl.export.onnx_graph import GraphInput

KNOWN_NAMES = (
    "resnet50",
    "resnet101",
    "mlfn",
    "hacnn",
    "mobilenetv2_x1_0",
    "mobilenetv2_x1_4",
    "osnet_x1_0",
    "osnet_x0_75",
    "osnet_x0_5",
    "osnet_x0_25",
    "osnet_ibn_x1_0",
    "osnet_ain_x1_0",
    "lmbn_n",
)
"""Networks that a file's name may hold for BoxMOT to load it; ``clip`` is left out: it is normalised otherwise."""

_PERSONS, _VEHICLES = (256, 128), (256, 256)


def tracker_input(file_name: str) -> GraphInput:
    """What a tracker gives to a file of this name.

    Args:
        file_name: Without its folder.

    Raises:
        InputError: If files of this name are normalised as CLIP.
    """
    if "clip" in file_name:
        raise InputError(
            f"trackers take {file_name} for a CLIP model and normalise its input otherwise; leave clip out of the name"
        )
    if "veri" in file_name or "vehicleid" in file_name:
        size = _VEHICLES
    elif "lmbn" in file_name:
        size = (384, 128)
    elif "hacnn" in file_name:
        size = (160, 64)
    else:
        size = _PERSONS
    return GraphInput(size=size, is_normalised=True, name="images", output_name="output")


def is_known(file_name: str) -> bool:
    """Whether BoxMOT loads a file of this name: it holds the name of a network that it knows."""
    return any(known in file_name for known in KNOWN_NAMES)
