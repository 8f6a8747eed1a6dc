"""The view of a run's target that its labeller may see: cameras, known pairs and tracks of the training images."""

from __future__ import annotations

from spcl.config import Recipe
from spcl.data.combined_sources import sources_of
from spcl.pairs.pair_sources import PairOptions, PairSources, pair_sources
from spcl.records import ReIDDataset, cameras_of, tracks_of
from spcl.reporting.console import Reporter, say_pairs
from spcl.training.parts import TargetView


def target_view(config: Recipe, target: ReIDDataset, report: Reporter, pairs: PairSources | None = None) -> TargetView:
    """Find the known pairs of the target's training images, and report how much of each source is used.

    Args:
        config: Settings of the run.
        target: The unlabelled domain, its training images those that are trained on.
        report: Receives the notes, and a warning for each contradiction.
        pairs: Sources of known pairs; None: those that the settings name.

    Raises:
        InputError: If a table of pairs cannot be read, or one that the settings name is about other images.
    """
    cameras = cameras_of(target.train)
    if not target.train:
        return TargetView(0, cameras)
    if pairs is None:
        options = PairOptions(config.data.pairs, tracks=not config.data.no_tracks)
        pairs = pair_sources(sources_of(config.data.target), options)
    known, contradictions = pairs.known(target.train)
    say_pairs(report, known.notes, contradictions)
    tracks = tracks_of(target.train)
    return TargetView(
        len(target.train),
        cameras,
        known if len(known) else None,
        tracks if pairs.tracks and (tracks >= 0).any() else None,
    )
