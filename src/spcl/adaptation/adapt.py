"""Adapt an encoder to a user's own crops without labels, and keep the old one where the new is worse.

The run is an ordinary one that starts from the checkpoint (``starting_point.py``, ``assemble.py``): no second loop.
Beside it, some crops are held back from training, and both encoders are rated on them by figures that need no labels
(``grouping/label_free_quality.py``), by which one of the two is kept (``adaptation/verdict.py``).
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spcl.adaptation.settings import AdaptationSettings
from spcl.adaptation.verdict import AdaptationVerdict, judge
from spcl.atomic_files import written_aside
from spcl.config import Recipe, to_values
from spcl.data.altered_images import AlteredImageStore
from spcl.data.catalogue import load_dataset
from spcl.data.folder_dataset import split_for_evaluation
from spcl.data.image_decoding import check_images
from spcl.data.image_sources import images_of
from spcl.data.image_store import ImageStore
from spcl.errors import InputError
from spcl.grouping.label_free_quality import LabelFreeQuality, label_free_quality
from spcl.grouping.suggestion import PAPER_EPS
from spcl.inference.checkpoint import checkpoint_of, load_facts, save_atomically
from spcl.inference.embedding import Encoder
from spcl.inference.evaluation import evaluate_encoder
from spcl.inference.extraction import extract_features
from spcl.inference.query_checks import can_evaluate, check_queries
from spcl.nn.encoder_network import EncoderNetwork
from spcl.randomness import generator
from spcl.records import Record, ReIDDataset, cameras_of
from spcl.reporting.console import Reporter, ReporterListener, SilentReporter, duration
from spcl.reporting.events import Emitter, Event, Warned
from spcl.runtime import Runtime
from spcl.training.self_paced_labels import SelfPacedLabelSettings
from spcl.training_run.assemble import Run, prepare, run_training
from spcl.training_run.run_files import stops_in_order
from spcl.training_run.starting_point import find_start
from spcl.training_run.training_sets import make_store

ADAPTED_FILE, REPORT_FILE = "adapted.pth.tar", "adaptation.json"

LEAST_IMAGES = 16
"""Smallest number of crops to adapt on: four objects of four images."""

HELD_BACK_SHARE = 0.25
HELD_BACK_FROM = 400
"""Crops from which some are held back; with fewer, a quarter would be too few to rate on, and all are trained on."""
MOST_HELD_BACK = 5_000
"""Largest number of crops to rate on: rating takes seconds, and a share of them is precise to a percentage point."""

_ENCODER_FACTS = ("version", "encoder", "mean", "std")
"""What ``checkpoint_of`` writes itself."""


@dataclass(frozen=True)
class Adaptation:
    """The result of an adaptation.

    Attributes:
        path: Checkpoint of the encoder that was kept, with one domain; ``load_encoder`` reads it.
        verdict: Which of the two encoders was kept, and why.
        before: Figures of the old encoder on the held-back crops.
        after: Figures of the new encoder on the same crops.
        evaluation: mAP and top-1/5/10 of both encoders on the labelled data, as fractions; None without labelled data.
        num_trained: Crops that were trained on.
        num_rated: Crops that both encoders were rated on.
        num_clusters: Number of clusters in the last epoch.
        held_back: Whether the crops that were rated on were held back from training.
        broken: Path and reason of each crop that could not be read.
        seconds: Duration of the whole adaptation.
        settings: The settings of the adaptation.
        notes: Remarks about the source of the crops, in sentences.
        warnings: Warnings of the run, in sentences; of a resumed run, those since it was resumed.
    """

    path: Path
    verdict: AdaptationVerdict
    before: LabelFreeQuality
    after: LabelFreeQuality
    evaluation: dict[str, Any] | None
    num_trained: int
    num_rated: int
    num_clusters: int
    held_back: bool
    broken: tuple[tuple[Path, str], ...]
    seconds: float
    settings: AdaptationSettings
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Give the result as plain values, for a JSON file."""
        plain = asdict(self) | {"path": str(self.path), "verdict": self.verdict.to_dict()}
        broken = [[str(path), reason] for path, reason in self.broken]
        return plain | {"broken": broken, "notes": list(self.notes), "warnings": list(self.warnings)}


