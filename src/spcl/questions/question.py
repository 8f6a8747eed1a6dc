"""A pair of images to ask about."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """A pair of images to ask about.

    Attributes:
        first: Row of one image.
        second: Row of the other image.
        probability: Probability that they show one object.
        gain: Expected gain of the answer, in images.
        part: Rows of the images that leave the group of ``second`` if the answer is "different", ``first`` among them;
            empty: the images are in two groups, or one of them is in none.
    """

    first: int
    second: int
    probability: float
    gain: float
    part: tuple[int, ...] = ()
