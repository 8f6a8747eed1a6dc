"""Comparison of an ONNX file with its encoder: onnxruntime runs the file on images before it is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from spcl.data.normalise import test_transform
from spcl.errors import InputError, first_line
from spcl.export.onnx_graph import GraphInput
from spcl.inference.embedding import Encoder
from spcl.nn.backbones import IMAGENET_MEAN, IMAGENET_STD

LEAST_COSINE = 0.9999
LEAST_COSINE_FLOAT16 = 0.999
TOP = 10
_TIE = 1e-5
"""Gallery images whose similarities to a query differ by less may change places: that is float32's rounding."""

_BATCH_SIZES = (1, 2, 7, 16)


@dataclass(frozen=True)
class Agreement:
    """Agreement of a file with its encoder.

    Attributes:
        num_images: Number of images that were compared.
        least_cosine: Smallest cosine between the two features of an image.
        largest_difference: Largest absolute difference of two feature values.
        equal_top10: Share of the images that, as queries, find the same ten others in the same order, ties aside.
        mean_overlap_top10: Mean share of the ten that both find, whatever their order.
    """

    num_images: int
    least_cosine: float
    largest_difference: float
    equal_top10: float
    mean_overlap_top10: float

    def to_row(self) -> dict[str, Any]:
        """Give the values as plain types."""
        return asdict(self)

    def problem(self, *, float16: bool) -> str | None:
        """Give the reason why the file must not be kept; None if it may be kept."""
        least = LEAST_COSINE_FLOAT16 if float16 else LEAST_COSINE
        # Not "<": a comparison with NaN is false.
        if not self.least_cosine > least:
            return f"the smallest cosine is {self.least_cosine:.6f}; expected more than {least}"
        if not float16 and self.equal_top10 < 1:
            return f"the ten nearest others are the same for {100 * self.equal_top10:.1f}% of the images; expected all"
        return None


def compare_with_encoder(
    file: Path,
    encoder: Encoder,
    given: GraphInput,
    images: NDArray[np.uint8],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Agreement, NDArray[np.float32]]:
    """Run a file on images and compare with the encoder in torch.

    Args:
        file: The ONNX file.
        encoder: The encoder, on the CPU.
        given: Input of the graph in the file.
        images: ``[N, H, W, 3]`` of the size that the file takes.
        progress: Called with (images done, all images).

    Returns:
        The agreement, and the file's features ``[N, D]``.

    Raises:
        InputError: If onnxruntime cannot run the file.
    """
    import onnxruntime

    theirs = np.empty((len(images), encoder.feature_dim), dtype=np.float32)
    ours = np.empty_like(theirs)
    try:
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        done = 0
        # Batches of several sizes: the file must take each.
        for size in cycle(_BATCH_SIZES):
            if done == len(images):
                break
            part = images[done : done + size]
            inputs = {session.get_inputs()[0].name: graph_values(part, given)}
            theirs[done : done + len(part)] = session.run(None, inputs)[0]
            ours[done : done + len(part)] = _in_torch(encoder, part)
            done += len(part)
            if progress is not None:
                progress(done, len(images))
    # Its errors have no common class of their own.
    except Exception as error:
        raise InputError(
            f"onnxruntime cannot run the exported graph: {first_line(error)}", code="onnx-not-possible"
        ) from error
    return agreement_of(ours, theirs), theirs


def graph_values(images: NDArray[np.uint8], given: GraphInput) -> NDArray[np.float32]:
    """``[N, H, W, 3]`` uint8 as the values that a graph takes, ``[N, 3, H, W]``."""
    if not given.is_normalised:
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32)
    values = test_transform(torch.from_numpy(images), IMAGENET_MEAN, IMAGENET_STD)
    return np.ascontiguousarray(values.numpy())


@torch.no_grad()
def _in_torch(encoder: Encoder, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The encoder's features of images, resized to its size where they have another."""
    network = encoder.network
    pixels = torch.from_numpy(images)
    if pixels.shape[1:3] == encoder.size:
        inputs = test_transform(pixels, network.mean, network.std)
    else:
        planes = pixels.permute(0, 3, 1, 2).float()
        planes = F.interpolate(planes, size=encoder.size, mode="bilinear", align_corners=False)
        inputs = test_transform(planes.permute(0, 2, 3, 1), network.mean, network.std)
    features: NDArray[np.float32] = encoder.encode(inputs).cpu().numpy()
    return features


def agreement_of(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> Agreement:
    """Compare two encodings of the same images.

    Args:
        ours: ``[N, D]`` unit rows.
        theirs: ``[N, D]`` rows of the file; of unit length if the file is right.
    """
    length = np.linalg.norm(theirs, axis=1)
    cosine = (ours * theirs).sum(axis=1) / np.where(length > 0, length, 1)
    equal, overlap = _same_neighbours(ours @ ours.T, theirs @ theirs.T)
    return Agreement(
        num_images=len(ours),
        least_cosine=float(cosine.min()),
        largest_difference=float(np.abs(ours - theirs).max()),
        equal_top10=float(np.mean(equal)),
        mean_overlap_top10=float(np.mean(overlap)),
    )


def _same_neighbours(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> tuple[Sequence[bool], Sequence[float]]:
    """Give for each query whether its nearest others have the same order (ties aside), and the share that both find."""
    count = min(TOP, len(ours) - 1)
    if count < 1:
        return [True], [1.0]
    equal, overlap = [], []
    for query in range(len(ours)):
        found = []
        for similarity in (ours[query], theirs[query]):
            order = np.argsort(-similarity, kind="stable")
            found.append(order[order != query][:count])
        equal.append(bool(np.abs(ours[query][found[0]] - ours[query][found[1]]).max() <= _TIE))
        overlap.append(len(np.intersect1d(*found)) / count)
    return equal, overlap
