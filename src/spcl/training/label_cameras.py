"""How labels use the cameras of the target: which features and which neighbours they are made from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

from spcl.retrieval.camera_centring import camera_centred
from spcl.retrieval.camera_neighbours import balanced_neighbours

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from spcl.training.parts import BuildContext, TargetView

_WIDER_FOR_CAMERAS = 4
"""Times the neighbours that are used are searched where they are balanced over cameras."""
_LINKS_IN_CAMERA = 2
"""Links to the own camera, the image itself included, where features are centred."""


def knows_cameras(target: TargetView) -> bool:
    """Whether at least two cameras of the target are known."""
    return len({*target.cameras.tolist()} - {-1}) > 1


def note_unknown_cameras(use: str, context: BuildContext) -> None:
    """Report that cameras change nothing, where a labeller is to use them and fewer than two are known.

    Args:
        use: Value of the setting ``cameras``.
        context: The context that the labeller is built from.
    """
    if use != "ignore" and context.target.num_images and not knows_cameras(context.target):
        context.report.say(
            f'labels: fewer than two cameras are known, so that cameras = "{use}" changes nothing. A table with a '
            "column camera, or file names such as 0007_c3_001.jpg, give them"
        )


class CameraView(NamedTuple):
    """One way to use the cameras.

    Attributes:
        use: ignore, balance or centre.
        features: ``[N, D]`` features that are labelled.
        neighbours: ``[N, W]`` int64 neighbours of the features, nearest first.
        cameras: ``[N]`` int64, the camera of each image.
    """

    use: str
    features: Tensor
    neighbours: NDArray[np.int64]
    cameras: NDArray[np.int64]

    def rated(self) -> Tensor:
        """Give the ``[N, D]`` features by which clusters are rated; of balanced cameras without the camera's mean."""
        return camera_centred(self.features, self.cameras) if self.use == "balance" else self.features

    def near(self, k: int, same_share: float) -> NDArray[np.int64]:
        """Give the ``k`` neighbours of each image that distances are made from.

        Args:
            k: Number of neighbours, the image itself included.
            same_share: Share of them from the image's own camera, where neighbours are balanced.
        """
        if self.use != "balance":
            return self.neighbours[:, :k]
        return balanced_neighbours(self.neighbours, self.cameras, k=k, num_same=max(1, round(same_share * k)))

    def links(self, k: int, same_share: float) -> NDArray[np.int64]:
        """Give the ``k`` neighbours of each image that should be in its cluster; arguments as of ``near``."""
        if self.use != "centre":
            return self.near(k, same_share)
        return balanced_neighbours(self.neighbours, self.cameras, k=k, num_same=_LINKS_IN_CAMERA)


def camera_views(
    use: Literal["ignore", "balance", "centre", "auto"],
    features: Tensor,
    target: TargetView,
    search: Callable[[Tensor, int], NDArray[np.int64]],
    k: int,
) -> list[CameraView]:
    """Give the uses of the cameras that are tried.

    Args:
        use: Value of the setting ``cameras``.
        features: ``[N, D]`` unit rows.
        target: The target, of which fewer than two known cameras are ignored.
        search: Gives the neighbours ``[N, k]`` of features, from (features, k); called once for each use.
        k: Largest number of neighbours that are used.

    Returns:
        One view; with ``auto`` the features as they are, then centred ones.
    """
    known = use if knows_cameras(target) else "ignore"
    wide = k if known == "ignore" else min(len(features), k * _WIDER_FOR_CAMERAS)
    views = []
    for tried in ("ignore", "centre") if known == "auto" else (known,):
        rows = camera_centred(features, target.cameras) if tried == "centre" else features
        views.append(CameraView(tried, rows, search(rows, wide), target.cameras))
    return views
