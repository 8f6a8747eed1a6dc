"""The input that multi-object trackers give to a re-identification model in an ONNX file.

Read in mikel-brostrom/boxmot (``boxmot/reid``): crops are resized, converted to RGB, divided by 255, normalised by
ImageNet's mean and standard deviation, and given to the first input of the file; the first output is normalised. The
file's name decides the size, and must contain the name of a network that BoxMOT has, though the file brings its own.
"""

from __future__ import annotations

from spcl.errors import InputError
from spcl.export.onnx_graph import GraphInput

KNOWN_NAME = "osnet_x0_25"
"""A network that BoxMOT has. A file whose name contains it is loaded, and gets the images described above."""

_PERSONS, _VEHICLES = (256, 128), (256, 256)


def tracker_input(file_name: str) -> GraphInput:
    """Give the input that a tracker gives to a file of this name: images of vehicles are square.

    Args:
        file_name: File name without its folder.

    Raises:
        InputError: If BoxMOT prepares the images of files of this name differently.
    """
    unfit = next((name for name in ("clip", "lmbn", "hacnn") if name in file_name), None)
    if unfit is not None:
        raise InputError(
            f"{file_name} contains {unfit}, and BoxMOT prepares the images of such a file differently; use another "
            f"name, for example {KNOWN_NAME}_mine.onnx",
            code="file-name-not-supported",
        )
    size = _VEHICLES if "veri" in file_name or "vehicleid" in file_name else _PERSONS
    return GraphInput(size=size, is_normalised=True, name="images", output_name="output")
