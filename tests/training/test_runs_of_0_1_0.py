"""What version 0.1.0 wrote still loads: a checkpoint, settings, and a run that was stopped inside an epoch.

The files are of a small run whose network and Adam moments were replaced by a pattern that compresses well, continued
by version 0.1.0 itself (``continued.json``).
"""

from __future__ import annotations

import json
import lzma
import shutil

import pytest

import spcl
from spcl.config import Recipe, load_config
from spcl.training.adam import AdamSettings
from spcl.training.hybrid_memory import HybridMemorySettings
from spcl.training.identity_sampling import IdentitySamplerSettings
from spcl.training_run.run_epochs import run_training
from tests.fakes import write_fake
from tests.shared import PROJECT_ROOT
from tests.training_run.small_runs import prepared

FILES = PROJECT_ROOT / "tests/fixtures/run-0.1.0"


def test_a_run_is_continued_with_its_numbers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_fake("personx", tmp_path / "data")
    write_fake("market1501", tmp_path / "data", num_identities=10)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/resume.pt").write_bytes(lzma.decompress((FILES / "resume.pt.xz").read_bytes()))
    shutil.copy(FILES / "config.toml", tmp_path / "run")
    run = prepared(load_config(FILES / "config.toml"), resume=True)
    assert (run.state.epoch, run.state.iteration) == (1, 1)
    run_training(run)
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    expected = json.loads((FILES / "continued.json").read_text())
    assert rows[0] == expected[0]
    assert set(rows[1]) == set(expected[1])
    assert rows[1]["losses"] == pytest.approx(expected[1]["losses"], rel=1e-3)
    for name in ("num_clusters", "num_unclustered", "independence_threshold", "eps", "k1", "k2", "epoch"):
        assert rows[1][name] == expected[1][name]


def test_its_settings_are_read_in_their_new_places():
    recipe = load_config(FILES / "config.toml")
    assert recipe.optimiser == AdamSettings(lr=0.0005, step_size=1)
    assert recipe.sampler == IdentitySamplerSettings(num_instances=2)
    assert recipe.memory == HybridMemorySettings(placement="replicated")
    assert recipe.losses == Recipe().losses


def test_its_checkpoint_embeds(tmp_path):
    path = tmp_path / "checkpoint.pth.tar"
    path.write_bytes(lzma.decompress((FILES / "checkpoint.pth.tar.xz").read_bytes()))
    encoder = spcl.load_encoder(path)
    assert encoder.size == (32, 16)
    assert encoder.facts["config"]["schedule"]["lr"] == 0.0005
