"""Lists of images that show one object each, as ``Encoder.embed`` takes them: one feature for each list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcl.errors import InputError


def flattened(images: Any) -> tuple[Any, NDArray[np.int64] | None]:
    """Give the images of a list of lists in one list, and the number of the list of each.

    Args:
        images: Anything that ``Encoder.embed`` takes.

    Returns:
        The images and ``[N]`` int64 numbers of their lists; for other input, the input and None.

    Raises:
        InputError: If a list is empty, or lists are mixed with images.
    """
    if not isinstance(images, Sequence) or isinstance(images, str):
        return images, None
    are_lists = [isinstance(entry, list | tuple) for entry in images]
    if not any(are_lists):
        return images, None
    if not all(are_lists):
        raise InputError(
            f"entry {are_lists.index(False)} of the images (from 0) is no list, and others are lists; give images, or "
            "a list of images for each track",
            code="mixed-images",
        )
    sizes = [len(entry) for entry in images]
    if 0 in sizes:
        raise InputError(
            f"the list {sizes.index(0)} of images (from 0) is empty; a track needs at least one image", code="no-images"
        )
    return [image for entry in images for image in entry], np.repeat(np.arange(len(sizes)), sizes)
