"""``spcl train``: from settings to a trained encoder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import tyro

from spcl.cli.computing import ComputingOptions
from spcl.cli.flags import Flags, flags_of, given_flags, recipe_of
from spcl.cli.options import parsed
from spcl.cli.report import check_report_place, print_report_of_run
from spcl.config import DataConfig, Recipe, base_of, load_config, load_recipe, overlay, read_settings
from spcl.data.combined_sources import sources_of
from spcl.data.table_checks import check_tables
from spcl.data.table_options import TableOptions
from spcl.errors import InputError
from spcl.inference.encode_options import EncodeOptions
from spcl.launched import is_main_process
from spcl.reporting.console import ConsoleReporter, Reporter, SilentReporter
from spcl.tracking.trackers import tracker_names, with_trackers
from spcl.training_run.own_recipe import recipe_of_run

if TYPE_CHECKING:
    from spcl.training_run.train import TrainingResult


@dataclass(frozen=True)
class Train(ComputingOptions):
    """Train an encoder without identity labels of the target.

    spcl train DATA learns from unlabelled images alone; spcl train --source DATA --target DATA also learns from a
    labelled source of other objects. DATA is a registered name (spcl datasets lists them) or a path: a folder of images
    with its subfolders, a folder per identity, the layout of Market-1501, or a table (CSV or Parquet).
    """

    usage: ClassVar[str] = "[DATA] [options]"
    example: ClassVar[str] = "spcl train crops --recipe quick --logs-dir runs/crops"

    data: tyro.conf.Positional[str] = ""
    """The unlabelled images: a registered name or a path, or several. The same as --target."""
    recipe: str = "spcl"
    """Recipe to start from: spcl (the paper), person, vehicle, quick (for a CPU), another one of docs/cli.md, or a TOML
    file. Its values are the defaults below."""
    config: str = ""
    """A TOML file of settings that replace those of the recipe. Flags replace both."""
    resume: bool = False
    """Continue the run in the log folder."""
    resume_or_start: bool = False
    """Continue the run in the log folder; where there is none, start it. For job files that run more than once."""
    # torchrun takes --log for one of its own flags, cut short, wherever it stands.
    log: Annotated[str, tyro.conf.arg(aliases=["--trackers"])] = ""
    """Send figures and pictures to experiment trackers: tensorboard, mlflow, wandb, trackio; several as a,b."""
    report: str = ""
    """Also write a report of the run to this HTML file, as spcl report does. Its images are encoded once more."""
    json: bool = False
    """Print the result as JSON: the folder, the best epoch, the figures of each epoch."""
    settings: Annotated[Flags, tyro.conf.arg(name="")] = field(default_factory=Flags)

    def check(self) -> None:
        """Check the shared options, then that the trackers are installed."""
        super().check()
        tracker_names(self.log)
        check_report_place(self.report)


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl train`` with these words."""
    options, recipe = parsed_recipe(arguments)
    target = recipe.data.target
    if options.data and target and options.data != target:
        raise InputError(
            f"two targets: {options.data!r} and --target {target!r}; give one of them, or all of them in one place: "
            "--target A --target B",
            code="option-contradiction",
        )
    recipe = overlay(recipe, {"data": {"target": options.data or target}}, "command line")
    run_training_command(
        recipe,
        resume=options.resume,
        or_start=options.resume_or_start,
        log=tracker_names(options.log),
        as_json=options.json,
        page=options.report,
    )


def run_training_command(
    recipe: Recipe,
    *,
    resume: bool,
    or_start: bool = False,
    log: Sequence[str] = (),
    as_json: bool = False,
    page: str = "",
) -> None:
    """Train, and print where the results are.

    Args:
        recipe: All settings.
        resume: Continue the run in the log folder.
        or_start: Continue the run in the log folder if there is one.
        log: Names of experiment trackers.
        as_json: Print the result as JSON, and nothing else.
        page: HTML file for a report of the run; empty: none.
    """
    check_data_tables(recipe.data)

    from spcl.runtime import end_processes
    from spcl.training_run.run_files import holds_run
    from spcl.training_run.train import train_recipe

    report = ConsoleReporter() if is_main_process() and not as_json else SilentReporter()
    heard = with_trackers(report, log if is_main_process() else ())
    result = train_recipe(recipe, heard, resume=resume or (or_start and holds_run(Path(recipe.run.logs_dir))))
    if not as_json:
        print_training(result, report)
    elif is_main_process():
        print(json.dumps(result.to_dict()))
    end_processes()
    encoding = EncodeOptions(workers=recipe.data.workers, device=recipe.run.device, precision=recipe.run.precision)
    print_report_of_run(result.folder, page, report, encoding)


def print_training(result: TrainingResult, report: Reporter) -> None:
    """Print where the last and the best epoch are, and the mAP of both or the score that chose the best."""
    from spcl.training_run.run_files import BEST_FILE, CHECKPOINT_FILE

    report.say(f"last epoch: {result.folder / CHECKPOINT_FILE}")
    for name, row in result.history[-1].evaluation.get("targets", {}).items() if result.history else ():
        report.say(
            f"  {name}: mAP {100 * row['mAP']:.1f}%, top-1 {100 * row['top1']:.1f}% ({row['valid_queries']} queries)"
        )
    if result.best is not None and result.selected_by == "label-free":
        report.say(
            f"best epoch: {result.folder / BEST_FILE} (epoch {result.best.epoch}, by the label-free score of its "
            f"pseudo labels, {result.best.label_score:.3f})"
        )
    elif result.best is not None:
        rated = [epoch.mean_ap for epoch in result.history if epoch.mean_ap is not None]
        report.say(f"best epoch: {result.folder / BEST_FILE} (epoch {result.best.epoch})")
        report.say(
            f"target mAP{' (mean of the targets)' if 'targets' in result.history[-1].evaluation else ''}: "
            f"last {100 * rated[-1]:.1f}%, best {100 * max(rated):.1f}% "
            "(the best epoch was chosen on the test set: report the last)"
        )


