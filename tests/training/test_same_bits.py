"""The flat settings of version 0.1.0 and the composed recipe are one run, to the bit."""

from __future__ import annotations

from dataclasses import replace

from spcl.config import Recipe, load_config, to_toml
from spcl.training.adam import AdamSettings
from spcl.training.contrastive import ContrastiveSettings
from spcl.training.hybrid_memory import HybridMemorySettings
from spcl.training.identity_sampling import IdentitySamplerSettings
from spcl.training.self_paced_labels import SelfPacedLabelSettings
from tests.fakes import write_fake
from tests.training_run.small_runs import assert_bit_equal, small_config, trained

FLAT = """
[labels]
eps = "auto"
[memory]
momentum = 0.3
temperature = 0.07
[schedule]
num_instances = 2
lr = 0.0005
weight_decay = 0.001
step_size = 1
[run]
memory = "replicated"
"""
COMPOSED = """
[labels]
kind = "self-paced"
eps = "auto"
[memory]
kind = "hybrid"
momentum = 0.3
placement = "replicated"
[[losses]]
kind = "contrastive"
temperature = 0.07
[sampler]
kind = "identity"
num_instances = 2
[optimiser]
kind = "adam"
lr = 0.0005
weight_decay = 0.001
step_size = 1
"""


def test_both_forms_are_one_run(tmp_path):
    source, target = write_fake("personx", tmp_path), write_fake("market1501", tmp_path, num_identities=10)
    recipes = []
    for name, text in (("flat", FLAT), ("composed", COMPOSED)):
        path = tmp_path / f"{name}.toml"
        path.write_text(text)
        base = small_config(target, tmp_path / name, source, network={"dropout": 0.3})
        recipes.append(load_config(path, base))
    flat, composed = recipes
    assert replace(flat, run=composed.run) == composed
    small = small_config(target, tmp_path, source).labels
    assert isinstance(small, SelfPacedLabelSettings)
    assert composed == replace(
        composed,
        labels=replace(small, eps="auto"),
        memory=HybridMemorySettings(0.3, "replicated"),
        losses=(ContrastiveSettings(0.07),),
        sampler=IdentitySamplerSettings(2),
        optimiser=AdamSettings(0.0005, 0.001, 1),
    )
    (tmp_path / "written.toml").write_text(to_toml(composed))
    assert load_config(tmp_path / "written.toml", Recipe()) == composed
    assert_bit_equal(trained(flat), trained(composed))
