"""Adapt an encoder to a user's own crops without labels, and keep the old one where the new one is worse.

The run is an ordinary one that starts from the checkpoint (``training_run/``): there is no second loop. Some crops are
held back from training (``crops.py``), both encoders are rated on them by figures that need no labels (``rating.py``),
and these figures decide which of the two is kept (``verdict.py``).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spcl.adaptation.crops import Crops, find_crops, name_of
from spcl.adaptation.rating import Rating, old_network
from spcl.adaptation.result import ADAPTED_FILE, Adaptation, write_result
from spcl.adaptation.run_recipe import ChosenRecipe, chosen_recipe, run_recipe
from spcl.adaptation.settings import AdaptationSettings
from spcl.adaptation.verdict import judge
from spcl.config import Recipe
from spcl.data.catalogue import load_dataset
from spcl.data.folder_dataset import split_for_evaluation
from spcl.inference.query_checks import can_evaluate, check_queries
from spcl.pairs.pair_sources import PairOptions, pair_sources
from spcl.records import ReIDDataset
from spcl.reporting.console import Reporter, ReporterListener, duration
from spcl.reporting.events import Emitter, Event, Warned
from spcl.reporting.quiet_reporters import LoggingReporter
from spcl.runtime import Runtime
from spcl.training_run.assemble import prepare
from spcl.training_run.run_epochs import run_training
from spcl.training_run.run_files import stops_in_order
from spcl.training_run.session import Session


@dataclass(frozen=True)
class AdaptationRequest:
    """What to adapt, to which images, and how.

    Attributes:
        checkpoint: A checkpoint of spcl or of the official scripts; the file is not changed.
        images: A folder, a table, or a sequence of paths; identities are not read.
        settings: The settings of the adaptation.
        resume: Whether to continue the run in the log folder, with the same settings.
    """

    checkpoint: str | Path
    images: str | Path | Sequence[str | Path]
    settings: AdaptationSettings = field(default_factory=AdaptationSettings)
    resume: bool = False


def adapt(
    checkpoint: str | Path,
    images: str | Path | Sequence[str | Path],
    settings: AdaptationSettings | None = None,
    *,
    resume: bool = False,
    report: Reporter | None = None,
) -> Adaptation:
    """Train a checkpoint's encoder on unlabelled crops, and keep the better of the two: ``adapt_encoder`` by arguments.

    Args:
        checkpoint: A checkpoint of spcl or of the official scripts; the file is not changed.
        images: A folder, a table, or a sequence of paths; identities are not read.
        settings: The settings of the adaptation; None: the defaults.
        resume: Whether to continue the run in the log folder, with the same settings.
        report: Receives progress and warnings; None: nothing is shown.

    Returns:
        Adaptation: the verdict and both encoders' figures; the encoder that was kept is stored at its ``path``.

    Raises:
        InputError: If the checkpoint, the crops or the labelled data cannot be used, or a setting was given that the
            recipe does not have; before any training.
    """
    return adapt_encoder(AdaptationRequest(checkpoint, images, settings or AdaptationSettings(), resume), report=report)


def adapt_encoder(request: AdaptationRequest, *, report: Reporter | None = None) -> Adaptation:
    """Train a checkpoint's encoder on unlabelled crops, and keep the better of the two.

    Args:
        request: The checkpoint, the crops and the settings.
        report: Receives progress and warnings; an ``Emitter`` passes the events of the run on to its listeners; None:
            nothing is shown.

    Returns:
        Adaptation: the verdict and both encoders' figures; the encoder that was kept is stored at its ``path``.

    Raises:
        InputError: If the checkpoint, the crops or the labelled data cannot be used, or a setting was given that the
            recipe does not have; before any training.

    Example::

        outcome = spcl.adapt_encoder(spcl.AdaptationRequest("model_best.pth.tar", "crops"))
        print(outcome.verdict.words, outcome.path)
    """
    settings, heard, report = request.settings, _WarningsHeard(), report or LoggingReporter()
    # The typed events of the run reach the listeners of an ``Emitter``.
    emitter = Emitter((*(report.listeners if isinstance(report, Emitter) else (ReporterListener(report),)), heard))
    session = Session(Runtime(settings.device, settings.precision), emitter)
    # The network's random numbers have a separate seed: the caller's random numbers do not depend on the adaptation.
    with session.runtime.own_draws(), stops_in_order(Path(settings.logs_dir), emitter):
        return _adapted(request, session, heard)


class _WarningsHeard:
    """A listener that keeps the warnings of a run for its result."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def on(self, event: Event) -> None:
        """Keep a warning."""
        if isinstance(event, Warned):
            self.texts.append(event.text)


def _adapted(request: AdaptationRequest, session: Session, heard: _WarningsHeard) -> Adaptation:
    """Rate the old encoder, train, rate the new one, judge, and write the better one."""
    started, runtime, report = time.monotonic(), session.runtime, session.report
    chosen = runtime.together(lambda: chosen_recipe(request.settings, resume=request.resume))
    for note in chosen.notes:
        report.say(note)
    config, labelled, crops = runtime.together(lambda: _inputs(request, chosen, report))
    target = ReIDDataset(config.data.target, train=crops.trained, protocol="no-camera")
    options = PairOptions(request.settings.pairs, tracks=not request.settings.no_tracks)
    pairs = runtime.together(lambda: pair_sources(request.images, options))
    run = prepare(config, session, resume=request.resume, target=target, pairs=pairs)
    report.say(crops.words())
    rating = Rating(run, crops.rated, labelled)
    old = old_network(run)
    before, measured_before = rating.of(old, "before")
    report.say(f"training takes about {duration(rating.seconds_of_training())}")
    run_training(run)
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
        settings=request.settings,
        recipe=chosen.name,
        notes=crops.notes,
        warnings=tuple(heard.texts),
    )
    runtime.on_main(lambda: write_result(outcome, run, old))
    return outcome


def _inputs(
    request: AdaptationRequest, chosen: ChosenRecipe, report: Reporter
) -> tuple[Recipe, ReIDDataset | None, Crops]:
    """Read and check the checkpoint's settings, the labelled data and the crops."""
    settings = request.settings
    config = run_recipe(settings, chosen, Path(request.checkpoint), name_of(request.images))
    labelled = _labelled(settings) if settings.evaluate else None
    return config, labelled, find_crops(request.images, settings, report)


def _labelled(settings: AdaptationSettings) -> ReIDDataset:
    """Read and check the labelled data before anything is computed."""
    dataset = load_dataset(settings.evaluate, labelled=True, options=settings.source())
    if not can_evaluate(dataset):
        dataset = split_for_evaluation(dataset)
    check_queries(dataset, dataset.protocol)
    return dataset