def check_data_tables(data: DataConfig) -> None:
    """Read the tables among source and target, before what computes is loaded.

    Raises:
        InputError: If a table cannot be used.
    """
    check_tables(
        *(name for given in (data.target, data.source) if given for name in sources_of(given)),
        options=TableOptions(data.columns, data.time_format),
        with_times=False,
        keep_missing=data.on_broken == "skip",
    )


def parsed_recipe(arguments: Sequence[str]) -> tuple[Train, Recipe]:
    """The command line over the file over the checkpoint over the recipe; the last three are looked for first."""
    words = with_joined_data(arguments)
    recipe = _recipe_to_start_from(words)
    path = _value_of("--config", words, "")
    in_file = load_config(Path(path), recipe) if path else recipe
    checkpoint = _value_of("--from-checkpoint", words, in_file.network.from_checkpoint)
    if not checkpoint:
        return _over_recipe(words, in_file)
    # Flags and tables first: reading a checkpoint loads torch.
    options, plain = _over_recipe(words, in_file)
    check_data_tables(replace(plain.data, target=options.data or plain.data.target))

    from spcl.training_run.train import over_checkpoint

    recipe = over_checkpoint(recipe, checkpoint, _value_of("--arch", words, ""))
    return _over_recipe(words, load_config(Path(path), recipe) if path else recipe)


def _recipe_to_start_from(words: Sequence[str]) -> Recipe:
    """The recipe that is named; without a name that of the run that is continued, or the paper's."""
    name, path = _value_of("--recipe", words, ""), _value_of("--config", words, "")
    base = read_settings(Path(path)).get("base", "") if path else ""
    if name and base and name != base:
        raise InputError(
            f"two recipes: --recipe {name}, and {path} has base = {base!r}; leave one of them out",
            code="option-contradiction",
        )
    if path and base:
        name = base_of(read_settings(Path(path)), path)
    resumes = any(word.replace("_", "-") in ("--resume", "--resume-or-start") for word in words)
    if name or not resumes:
        return load_recipe(name or "spcl")
    usual = (load_config(Path(path)) if path else Recipe()).run.logs_dir
    return recipe_of_run(Path(_value_of("--logs-dir", words, usual))) or load_recipe("spcl")


def _over_recipe(words: Sequence[str], recipe: Recipe) -> tuple[Train, Recipe]:
    options = parsed(Train, words, "spcl train", default=Train(settings=flags_of(recipe)), flat=True)
    return options, recipe_of(options.settings, recipe, given_flags(words))


def with_joined_data(arguments: Sequence[str]) -> list[str]:
    """A command line with several sources, and several targets, each as one value.

    ``--source a --source b`` and ``--source a b`` are ``--source a+b``, and ``--target`` is read in the same way; words
    without a flag at the beginning are targets. ``--source a b`` without another target is a source and a target.

    Raises:
        InputError: If the data sets cannot be combined.
    """
    words = list(arguments)
    has_target = not words or words[0][:1] != "-" or any(word.partition("=")[0] == "--target" for word in words)
    words = _joined(_joined(words, "--source", takes_all=has_target), "--target", takes_all=True)
    start = 0
    if words and words[0][:1] == "-":
        # Without another target, what follows the source are targets.
        source = next((at for at, word in enumerate(words) if word.partition("=")[0] == "--source"), None)
        if has_target or source is None:
            return words
        start = source + (1 if "=" in words[source] else 2)
    end = next((at for at in range(start, len(words)) if words[at][:1] == "-"), len(words))
    if end - start < 2:
        return words
    from spcl.data.combined_sources import joined_sources

    return [*words[:start], joined_sources(words[start:end]), *words[end:]]


def _joined(words: list[str], flag: str, *, takes_all: bool) -> list[str]:
    """A command line with the values of a flag as one value, at its end; unchanged where there are fewer than two.

    Args:
        words: The command line.
        flag: Its value follows it, or follows ``=``.
        takes_all: Whether all words after its value, up to the next flag, are values as well.
    """
    values: list[str] = []
    taken: set[int] = set()
    for at in (at for at, word in enumerate(words) if word.partition("=")[0] == flag):
        _, equals, value = words[at].partition("=")
        end = at + 1
        while end < len(words) and words[end][:1] != "-" and (takes_all or (not equals and end == at + 1)):
            end += 1
        values += [*([value] if equals else []), *words[at + 1 : end]]
        taken.update(range(at, end))
    if len(values) < 2:
        return words
    from spcl.data.combined_sources import joined_sources

    return [*(word for at, word in enumerate(words) if at not in taken), flag, joined_sources(values)]


def _value_of(flag: str, words: Sequence[str], default: str) -> str:
    """The value that the parser takes: the last one; in the name of a flag _ is as good as -."""
    for at in reversed(range(len(words))):
        name, equals, value = words[at].partition("=")
        if name.replace("_", "-") == flag and (equals or at + 1 < len(words)):
            return value if equals else words[at + 1]
    return default
