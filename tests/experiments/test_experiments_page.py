"""docs/experiments.md: every block runs, on a small copy of a data set."""

from __future__ import annotations

import pytest

import spcl
from tests.fakes import write_fake
from tests.journeys.pages import run_blocks
from tests.training_run.small_runs import SMALL

VALUES = {f"{section}.{name}": value for section, part in SMALL.items() for name, value in part.items()}
# A setting of the paper's labels, which the recipe of the page does not have.
del VALUES["labels.k2"]
ONE_EPOCH = VALUES | {"schedule.epochs": 1, "schedule.iters": 1}


@pytest.mark.slow
def test_every_block_runs(tmp_path, monkeypatch, capsys):
    write_fake("market1501", tmp_path / "examples/data", num_identities=4)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    train, sweep = spcl.train, spcl.sweep
    monkeypatch.setattr(spcl, "train", lambda target, **given: train(target, overrides=ONE_EPOCH, **given))
    monkeypatch.setattr(
        spcl, "sweep", lambda target, settings, **given: sweep(target, settings=ONE_EPOCH | settings, **given)
    )
    run_blocks("docs/experiments.md")
    runs = tmp_path / "runs"
    assert len([path for path in (runs / "threshold").iterdir() if path.is_dir()]) == 6
    assert len([path for path in (runs / "k1").iterdir() if path.is_dir()]) == 4
    for written in ("usl/tensorboard", "followed/tensorboard", "threshold/table.tex", "k1/table.csv"):
        assert (runs / written).exists()
    assert (tmp_path / "comparison.tex").read_text().startswith("\\begin{tabular}")
    printed = capsys.readouterr().out
    assert "| labels.k1 |" in printed.replace("  ", " ") and "±" in printed
    assert (tmp_path / "mlruns").exists()
