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
from spcl.cli.train_words import value_of, with_joined_data
from spcl.config import DEFAULT_RECIPE, DataConfig, Recipe, base_of, load_config, load_recipe, overlay, read_settings
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
    recipe: str = DEFAULT_RECIPE
    """Recipe to start from: spcl-plus, spcl (the paper's), person, vehicle, quick (for a CPU), another one of
    docs/cli.md, or a TOML file. Its values are the defaults below. With --resume: that of the run."""
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
        note=note_on_recipe(arguments),
    )


def run_training_command(
    recipe: Recipe,
    *,
    resume: bool,
    or_start: bool = False,
    log: Sequence[str] = (),
    as_json: bool = False,
    page: str = "",
    note: str = "",
) -> None:
    """Train, and print where the results are.

    Args:
        recipe: All settings.
        resume: Continue the run in the log folder.
        or_start: Continue the run in the log folder if there is one.
        log: Names of experiment trackers.
        as_json: Print the result as JSON, and nothing else.
        page: HTML file for a report of the run; empty: none.
        note: A line that is printed first; empty: none.
    """
    check_data_tables(recipe.data)

    from spcl.runtime import end_processes
    from spcl.training_run.run_files import holds_run
    from spcl.training_run.train import train_recipe

    report = ConsoleReporter() if is_main_process() and not as_json else SilentReporter()
    if note:
        report.say(note)
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
    path = value_of("--config", words, "")
    in_file = _over_file(words, path, recipe) if path else recipe
    checkpoint = value_of("--from-checkpoint", words, in_file.network.from_checkpoint)
    if not checkpoint:
        return _over_recipe(words, in_file)
    # Flags and tables first: reading a checkpoint loads torch.
    options, plain = _over_recipe(words, in_file)
    check_data_tables(replace(plain.data, target=options.data or plain.data.target))

    from spcl.training_run.train import over_checkpoint

    recipe = over_checkpoint(recipe, checkpoint, value_of("--arch", words, ""))
    return _over_recipe(words, load_config(Path(path), recipe) if path else recipe)


def _recipe_to_start_from(words: Sequence[str]) -> Recipe:
    """The recipe that is named; without a name that of the run that is continued, or the default one."""
    name = _named_recipe(words)
    own = None if name else _own_recipe(words)
    return own or load_recipe(name or DEFAULT_RECIPE)


def note_on_recipe(arguments: Sequence[str]) -> str:
    """A line about the recipe of a command line that names none; empty where one is named."""
    words = with_joined_data(arguments)
    if _named_recipe(words):
        return ""
    if _own_recipe(words) is not None:
        return "recipe: that of the run that is continued"
    return f"recipe {DEFAULT_RECIPE}; --recipe spcl is the paper's"


def _over_file(words: Sequence[str], path: str, recipe: Recipe) -> Recipe:
    """The settings of a file over a recipe; an unknown setting may be one of the paper's parts."""
    try:
        return load_config(Path(path), recipe)
    except InputError as error:
        if error.code != "no-such-setting" or _named_recipe(words):
            raise
        raise InputError(
            f"{error}. (Without --recipe, or base = in the file, settings are those of {DEFAULT_RECIPE}; those of the "
            "paper's parts need --recipe spcl)",
            code="no-such-setting",
        ) from error


def _named_recipe(words: Sequence[str]) -> str:
    """The recipe that a command line or its settings file names; empty: none.

    Raises:
        InputError: If both name one, and these differ.
    """
    name, path = value_of("--recipe", words, ""), value_of("--config", words, "")
    base = base_of(read_settings(Path(path)), path) if path else ""
    if name and base and name != base:
        raise InputError(
            f"two recipes: --recipe {name}, and {path} has base = {base!r}; leave one of them out",
            code="option-contradiction",
        )
    return name or base


def _own_recipe(words: Sequence[str]) -> Recipe | None:
    """The recipe of the run that a command line continues; None where it continues none."""
    if not any(word.replace("_", "-") in ("--resume", "--resume-or-start") for word in words):
        return None
    path = value_of("--config", words, "")
    usual = read_settings(Path(path)).get("run", {}).get("logs_dir") if path else None
    return recipe_of_run(Path(value_of("--logs-dir", words, usual or Recipe().run.logs_dir)))


def _over_recipe(words: Sequence[str], recipe: Recipe) -> tuple[Train, Recipe]:
    options = parsed(Train, words, "spcl train", default=Train(settings=flags_of(recipe)), flat=True)
    return options, recipe_of(options.settings, recipe, given_flags(words))
