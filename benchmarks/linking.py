"""IDF1 and association accuracy of ``spcl link`` on rendered footage of several cameras, against a plain threshold.

python benchmarks/linking.py --seed 0

The footage (``linking_footage.py``) is cut by ``spcl crops``. ``spcl link`` chooses its threshold without labels; the
plain threshold, which joins every pair of tracks at or above it, is the one of a grid that is best by the truth.
Identities count over all cameras: a pedestrian that has two identities in two cameras is found in one of them only. The
boxes are those of the truth, so that the association accuracy (AssA of HOTA) is the same at every overlap.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import motmetrics
import numpy as np
from command import BenchmarkSettings, run
from linking_footage import Visit, World, rows_of, travel_seconds, visits_of, write_footage
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from spcl.data.image_sources import images_of
from spcl.footage.cut_crops import CropsRequest, cut_crops
from spcl.footage.track_boxes import TrackFileOptions
from spcl.footage.track_files import read_tracks
from spcl.inference.encode_options import EncodeOptions, EncoderChoice
from spcl.inference.encoder import imagenet_encoder, load_encoder
from spcl.linking.link_table import tracks_in
from spcl.linking.link_tracks import LinkRequest, link_tracks
from spcl.linking.track_similarity import track_similarity
from spcl.records import tracks_of
from spcl.reporting.console import Reporter
from spcl.retrieval.track_features import track_features

Keys = dict[tuple[int, int], int]
"""Identity of each track, by camera and track."""


@dataclass(frozen=True, kw_only=True)
class Settings(BenchmarkSettings):
    people: int = 24
    """Pedestrians."""
    cameras: int = 4
    """Cameras."""
    seed: int = 0
    """Seed of the footage."""
    checkpoint: str = ""
    """The encoder; empty: ImageNet weights."""
    folder: str = ""
    """Folder in which the footage is kept, and found again; empty: a temporary one."""


def footage(folder: Path, world: World) -> list[Visit]:
    """The tracks; videos and crops are made where the folder has none."""
    if (folder / "crops/crops.csv").is_file():
        return visits_of(world)
    visits = write_footage(folder, world)
    for camera in range(world.cameras):
        name = f"c{camera}"
        request = CropsRequest(folder / f"{name}.mp4", folder / f"{name}.txt", folder / "crops", start="2026-03-01")
        cut_crops(request)
    return visits


def write_travel(path: Path, world: World) -> Path:
    """The usual times, a third less and almost a half more."""
    times = travel_seconds(world)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["camera_a", "camera_b", "min_seconds", "max_seconds"])
        for first in range(world.cameras):
            for second in range(first + 1, world.cameras):
                usual = float(times[first, second])
                writer.writerow([f"c{first}", f"c{second}", round(0.7 * usual, 1), round(1.4 * usual, 1)])
    return path


def figures(found: Keys, visits: Sequence[Visit], world: World) -> dict[str, float]:
    """IDF1, association accuracy and number of identities, percent."""
    accumulator = motmetrics.MOTAccumulator()
    truth, given = [], []
    at = 0
    for camera in range(world.cameras):
        person = {visit.track: visit.person for visit in visits if visit.camera == camera}
        by_frame: dict[int, list[int]] = {}
        for frame, track, *_ in rows_of(list(visits), world, camera):
            by_frame.setdefault(frame, []).append(track)
        for frame, tracks in sorted(by_frame.items()):
            true = [person[track] for track in tracks]
            linked = [found[camera, track] for track in tracks]
            distances = np.full((len(tracks),) * 2, np.nan)
            np.fill_diagonal(distances, 0)
            accumulator.update(true, linked, distances, frameid=at + frame)
            truth += true
            given += linked
        at += max(by_frame) + 1
    summary = motmetrics.metrics.create().compute(accumulator, metrics=["idf1"])
    return {
        "IDF1": round(100 * float(summary["idf1"].iloc[0]), 1),
        "AssA": round(100 * association_accuracy(np.array(truth), np.array(given)), 1),
        "identities": len(set(given)),
    }


def association_accuracy(truth: NDArray[np.int64], given: NDArray[np.int64]) -> float:
    """AssA of HOTA for boxes that are all found: mean of |both| / |either|, of a box's true and given identity."""
    total = 0.0
    for one, other in sorted(set(zip(truth.tolist(), given.tolist(), strict=True))):
        both = int(((truth == one) & (given == other)).sum())
        either = int(((truth == one) | (given == other)).sum())
        total += both * both / either
    return total / len(truth)


