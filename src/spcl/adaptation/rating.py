"""Rates the old and the new encoder of an adaptation on the same images."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spcl.adaptation.run_recipe import LABELS_OF_CROPS
from spcl.config import Recipe
from spcl.data.altered_images import AlteredImageStore
from spcl.data.image_store import ImageStore
from spcl.grouping.eps_choice import PAPER_EPS
from spcl.grouping.label_free_quality import ClusteringSettings, LabelFreeQuality, label_free_quality
from spcl.inference.embedding import Encoder
from spcl.inference.evaluation import evaluate_encoder
from spcl.inference.extraction import extract_features
from spcl.nn.encoder_network import EncoderNetwork
from spcl.records import Record, ReIDDataset, cameras_of
from spcl.training.memory_rows import MemoryRowsSettings
from spcl.training.self_paced_labels import SelfPacedLabelSettings
from spcl.training_run.assemble import Run
from spcl.training_run.starting_point import start_of
from spcl.training_run.training_sets import make_store


class Rating:
    """Rates encoders on the same crops by figures without labels, and on labelled data where it is given."""

    def __init__(self, run: Run, crops: tuple[Record, ...], labelled: ReIDDataset | None) -> None:
        self._run, self._crops, self._labelled = run, crops, labelled
        config = run.config.data
        # Both sets are read twice, before and after: images that fit are kept in memory.
        self._stores = [
            kind(
                crops,
                size=(config.height, config.width),
                memory=int(config.image_memory * 2**30),
                num_threads=config.workers,
            )
            for kind in (ImageStore, AlteredImageStore)
        ]
        self._seconds_of_an_image = 0.0

    def of(self, network: EncoderNetwork, when: str) -> tuple[LabelFreeQuality, dict[str, Any] | None]:
        """Measure the label-free figures of an encoder, and its accuracy on the labelled data."""
        runtime = self._run.runtime
        encoder = Encoder(network, "target").to(runtime.device)
        features = self._features(encoder, when)
        # One process rates and sends the figures to the others: the verdict must be the same in all.
        clustering = _clustering(self._run.config)
        quality = runtime.on_main(
            lambda: label_free_quality(features[0], cameras_of(self._crops), features[1], clustering=clustering)
        )
        if self._labelled is None:
            return quality, None
        found = evaluate_encoder(
            encoder.network,
            self._labelled,
            lambda records: make_store(self._run.config, records),
            runtime,
            self._run.session.report,
        )
        return quality, found.to_row()

    def _features(self, encoder: Encoder, when: str) -> list[NDArray[np.float32]]:
        """Encode the crops and their altered copies; the duration gives the estimate of the training's duration."""
        started = time.monotonic()
        features = []
        for store, what in zip(self._stores, ("crops", "altered crops"), strict=True):
            with self._run.session.report.progress(f"rating {when}: {what}") as advance:
                rows = extract_features(
                    encoder.network, store, self._run.runtime, batch_size=encoder.batch_size(), progress=advance
                )
                features.append(rows.numpy())
        self._seconds_of_an_image = (time.monotonic() - started) / (2 * len(self._crops))
        return features

    def seconds_of_training(self) -> float:
        """Estimate the seconds of the remaining steps: a step costs about three forward passes over its images."""
        schedule, state = self._run.config.schedule, self._run.state
        steps = max(0, (schedule.epochs - state.epoch) * schedule.iters - state.iteration)
        passes = 0 if self._run.resumed else 1
        if not isinstance(self._run.config.label_features, MemoryRowsSettings):
            # Labels are of features that are extracted in each epoch.
            passes = max(0, schedule.epochs - state.epoch)
        return self._seconds_of_an_image * (3 * steps * schedule.batch_size + passes * len(self._run.target.train))


def _clustering(config: Recipe) -> ClusteringSettings:
    """Give the settings of the clusters that are counted: those of the paper's labels.

    With labels of another kind they are fixed, so that the figures of both encoders, and of two recipes, are of the
    same clustering. The verdict uses no figure of clusters.
    """
    labels = config.labels
    if not isinstance(labels, SelfPacedLabelSettings):
        return ClusteringSettings(**LABELS_OF_CROPS)
    eps = PAPER_EPS if labels.eps == "auto" else labels.eps
    return ClusteringSettings(labels.k1, labels.k2, eps, labels.eps_gap, labels.min_samples)


def old_network(run: Run) -> EncoderNetwork:
    """Build the checkpoint's encoder as a network of one domain: the starting point, also of a resumed run."""
    # Building a network draws random weights: the generator is restored, so that the run is not changed by it.
    with torch.random.fork_rng(devices=[]):
        return start_of(run.config, run.runtime).encoder(run.encoder.settings).eval()
