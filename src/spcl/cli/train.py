"""``spcl train``: from settings to a trained encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from spcl.cli.options import ComputingOptions, parsed
from spcl.config import Config, load_config, load_recipe, overlay
from spcl.data.checked_tables import check_tables
from spcl.data.several_sources import sources_of
from spcl.data.table_options import TableOptions
from spcl.engine.journal import ConsoleReporter, Reporter, SilentReporter
from spcl.errors import InputError
from spcl.launched import is_main_process


@dataclass(frozen=True)
class Train(ComputingOptions):
    """Train an encoder without identity labels of the target.

    spcl train DATA learns from unlabelled images alone; spcl train --source DATA --target DATA has a labelled source
    beside them. DATA is a registered name (spcl datasets lists them) or a path: Market-1501 layout, a folder per
    identity, a flat folder of crops, or a CSV / Parquet manifest.
    """

    data: tyro.conf.Positional[str] = ""
    """The unlabelled images; the same as --target."""
    recipe: str = "spcl"
    """Settings to start from: spcl (the paper), person, vehicle, quick (for a CPU)."""
    config: str = ""
    """A TOML file of settings, laid over the recipe."""
    resume: bool = False
    """Continue the run in the log folder."""
    settings: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl train`` with these words."""
    options = _parse(arguments)
    target = options.settings.data.target
    if options.data and target and options.data != target:
        raise InputError(f"two targets: {options.data!r} and --target {target!r}; give one")
    config = overlay(options.settings, {"data": {"target": options.data or target}}, "command line")
    run_training_command(config, resume=options.resume)


def run_training_command(config: Config, *, resume: bool, report: Reporter | None = None) -> None:
    """Prepare, train, and say where the results are and which is which."""
    data = config.data
    check_tables(
        *filter(None, (data.target, *(sources_of(data.source) if data.source else ()))),
        options=TableOptions(data.columns, data.time_format),
        with_times=False,
        keep_missing=data.on_broken == "skip",
    )

    from spcl.engine.assemble import prepare, run_training
    from spcl.engine.run_files import BEST_FILE, CHECKPOINT_FILE
    from spcl.runtime import end_processes

    report = report or (ConsoleReporter() if is_main_process() else SilentReporter())
    run = prepare(config, report, resume=resume)
    folder = run.folder
    if run.state.epoch >= config.schedule.epochs:
        report.say(f"this run is finished: {run.state.epoch} epochs; ask for more with --epochs")
    try:
        state = run_training(run, report)
    except KeyboardInterrupt:
        report.say(f"stopped in epoch {run.state.epoch + 1}; the same command with --resume continues")
        raise
    report.say(f"last epoch: {folder / CHECKPOINT_FILE}")
    if state.best_mean_ap is not None:
        last = next((row["mAP"] for row in reversed(state.history) if "mAP" in row), state.best_mean_ap)
        report.say(f"best epoch: {folder / BEST_FILE} (epoch {state.best_epoch})")
        report.say(
            f"target mAP: last {100 * last:.1f}%, best {100 * state.best_mean_ap:.1f}% "
            "(the best was chosen on the test set: the last is the honest figure)"
        )
    end_processes()


def _parse(arguments: Sequence[str]) -> Train:
    """The command line over the file over the checkpoint over the recipe; the last three are looked for first."""
    words = with_one_source(arguments)
    config = load_recipe(_value_of("--recipe", words, "spcl"))
    path = _value_of("--config", words, "")
    in_file = load_config(Path(path), config).network.from_checkpoint if path else ""
    checkpoint = _value_of("--from-checkpoint", words, in_file)
    if checkpoint:
        from spcl.engine.starting_point import settings_from_checkpoint

        told = settings_from_checkpoint(Path(checkpoint), arch=_value_of("--arch", words, "") or None)
        config = overlay(config, told, f"checkpoint {checkpoint}")
    if path:
        config = load_config(Path(path), config)
    return parsed(Train, words, "spcl train", default=Train(settings=config), flat=True)


def with_one_source(arguments: Sequence[str]) -> list[str]:
    """A command line with all its sources as one value: ``--source a --source b`` and ``--source a b`` are ``a+b``.

    ``--source a b`` without another target is a source and a target, for the target is a word without a flag.

    Raises:
        InputError: If the sources cannot be combined.
    """
    words = list(arguments)
    flags = [at for at, word in enumerate(words) if word == "--source" or word.startswith("--source=")]
    has_target = any(word.partition("=")[0] == "--target" for word in words) or not words[:1] or words[0][:1] != "-"
    sources: list[str] = []
    taken: set[int] = set()
    for at in flags:
        _, equals, value = words[at].partition("=")
        end = at + 1
        if not equals:
            while end < len(words) and not words[end].startswith("-") and (has_target or end == at + 1):
                end += 1
        sources += [value] if equals else words[at + 1 : end]
        taken.update(range(at, end))
    if len(sources) < 2:
        return words
    from spcl.data.several_sources import joined_sources

    rest = [word for at, word in enumerate(words) if at not in taken]
    return [*rest, "--source", joined_sources(sources)]


def _value_of(flag: str, words: Sequence[str], default: str) -> str:
    """The value that the parser takes: the last one; in the name of a flag _ is as good as -."""
    for at in reversed(range(len(words))):
        name, equals, value = words[at].partition("=")
        if name.replace("_", "-") == flag and (equals or at + 1 < len(words)):
            return value if equals else words[at + 1]
    return default