def adapt(
    checkpoint: str | Path,
    images: str | Path | Sequence[str | Path],
    settings: AdaptationSettings | None = None,
    *,
    resume: bool = False,
    report: Reporter | None = None,
) -> Adaptation:
    """Train a checkpoint's encoder on unlabelled crops, and keep the better of the two.

    Args:
        checkpoint: A checkpoint of spcl or of the official scripts; the file is not changed.
        images: A folder, a table, or a sequence of paths; identities are not read.
        settings: The settings of the adaptation; None: the defaults.
        resume: Continue the run in the log folder, with the same settings.
        report: Receives progress and warnings; None: nothing is shown.

    Returns:
        Adaptation: the verdict and both encoders' figures; the encoder that was kept is stored at its ``path``.

    Raises:
        InputError: If the checkpoint, the crops or the labelled data cannot be used; before any training.
    """
    settings, heard = settings or AdaptationSettings(), _WarningsHeard()
    report = report or SilentReporter()
    # The typed events of the run reach the listeners of an ``Emitter``.
    report = Emitter((*(report.listeners if isinstance(report, Emitter) else (ReporterListener(report),)), heard))
    runtime = Runtime(settings.device, settings.precision)
    # The network's random numbers have a separate seed: the caller's random numbers do not depend on the adaptation.
    with runtime.own_draws(), stops_in_order(Path(settings.logs_dir), report):
        return _adapt(checkpoint, images, settings, resume, report, heard, runtime)


class _WarningsHeard:
    """A listener that keeps the warnings of a run for its result."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def on(self, event: Event) -> None:
        """Keep a warning."""
        if isinstance(event, Warned):
            self.texts.append(event.text)


def _adapt(
    checkpoint: str | Path,
    images: str | Path | Sequence[str | Path],
    settings: AdaptationSettings,
    resume: bool,
    report: Reporter,
    heard: _WarningsHeard,
    runtime: Runtime,
) -> Adaptation:
    started = time.monotonic()
    config, labelled, crops = runtime.together(lambda: _inputs(Path(checkpoint), images, settings, report))
    target = ReIDDataset(config.data.target, train=crops.trained, protocol="no-camera")
    run = prepare(config, report, resume=resume, target=target, runtime=runtime)
    report.say(crops.words())
    rating = _Rating(run, crops.rated, labelled, report)
    old = _old_network(run)
    before, measured_before = rating.of(old, "before")
    report.say(f"training takes about {duration(rating.seconds_of_training())}")
    run_training(run, report)
    after, measured_after = rating.of(run.encoder, "after")
    outcome = Adaptation(
        path=run.folder / ADAPTED_FILE,
        verdict=judge(before, after),
        before=before,
        after=after,
        evaluation=None if measured_before is None else {"before": measured_before, "after": measured_after},
        num_trained=len(crops.trained),
        num_rated=len(crops.rated),
        num_clusters=run.state.history[-1].num_clusters,
        held_back=crops.are_held_back,
        broken=crops.broken,
        seconds=time.monotonic() - started,
        settings=settings,
        notes=crops.notes,
        warnings=tuple(heard.texts),
    )
    runtime.on_main(lambda: _write(outcome, run, old))
    return outcome


@dataclass(frozen=True)
class _Crops:
    """The crops that can be read, without identities: those to train on, those to rate on; and those that cannot."""

    trained: tuple[Record, ...]
    rated: tuple[Record, ...]
    broken: tuple[tuple[Path, str], ...]
    notes: tuple[str, ...]

    @property
    def are_held_back(self) -> bool:
        return self.rated != self.trained

    def words(self) -> str:
        others = f"{len(self.rated)} others, held back" if self.are_held_back else "the same ones: too few to hold back"
        return f"{len(self.trained)} crops are trained on; both encoders are rated on {others}"


def held_back(num_images: int, seed: int) -> NDArray[np.int64]:
    """Choose the crops that both encoders are rated on.

    Args:
        num_images: Number of crops.
        seed: Seed of the random choice.

    Returns:
        Ascending row numbers: a quarter of the crops (at most ``MOST_HELD_BACK``), which are then not trained on; all
        of them where there are fewer than ``HELD_BACK_FROM``.
    """
    if num_images < HELD_BACK_FROM:
        return np.arange(num_images)
    count = min(MOST_HELD_BACK, round(HELD_BACK_SHARE * num_images))
    rows = generator(seed, "crops held back from an adaptation").choice(num_images, size=count, replace=False)
    return np.sort(rows).astype(np.int64)


class _Rating:
    """Rates encoders on the same crops by figures without labels, and on labelled data where it is given."""

    def __init__(self, run: Run, crops: tuple[Record, ...], labelled: ReIDDataset | None, report: Reporter) -> None:
        self._run, self._crops, self._labelled, self._report = run, crops, labelled, report
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
        labels, runtime = _labels(self._run), self._run.runtime
        encoder = Encoder(network, "target").to(runtime.device)
        started = time.monotonic()
        features = []
        for store, what in zip(self._stores, ("crops", "altered crops"), strict=True):
            with self._report.progress(f"rating {when}: {what}") as advance:
                features.append(
                    extract_features(
                        encoder.network, store, runtime, batch_size=encoder.batch_size(), progress=advance
                    ).numpy()
                )
        self._seconds_of_an_image = (time.monotonic() - started) / (2 * len(self._crops))
        # One process rates and sends the figures to the others: the verdict must be the same in all.
        quality = runtime.on_main(
            lambda: label_free_quality(
                features[0],
                cameras_of(self._crops),
                features[1],
                k1=labels.k1,
                k2=labels.k2,
                eps=PAPER_EPS if labels.eps == "auto" else labels.eps,
                eps_gap=labels.eps_gap,
                min_samples=labels.min_samples,
            )
        )
        if self._labelled is None:
            return quality, None
        found = evaluate_encoder(
            encoder.network,
            self._labelled,
            lambda records: make_store(self._run.config, records),
            runtime,
            self._report,
        )
        return quality, found.to_row()

    def seconds_of_training(self) -> float:
        """Estimate the seconds of the remaining steps: a step costs about three forward passes over its images."""
        schedule, state = self._run.config.schedule, self._run.state
        steps = max(0, (schedule.epochs - state.epoch) * schedule.iters - state.iteration)
        first_pass = 0 if self._run.resumed else len(self._run.target.train)
        return self._seconds_of_an_image * (3 * steps * schedule.batch_size + first_pass)


def _labels(run: Run) -> SelfPacedLabelSettings:
    """Give the settings of the labeller, which an adaptation does not replace."""
    if not isinstance(run.config.labels, SelfPacedLabelSettings):
        raise TypeError(f"an adaptation labels by itself, not by {type(run.config.labels).__name__}")
    return run.config.labels


def _old_network(run: Run) -> EncoderNetwork:
    """Build the checkpoint's encoder as a network of one domain: the starting point, also of a resumed run."""
    config = run.config
    # Building a network draws random weights: the generator is restored, so that the run is not changed by it.
    with torch.random.fork_rng(devices=[]):
        start = find_start(
            run.runtime,
            arch=config.network.arch,
            size=(config.data.height, config.data.width),
            pretrained=config.network.pretrained,
            checkpoint=config.network.from_checkpoint,
            domain=config.network.from_domain,
        )
        return start.encoder(run.encoder.settings).eval()


