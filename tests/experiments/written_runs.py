"""Folders of finished runs, written without training; imported by processes that tests start."""

from __future__ import annotations

import json
import os
from pathlib import Path

from spcl.config import Recipe, overlay, to_toml
from spcl.experiments.sweep import Outcome


def write_run(folder: Path, rows: list[dict], *, epochs: int | None = None, **changed: dict) -> Path:
    """A run with these rows of figures; ``changed`` holds settings by section."""
    folder.mkdir(parents=True)
    schedule = {"epochs": len(rows) if epochs is None else epochs} | changed.pop("schedule", {})
    recipe = overlay(Recipe(), {"schedule": schedule, **changed}, "test")
    (folder / "config.toml").write_text(to_toml(recipe))
    numbered = [{"epoch": number, **row} for number, row in enumerate(rows, start=1)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in numbered))
    return folder


def make_by_writing(run, log, report):
    """In place of training: a run of one epoch, whose mAP is its seed in percent."""
    seed = run.recipe.run.seed
    report.say(f"on {run.recipe.run.device}")
    if seed == 7:
        return Outcome("the loss is NaN", began=True)
    if seed == 8:
        os._exit(3)
    if seed == 9:
        return Outcome("there are no images", began=False)
    write_run(run.folder, [{"mAP": seed / 100, "top1": seed / 50}], run={"seed": seed})
    return None
