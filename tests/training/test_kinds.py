"""One contract for every kind of part, the package's and a user's: it builds, resumes to the bit, and two are one."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

import spcl
from spcl.config import Recipe, load_config, load_recipe, overlay, recipe_names, to_toml, to_values
from spcl.kinds import KINDS
from spcl.nested_text import toml_of
from spcl.settings import kind_of
from spcl.training import loop
from spcl.training_run.first_pass import fill_memory
from spcl.training_run.run_epochs import loop_calls
from tests.distributed.launching import environment, run, two_processes
from tests.fakes import write_fake
from tests.shared import PROJECT_ROOT, input_error, slow_but
from tests.training.own_parts import CameraLoss, ClusterMemory, ClusterMemorySettings, NearestOfOtherCamera
from tests.training_run.small_runs import SMALL, assert_bit_equal, prepared, small_config, trained, weights_of

OWN = """
[labels]
kind = "tests.training.own_parts:NearestOfOtherCamera"
least = 0.1
[memory]
kind = "tests.training.own_parts:ClusterMemorySettings"
[[losses]]
kind = "contrastive"
temperature = 0.1
[[losses]]
kind = "tests.training.own_parts:CameraLoss"
margin = 0.2
"""
CASES = {
    "paper": "",
    "normalised": '[[losses]]\nkind = "normalised-centroids"\n',
    "extracted": '[label_features]\nkind = "extracted"\n',
    "teacher": '[teacher]\nkind = "ema"\nmomentum = 0.5\n[label_features]\nkind = "extracted"\nnetwork = "teacher"\n',
    "own": OWN,
    # With an eps of its own: on so few images the choice turns on differences in the last bits of features.
    "each-epoch": '[labels]\nkind = "self-paced-each-epoch"\nkeep = "reliable"\neps = 0.6\n'
    '[augmentation]\nkind = "affine"\nblur = 0.5\n'
    '[optimiser]\nkind = "adamw"\nwarmup_epochs = 1\nlayer_decay = 0.7\n',
    "average-linkage": '[labels]\nkind = "average-linkage"\ncameras = "balance"\n'
    '[label_features]\nkind = "extracted"\n',
    "cluster-memory": '[memory]\nkind = "cluster"\nupdate = "hardest"\n',
    "cluster-momentum": '[memory]\nkind = "cluster"\n[label_features]\nkind = "extracted-into-memory"\n',
    "several-positives": '[[losses]]\nkind = "several-positives"\npositives = "hardest"\nnum_positives = 2\n',
    "two-views": '[labels]\nkind = "self-paced"\neps = 0.3\n[sampler]\nkind = "two-views"\n'
    '[[losses]]\nkind = "contrastive"\n[[losses]]\nkind = "two-views"\n',
    "consensus": '[labels]\nkind = "average-linkage"\n[[losses]]\nkind = "cluster-consensus"\ncertainty = 0.6\n',
    "views": '[label_features]\nkind = "views"\n',
    "labels-by-centred-features": '[labels]\nkind = "average-linkage"\ncameras = "auto"\n'
    '[[losses]]\nkind = "camera-entropy"\n[[losses]]\nkind = "camera-proxies"\n',
    "each-epoch-centred": '[labels]\nkind = "self-paced-each-epoch"\ncameras = "centre"\n',
    "sgd": '[optimiser]\nkind = "sgd"\nlr = 0.001\n',
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return write_fake("personx", root), write_fake("market1501", root, num_identities=10)


def recipe_of(text, target, logs, source="", **changed):
    return overlay(small_config(target, logs, source, **changed), toml_of(text), "test")


TWO_PROCESSES = {"schedule": {"iters": 2, "eval_step": 2}}
"""Settings of the runs that are compared between one and two processes."""


class StopError(Exception):
    pass


QUICK_CASES = ("extracted", "cluster-memory", "two-views", "average-linkage")


@pytest.mark.parametrize("name", slow_but(CASES, *QUICK_CASES))
def test_a_kind_trains_and_resumes_to_the_bit(name, data, tmp_path, monkeypatch):
    source, target = data
    changed = {"network": {"dropout": 0.3}, "run": {"checkpoint_iters": 1}}
    whole = trained(recipe_of(CASES[name], target, tmp_path / "whole", source, **changed))
    assert load_config(tmp_path / "whole/config.toml") == whole.config
    original, taken = loop.step, []

    def step(*given):
        if len(taken) == 4:
            raise StopError
        taken.append(1)
        return original(*given)

    monkeypatch.setattr(loop, "step", step)
    recipe = recipe_of(CASES[name], target, tmp_path / "stopped", source, **changed)
    with pytest.raises(StopError):
        trained(recipe)
    monkeypatch.setattr(loop, "step", original)
    resumed = trained(recipe, resume=True)
    assert_bit_equal(whole, resumed)
    for ours, theirs in zip(whole.state.history, resumed.state.history, strict=True):
        assert replace(ours, seconds={}) == replace(theirs, seconds={})


def test_every_kind_of_the_package_is_among_them():
    seen = {section: set() for section in KINDS}
    for text in CASES.values():
        values = to_values(overlay(Recipe(), toml_of(text), "test"))
        for section, kinds in seen.items():
            part = values.get(section, {})
            kinds |= {each["kind"] for each in part} if isinstance(part, list) else {part.get("kind")}
    assert all(set(KINDS[section]) <= seen[section] for section in KINDS)


@pytest.mark.slow
def test_two_processes_train_every_kind_as_one_does(data, tmp_path):
    source, target = data
    script = str(PROJECT_ROOT / "tests/training/two_ranks_of_kinds.py")
    done = run(two_processes(script, str(target), str(source), str(tmp_path)))
    assert done.returncode == 0, done.stdout + done.stderr
    for name, text in CASES.items():
        if name == "paper":  # tests/distributed
            continue
        alone = trained(recipe_of(text, target, tmp_path / f"alone-{name}", source, **TWO_PROCESSES))
        shared = torch.load(tmp_path / f"{name}.pt", weights_only=True)
        rows = [json.loads(line) for line in (tmp_path / f"two-{name}/metrics.jsonl").read_text().splitlines()]
        for ours, theirs in zip(alone.state.history, rows, strict=True):
            assert ours.num_clusters == theirs["num_clusters"], (name, ours, theirs)
            assert ours.losses == pytest.approx(theirs["losses"], rel=1e-3)
        for key, value in weights_of(alone).items():
            # As in tests/distributed: a gradient near zero may turn, and Adam divides by its size.
            torch.testing.assert_close(value, shared[key], atol=7e-4, rtol=1e-3, msg=lambda text, k=key: f"{k}: {text}")


def test_the_teacher_is_what_is_evaluated_and_saved(data, tmp_path):
    run = trained(recipe_of(CASES["teacher"], data[1], tmp_path / "run"))
    teacher, encoder = run.parts.teacher.network, run.parts.encoder
    assert run.encoder is teacher
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not torch.equal(next(teacher.parameters()), next(encoder.parameters()))
    saved = spcl.load_encoder(tmp_path / "run/checkpoint.pth.tar")
    assert torch.equal(next(saved.parameters()), next(teacher.parameters()))


def test_a_teacher_follows_by_its_momentum(data, tmp_path):
    run = prepared(recipe_of(CASES["teacher"], data[1], tmp_path / "run"))
    fill_memory(run)
    parts = run.parts
    parts.memory.relabel(torch.arange(len(run.slots)) // 2)
    batch = next(iter(loop_calls(run).batches(0, torch.arange(len(run.slots)).numpy() // 2, 0)))
    before = {name: value.clone() for name, value in parts.encoder.state_dict().items()}
    parts.encoder.train()
    loop.step(parts, batch)
    for name, value in parts.teacher.network.state_dict().items():
        now = parts.encoder.state_dict()[name]
        expected = (before[name] + now) / 2 if value.is_floating_point() else now
        torch.testing.assert_close(value, expected)


def test_own_parts_given_in_python(data, tmp_path):
    in_toml = trained(recipe_of(OWN, data[1], tmp_path / "toml"))
    small = overlay(Recipe(), {**SMALL, "losses": [{"kind": "contrastive", "temperature": 0.1}]}, "test")
    heard = []

    class Hears:
        def on(self, event):
            heard.append(type(event).__name__)

    result = spcl.train(
        data[1],
        recipe=replace(small, memory=ClusterMemorySettings()),
        overrides={"schedule.epochs": 2},
        losses=[small.losses[0], CameraLoss(margin=0.2)],
        labeller=NearestOfOtherCamera(least=0.1),
        listeners=[Hears()],
        logs_dir=tmp_path / "python",
    )
    assert [replace(epoch, seconds={}) for epoch in result.history] == [
        replace(epoch, seconds={}) for epoch in in_toml.state.history
    ]
    assert set(result.history[0].loss_terms) == {"contrastive", "camera"}
    assert isinstance(in_toml.parts.memory, ClusterMemory)
    assert result.best is not None and result.best.mean_ap == max(epoch.mean_ap for epoch in result.history)
    assert result.folder == tmp_path / "python"
    expected = in_toml.encoder.folded("target").state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in result.encoder.network.state_dict().items())
    assert heard.count("EpochEnded") == 2 and heard.count("RunStarted") == 1 and "Saved" in heard
    assert kind_of("losses", CameraLoss(), KINDS) == "tests.training.own_parts:CameraLoss"


@pytest.mark.slow
def test_a_module_beside_the_settings_file_is_found_and_a_checkpoint_imports_nothing(data, tmp_path):
    (tmp_path / "beside_the_file.py").write_text(
        "from dataclasses import dataclass\nimported = True\n"
        "@dataclass(frozen=True)\nclass Zero:\n    name: str = 'zero'\n    weight: float = 1.0\n"
        "    def __call__(self, step):\n        return 0 * step.features.sum(dim=1)\n"
    )
    text = '[[losses]]\nkind = "contrastive"\n[[losses]]\nkind = "beside_the_file:Zero"\n'
    (tmp_path / "mine.toml").write_text(text)
    run = trained(load_config(tmp_path / "mine.toml", small_config(data[1], tmp_path / "run")))
    assert to_toml(run.config).count("beside_the_file:Zero") == 1
    (tmp_path / "beside_the_file.py").write_text("raise SystemExit('imported')")
    code = (
        "import sys, spcl\nfrom spcl.training_run.assemble import prepare\n"
        f"e = spcl.load_encoder({str(tmp_path / 'run/checkpoint.pth.tar')!r})\n"
        "assert e.facts['config']['losses'][1]['kind'] == 'beside_the_file:Zero'\n"
        "from spcl.inference.official_checkpoints import load_safely\nfrom pathlib import Path\n"
        f"load_safely(Path({str(tmp_path / 'run/resume.pt')!r}))\n"
        "assert 'beside_the_file' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("values", "code", "named"),
    [
        ({"memory": {"kind": "hybird"}}, "no-such-kind", "'hybird'; did you mean 'hybrid'"),
        ({"memory": {"kind": "no.such.module:Memory"}}, "kind-not-loadable", "no.such.module:Memory"),
        ({"memory": {"kind": "tests.training.own_parts:Nothing"}}, "kind-not-loadable", "Nothing"),
        (
            {"memory": {"kind": "tests.training.own_parts:ClusterMemorySettings", "momentun": 1}},
            "no-such-setting",
            "momentun",
        ),
        ({"losses": []}, "setting-out-of-range", "losses is ()"),
        ({"losses": {"kind": "contrastive"}}, "setting-not-understood", "[[losses]]"),
        ({"losses": [{"temperature": 1}]}, "missing-kind", "kind = "),
        ({"teacher": {}}, "missing-kind", "kind = "),
        ({"teacher": {"kind": "ema", "momentum": 2}}, "setting-out-of-range", "momentum is 2"),
    ],
)
def test_kinds_that_cannot_be_used_are_named(values, code, named):
    with input_error(code, named):
        overlay(Recipe(), values, "mine.toml")


def test_what_does_not_go_together_is_refused(data, tmp_path):
    with input_error("name-given-twice", "contrastive"):
        trained(recipe_of('[[losses]]\nkind="contrastive"\n' * 2, data[1], tmp_path / "two"))
    with input_error("no-teacher"):
        trained(recipe_of('[label_features]\nkind="extracted"\nnetwork="teacher"\n', data[1], tmp_path / "none"))
    recipe = recipe_of("", data[1], tmp_path / "paper", schedule={"epochs": 1, "iters": 1})
    trained(recipe)
    other = overlay(recipe, {"teacher": {"kind": "ema"}}, "test")
    with input_error("settings-changed", "teacher.kind was not there and is 'ema'"):
        trained(other, resume=True)
    with input_error("settings-changed", "losses.0.kind was 'contrastive' and is 'normalised-centroids'"):
        trained(overlay(recipe, {"losses": [{"kind": "normalised-centroids"}]}, "test"), resume=True)


def test_the_recipes_of_the_new_kinds():
    assert load_recipe("spcl-plus-cameras").labels.cameras == "auto"
    assert load_recipe("spcl-plus").labels.cameras == "ignore"
    assert {"spcl-ema-teacher", "spcl-fresh-features", "spcl-normalised-centroids"} <= set(recipe_names())
    assert load_recipe("spcl-ema-teacher").teacher is not None
    assert overlay(load_recipe("spcl-ema-teacher"), {"teacher": {"kind": "none"}}, "test").teacher is None
    changed = overlay(load_recipe("spcl-normalised-centroids"), {"memory": {"temperature": 0.07}}, "test")
    assert changed.losses[0].temperature == 0.07
    memory = load_recipe("spcl-cluster-memory")
    assert kind_of("memory", memory.memory, KINDS) == "cluster" and memory.losses == Recipe().losses
    assert kind_of("label_features", memory.label_features, KINDS) == "extracted-into-memory"
    assert sum(term.weight for term in load_recipe("spcl-several-positives").losses) == 1
    assert kind_of("losses", load_recipe("spcl-cluster-consensus").losses[0], KINDS) == "cluster-consensus"
    views = load_recipe("spcl-two-views")
    assert kind_of("sampler", views.sampler, KINDS) == kind_of("losses", views.losses[1], KINDS) == "two-views"