def linked(folder: Path, settings: Settings, world: World, travel: Path | None) -> Keys:
    """The identities that the text of MOTChallenge gives."""
    cameras = [f"c{camera}" for camera in range(world.cameras)]
    result = link_tracks(
        LinkRequest(
            folder / "crops/crops.csv",
            folder / ("links" if travel is None else "links-travel"),
            travel=travel or "",
            boxes={name: folder / f"{name}.txt" for name in cameras},
            overwrite=True,
            encoding=EncodeOptions(encoder=EncoderChoice(checkpoint=settings.checkpoint)),
        )
    )
    identities: Keys = {}
    for camera, name in enumerate(cameras):
        before = read_tracks(folder / f"{name}.txt", TrackFileOptions())
        after = read_tracks(result.folder / f"mot/{name}.txt", TrackFileOptions())
        rows = {(int(f), *b): t for f, b, t in zip(after.frames, after.boxes.tolist(), after.tracks, strict=True)}
        for frame, box, track in zip(before.frames, before.boxes.tolist(), before.tracks, strict=True):
            identities[camera, int(track)] = int(rows[(int(frame), *box)])
    return identities


def plain_thresholds(folder: Path, settings: Settings, visits: Sequence[Visit], world: World) -> dict[str, Any]:
    """The best plain threshold by the truth, for features as they are and without the mean of their camera."""
    images = images_of(folder / "crops/crops.csv")
    tracks = tracks_in(images)
    from spcl.data.crop_shapes import crop_shape

    size = crop_shape(images.records).size
    encoder = load_encoder(settings.checkpoint) if settings.checkpoint else imagenet_encoder(size=size)
    features = encoder.embed([record.path for record in images.records])
    fused = track_features(features, tracks_of(images.records)).features
    keys = [(int(str(track.camera)[1:]), int(track.track)) for track in tracks]
    best: dict[str, Any] = {}
    for name, similarity in (("plain", fused @ fused.T), ("centred", track_similarity(features, images, tracks))):
        pairs = similarity[np.triu_indices(len(keys), 1)]
        rated = []
        for threshold in np.quantile(pairs, np.linspace(0.9, 0.999, 30)):
            groups = connected_components(similarity >= threshold)[1]
            rated.append(figures(dict(zip(keys, groups.tolist(), strict=True)), visits, world))
        best[name] = max(rated, key=lambda one: one["IDF1"])
    return best


def measure(settings: Settings, report: Reporter) -> dict[str, Any]:
    world = World(people=settings.people, cameras=settings.cameras, seed=settings.seed)
    with tempfile.TemporaryDirectory() if not settings.folder else nullcontext(settings.folder) as place:
        folder = Path(place)
        visits = footage(folder, world)
        best = plain_thresholds(folder, settings, visits, world)
        travel = write_travel(folder / "travel.csv", world)
        return {
            "footage": {"pedestrians": world.people, "cameras": world.cameras, "tracks": len(visits)},
            "every track alone": figures(
                {(visit.camera, visit.track): row for row, visit in enumerate(visits)}, visits, world
            ),
            "plain threshold, best by the truth": best["plain"],
            "the same without the mean of the camera": best["centred"],
            "spcl link": figures(linked(folder, settings, world, None), visits, world),
            "spcl link --travel": figures(linked(folder, settings, world, travel), visits, world),
        }


def main(arguments: Sequence[str] | None = None) -> None:
    run(Settings, measure, arguments)


if __name__ == "__main__":
    main()