def _write(outcome: Adaptation, run: Run, old: EncoderNetwork) -> None:
    """Write the better encoder and the report, each to a temporary file that is then renamed."""
    plain = outcome.to_dict()
    facts = {"config": to_values(run.config), "adaptation": plain}
    if not outcome.verdict.keeps_new:
        # The other facts of the old checkpoint, such as its calibration, are kept: they describe these weights.
        kept = load_facts(Path(run.config.network.from_checkpoint))
        facts = {name: fact for name, fact in kept.items() if name not in _ENCODER_FACTS} | {"adaptation": plain}
    network = run.encoder if outcome.verdict.keeps_new else old
    epoch = run.state.epoch if outcome.verdict.keeps_new else 0
    save_atomically(checkpoint_of(network, epoch=epoch, best_mean_ap=None, facts=facts), outcome.path)
    with written_aside(run.folder / REPORT_FILE, next_step="free some space, then use --resume") as aside:
        aside.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


def _name_of(images: str | Path | Sequence[str | Path]) -> str:
    return str(images) if isinstance(images, str | Path) else f"{len(images)} files"


def _inputs(
    checkpoint: Path, images: str | Path | Sequence[str | Path], settings: AdaptationSettings, report: Reporter
) -> tuple[Recipe, ReIDDataset | None, _Crops]:
    config = settings.to_config(checkpoint, _name_of(images))
    labelled = _labelled(settings) if settings.evaluate else None
    return config, labelled, _find_crops(images, settings, report)


def _labelled(settings: AdaptationSettings) -> ReIDDataset:
    """Read and check the labelled data before anything is computed."""
    dataset = load_dataset(settings.evaluate, labelled=True, options=settings.source())
    if not can_evaluate(dataset):
        dataset = split_for_evaluation(dataset)
    check_queries(dataset, dataset.protocol)
    return dataset


def _find_crops(images: str | Path | Sequence[str | Path], settings: AdaptationSettings, report: Reporter) -> _Crops:
    table = images_of(images, settings.source())
    found = table.records
    for note in table.notes:
        report.say(f"note: {note}")
    with report.progress("checking the crops") as advance:
        broken = tuple(check_images(found, sample=None, num_threads=settings.workers, progress=advance))
    unreadable = {path for path, _ in broken}
    crops = tuple(record for record in found if record.path not in unreadable)
    if broken:
        listed = "; ".join(f"{path}: {reason}" for path, reason in broken[:5])
        report.warn(f"{len(broken)} crop(s) cannot be read and are left out: {listed}{' ...' if broken[5:] else ''}")
    if len(crops) < LEAST_IMAGES:
        raise InputError(
            f"{len(crops)} crops in {_name_of(images)} are too few to learn from; at least {LEAST_IMAGES} are needed, "
            "and some hundred are better: a few images each of many objects, by all cameras"
        )
    rows = held_back(len(crops), settings.seed)
    rated = set(rows.tolist()) if len(rows) < len(crops) else set()
    trained = tuple(record for row, record in enumerate(crops) if row not in rated)
    return _Crops(trained, tuple(crops[row] for row in rows), broken, table.notes)
