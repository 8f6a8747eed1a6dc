"""mAP of tracks by four ways to fuse their features, without and with wrong images in each track.

python benchmarks/track_fusion.py
python benchmarks/track_fusion.py --data ../shared/data/cattle --height 256 --width 128

A track is all images of an identity and a camera, of which ``--images`` are drawn; ``--wrong`` of them are replaced by
images of other identities. Each track is a query; the gallery is all tracks of other cameras. The encoder has
ImageNet weights. Without ``--data``: pedestrians of the rendered street.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from command import BenchmarkSettings, run
from numpy.typing import NDArray

from spcl.data.image_sources import images_of
from spcl.data.synthetic import SyntheticSpec, render_image
from spcl.inference.encoder import imagenet_encoder
from spcl.records import UNKNOWN, cameras_of, identities_of
from spcl.reporting.console import Reporter
from spcl.retrieval.ranking import rank_metrics
from spcl.retrieval.track_features import track_features

Rows = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Settings(BenchmarkSettings):
    data: str = ""
    """A labelled source with cameras; empty: the rendered street."""
    height: int = 128
    """Height of the encoder's images."""
    width: int = 64
    """Width of the encoder's images."""
    identities: int = 60
    """Identities of the street."""
    cameras: int = 3
    """Cameras of the street."""
    images: tuple[int, ...] = (3, 4, 8)
    """Images of a track."""
    wrong: tuple[int, ...] = (0, 1)
    """Wrong images of a track."""
    seeds: int = 3
    """Seeds of the draws."""


def unit(rows: Rows) -> Rows:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def plain_mean(rows: Rows) -> Rows:
    return unit(rows.mean(axis=0))


def geometric_median(rows: Rows) -> Rows:
    """The point with the least sum of distances, by Weiszfeld's iteration."""
    centre = rows.mean(axis=0)
    for _ in range(20):
        weights = 1 / np.maximum(np.linalg.norm(rows - centre, axis=1), 1e-3)
        centre = (weights[:, None] * rows).sum(axis=0) / weights.sum()
    return unit(centre)


def medoid(rows: Rows) -> Rows:
    return rows[int((rows @ rows.T).sum(axis=1).argmax())]


def ours(rows: Rows) -> Rows:
    return track_features(rows, np.zeros(len(rows), dtype=np.int64)).features[0]


WAYS: dict[str, Callable[[Rows], Rows]] = {
    "mean": plain_mean,
    "geometric median": geometric_median,
    "medoid": medoid,
    "weighted by agreement": ours,
}


def tracks_of(settings: Settings) -> dict[tuple[int, int], Rows]:
    """The features of each identity and camera."""
    encoder = imagenet_encoder(size=(settings.height, settings.width))
    if settings.data:
        found = images_of(settings.data, labelled=True)
        identities, cameras = identities_of(found.records), cameras_of(found.records)
        features = encoder.embed([record.path for record in found.records])
    else:
        spec = SyntheticSpec(images_per_camera=max(settings.images), height=settings.height, width=settings.width)
        shots = [
            (identity, camera, shot)
            for identity in range(settings.identities)
            for camera in range(settings.cameras)
            for shot in range(max(settings.images))
        ]
        features = encoder.embed([np.asarray(render_image(spec, *shot)) for shot in shots])
        identities, cameras = np.array(shots)[:, 0], np.array(shots)[:, 1]
    rows: dict[tuple[int, int], list[int]] = {}
    for row, key in enumerate(zip(identities.tolist(), cameras.tolist(), strict=True)):
        if UNKNOWN not in key:
            rows.setdefault(key, []).append(row)
    return {key: features[of_track] for key, of_track in rows.items() if len(of_track) >= max(settings.images)}


def mean_ap(
    tracks: dict[tuple[int, int], Rows], images: int, wrong: int, seed: int, fuse: Callable[[Rows], Rows]
) -> float:
    rng = np.random.default_rng(seed)
    keys = list(tracks)
    fused = []
    for key in keys:
        chosen = tracks[key][rng.permutation(len(tracks[key]))[:images]]
        for at in range(wrong):
            others = [other for other in keys if other[0] != key[0]]
            other = tracks[others[int(rng.integers(len(others)))]]
            chosen[at] = other[int(rng.integers(len(other)))]
        fused.append(fuse(chosen))
    rows = np.stack(fused)
    identities, cameras = np.array(keys)[:, 0], np.array(keys)[:, 1]
    return rank_metrics(1 - rows @ rows.T, identities, identities, cameras, cameras).mean_ap


def measure(settings: Settings, report: Reporter) -> dict[str, dict[str, float]]:
    tracks = tracks_of(settings)
    figures = {}
    for images in settings.images:
        for wrong in settings.wrong:
            figures[f"{images} images, {wrong} wrong"] = {
                name: round(
                    100 * float(np.mean([mean_ap(tracks, images, wrong, seed, way) for seed in range(settings.seeds)])),
                    1,
                )
                for name, way in WAYS.items()
            }
    return {"tracks": {"number": len(tracks)}, **figures}


def main(arguments: Sequence[str] | None = None) -> None:
    run(Settings, measure, arguments)


if __name__ == "__main__":
    main()
