"""Every flag of the official scripts, with every kind of value that the official parser accepts.

A value keeps its meaning or is refused before any work, by the flag as it was typed and with the reason.
"""

from __future__ import annotations

from dataclasses import fields
from math import isnan

import pytest

from spcl.cli.described_flags import described_flags
from spcl.cli.official import OfficialTest as EvaluationFlags
from spcl.cli.official import TrainUDA, TrainUSL, parsed_flags
from spcl.errors import InputError
from tests.shared import PROJECT_ROOT, slow_but

TRAINING = (TrainUDA, TrainUSL)
NUMBERS = {int: ("-1", "0", "2"), float: ("-1", "0", "0.5", "2", "nan")}
NOT_NEGATIVE = {"num_instances", "features", "dropout"}
"""Below 0 is 0, as in the official scripts."""

REFUSED = """
--epochs 0
--epochs -1
--iters 0
--iters -5
--lr -1
--lr nan
--lr inf
--weight-decay -1
--step-size 0
--step-size -20
--eval-step 0
--temp 0
--temp -0.05
--dropout 1
--dropout 2
--eps 0
--eps 1
--eps -1
--eps-gap -0.1
--k1 0
--k2 0
--momentum 2
--momentum -1
-j -1
--workers -1
--seed -1
-b 1
-b 0
--height 0
--width -5
""".strip().splitlines()

KEPT = {
    "--lr 0": ("optimiser", "lr", 0.0),
    "--weight-decay 0": ("optimiser", "weight_decay", 0.0),
    "-j 0": ("data", "workers", 0),
    "--num-instances -1": ("sampler", "num_instances", 0),
    "--num-instances 0": ("sampler", "num_instances", 0),
    "--num-instances 1": ("sampler", "num_instances", 1),
    "--features -1": ("network", "features", 0),
    "--dropout -0.5": ("network", "dropout", 0.0),
    "--momentum 0": ("memory", "momentum", 0.0),
    "--momentum 1": ("memory", "momentum", 1.0),
    "--eps-gap 0": ("labels", "eps_gap", 0.0),
    "--k2 40": ("labels", "k2", 40),
    "--seed 0": ("run", "seed", 0),
    "--eval-step 1000": ("schedule", "eval_step", 1000),
    "--step-size 1000": ("optimiser", "step_size", 1000),
    "-b 2": ("schedule", "batch_size", 2),
    "--batch_size=8": ("schedule", "batch_size", 8),
    "--batch 8": ("schedule", "batch_size", 8),
}


@pytest.mark.parametrize("script", TRAINING)
@pytest.mark.parametrize("words", REFUSED)
def test_a_value_without_a_meaning_is_refused_by_the_flag_as_typed(script, words):
    with pytest.raises(InputError) as error:
        parsed_flags(script, words.split())
    assert error.value.code == "setting-out-of-range"
    message = str(error.value)
    flag, value = words.split()
    assert message.startswith(f"{flag} ")
    assert float(message.split()[1].rstrip(":")) == float(value) or isnan(float(value))
    assert len(message) > 30


@pytest.mark.parametrize("script", TRAINING)
@pytest.mark.parametrize("words", KEPT)
def test_a_value_with_a_meaning_keeps_it(script, words):
    section, name, expected = KEPT[words]
    recipe = parsed_flags(script, words.split()).to_recipe("", "market1501")
    assert getattr(getattr(recipe, section), name) == expected


@pytest.mark.parametrize("script", slow_but([*TRAINING, EvaluationFlags], TRAINING[0], EvaluationFlags))
def test_every_number_is_used_or_refused(script):
    """All numeric flags: the recipe has the value that was given, or the message names the flag."""
    needed = ["--resume", "c.pth.tar"] if script is EvaluationFlags else []
    for flag in described_flags(script):
        values = next((NUMBERS[kind] for kind in flag.types if kind in NUMBERS), ())
        name = flag.name.replace("-", "_")
        for value in values:
            for spelling in flag.spellings:
                options = parsed_or_refused(script, [*needed, spelling, value])
                if isinstance(options, InputError):
                    # A gap is refused together with the eps that it does not go with.
                    named = (spelling, "--eps:") if name == "eps_gap" else spelling
                    assert options.code == "setting-out-of-range"
                    assert str(options).startswith(named), (spelling, value, str(options))
                    continue
                used = getattr(options, name)
                assert used == (max(float(value), 0) if name in NOT_NEGATIVE else float(value)) or value == "nan"


def parsed_or_refused(script, words):
    try:
        return parsed_flags(script, words)
    except InputError as error:
        return error


def test_eps_and_its_gap_go_together():
    with pytest.raises(InputError, match=r"^--eps: eps is 0.99; expected") as error:
        parsed_flags(TrainUSL, ["--eps", "0.99"])
    assert error.value.code == "setting-out-of-range"
    assert parsed_flags(TrainUSL, ["--eps", "0.99", "--eps-gap", "0"]).eps == 0.99


def test_flags_without_an_effect_are_accepted_with_any_value():
    for words in ("--print-freq 0", "--print-freq -3"):
        parsed_flags(TrainUSL, words.split())
    for words in ("--seed -1", "--dropout 1", "--dropout -1"):
        parsed_flags(EvaluationFlags, ["--resume", "c.pth.tar", *words.split()])


@pytest.mark.parametrize(
    ("words", "domain", "has_domains"),
    [
        ("", "target", False),
        ("--dsbn", "target", True),
        ("--dsbn --test-source", "source", True),
        ("--test-source", "target", False),
    ],
)
def test_batch_norm_of_the_test_script(words, domain, has_domains):
    """``--test-source`` without ``--dsbn`` has no effect, as in the official script."""
    options, expected = parsed_flags(EvaluationFlags, ["--resume", "c.pth.tar", *words.split()]).to_evaluation()
    assert (options.domain, expected.domains) == (domain, has_domains)


@pytest.mark.parametrize("words", ["-j -1", "-b 0", "--height 0", "--width -1"])
def test_sizes_of_the_test_script(words):
    with pytest.raises(InputError) as error:
        parsed_flags(EvaluationFlags, ["--resume", "c.pth.tar", *words.split()])
    assert (error.value.code, str(error.value).split(":")[0]) == ("setting-out-of-range", words)


def test_the_page_has_every_flag_of_the_scripts():
    page = (PROJECT_ROOT / "docs/cli.md").read_text(encoding="utf-8")
    section = page.partition("## The official scripts")[2].partition("\n## ")[0]
    for script in (*TRAINING, EvaluationFlags):
        for entry in fields(script):
            assert f"`--{entry.name.replace('_', '-')}`" in section, entry.name
