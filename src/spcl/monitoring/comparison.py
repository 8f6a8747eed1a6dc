"""The comparison of new images with a reference: each figure of each camera, with p-values for all tests together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from spcl.monitoring.figures import FIGURES
from spcl.monitoring.reference import Measured
from spcl.monitoring.shift_test import holm, shift_of
from spcl.randomness import generator

FEWEST_IMAGES = 20
"""Images of a camera, in the reference and of the new ones, from which a figure is tested."""


@dataclass(frozen=True)
class FigureShift:
    """One figure of one camera.

    Attributes:
        camera: The camera.
        figure: Name of the figure: one of ``FIGURES``.
        num_reference: Number of images of the reference.
        num_new: Number of new images.
        reference: Median of the reference; of ``unknown`` the rate.
        new: Median of the new images; of ``unknown`` the rate.
        statistic: Kolmogorov-Smirnov statistic, 0 to 1; of ``unknown`` the difference of the rates.
        p_value: p-value, adjusted for the number of tests by Holm's method.
        has_shifted: Whether the p-value is below the level.
    """

    camera: str
    figure: str
    num_reference: int
    num_new: int
    reference: float
    new: float
    statistic: float
    p_value: float
    has_shifted: bool


def compared(
    reference: Measured, new: Measured, *, level: float, figures: Sequence[str] = FIGURES, seed: int = 0
) -> list[FigureShift]:
    """Compare each figure of each camera of which both sets have at least twenty images.

    Args:
        reference: Figures of the reference.
        new: Figures of the new images.
        level: Probability that any figure is called shifted although none has.
        figures: The figures to compare.
        seed: Seed of the draws of the test.

    Returns:
        One entry for each camera and figure that could be tested, in the order of cameras and figures.
    """
    found: list[FigureShift] = []
    for number, camera in enumerate(sorted(set(reference.cameras) & set(new.cameras))):
        for figure in figures:
            values, groups = reference.of_camera(camera, figure)
            others, _ = new.of_camera(camera, figure)
            if min(len(values), len(others)) < FEWEST_IMAGES:
                continue
            is_rate = figure == "unknown"
            rng = generator(seed, "drift", number, FIGURES.index(figure))
            shift = shift_of(values, groups, others, rng, is_rate=is_rate)
            middle = np.mean if is_rate else np.median
            found.append(
                FigureShift(
                    camera,
                    figure,
                    len(values),
                    len(others),
                    float(middle(values)),
                    float(middle(others)),
                    shift.statistic,
                    shift.p_value,
                    False,
                )
            )
    adjusted = holm(np.array([each.p_value for each in found])).tolist()
    return [replace(each, p_value=p, has_shifted=p < level) for each, p in zip(found, adjusted, strict=True)]
