"""The help text of every command: all flags under titles, required arguments first, defaults, one example."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal

import pytest
import tyro

from spcl.cli import official
from spcl.cli.command_line import options_of
from spcl.cli.computing import CommandOptions
from spcl.cli.described_flags import described_flags
from spcl.cli.flags import flags_of
from spcl.cli.help_text import TITLES, help_text, value_of
from spcl.cli.main import COMMANDS, GROUPS, main
from spcl.cli.train import Train
from spcl.config import load_recipe

KINDS = {f"spcl {name}": getattr(import_module(f"spcl.cli.{name}"), name.capitalize()) for name in COMMANDS}
KINDS |= {
    "spcl_train_uda.py": official.TrainUDA,
    "spcl_train_usl.py": official.TrainUSL,
    "test.py": official.OfficialTest,
}
FROZEN = {
    line.partition(": ")[0]: line.partition(": ")[2].split()
    for line in (Path(__file__).parent / "frozen_flags.txt").read_text(encoding="utf-8").splitlines()
}


@pytest.mark.parametrize("prog", KINDS)
def test_no_flag_vanishes(prog):
    """A flag that goes breaks the users' scripts. One that is new is added to the file with a release."""
    flags = described_flags(KINDS[prog])
    given = [
        *(flag.name.upper() for flag in flags if not flag.spellings),
        *(s for flag in flags for s in flag.spellings),
    ]
    assert set(FROZEN[prog]) <= set(given)


@pytest.mark.parametrize("prog", KINDS)
def test_every_flag_is_explained_under_a_title(prog, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    kind = KINDS[prog]
    text = help_text(kind, prog)
    for flag in described_flags(kind):
        assert len(flag.explanation) > 8, flag
        assert flag.explanation.endswith((".", ")", '"')), flag
        assert all(spelling in text for spelling in flag.spellings)
        assert "TEXT" not in value_of(flag), f"name the value of {flag.name} in cli/help_text.py"
    for noise in (" STR", " INT", " FLOAT", "{", "(default: '')", "None", "MISSING"):
        assert noise not in text
    titles = re.findall(r"\n\n([a-z ]+):\n  ", text)
    assert titles == [title for title in [*TITLES, "example"] if title in titles]
    assert text.startswith(f"usage: {prog} ")
    assert all(len(line) <= 120 for line in text.splitlines())


@pytest.mark.parametrize("prog", KINDS)
def test_the_example_is_understood(prog):
    kind = KINDS[prog]
    words = shlex.split(kind.example)
    start = 2
    assert Path(words[1]).name == prog if prog.endswith(".py") else words[:2] == prog.split()
    if prog == "spcl sweep":
        from spcl.cli.sweep import gathered

        words = gathered(words, "--seed", str.isdecimal)
    options_of(kind, words[start:], prog, flat=True)


@pytest.mark.parametrize("prog", [prog for prog in KINDS if prog.startswith("spcl ")])
def test_every_command_prints_its_result_as_json_too(prog):
    assert "--json" in {spelling for flag in described_flags(KINDS[prog]) for spelling in flag.spellings}


def test_the_defaults_are_those_of_the_recipe():
    quick = help_text(Train, "spcl train", Train(settings=flags_of(load_recipe("quick"))))
    assert f"(default: {load_recipe('quick').data.height})" in quick
    assert "(default: 256)" not in quick


def test_the_overview_groups_all_commands(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert [line[:-1] for line in shown.splitlines() if line.endswith(":")] == list(GROUPS)
    assert all(f"\n  {command} " in shown for command in COMMANDS)


@dataclass(frozen=True, kw_only=True)
class Nested:
    """Settings."""

    rate: float = 0.5
    """Rate of it."""


@dataclass(frozen=True)
class Example(CommandOptions):
    """An example.

    With more to say.
    """

    images: tyro.conf.Positional[str]
    """The images."""
    out: Annotated[str, tyro.conf.arg(aliases=["-o"])]
    """The results."""
    k1: int | Literal["auto"] = "auto"
    """Neighbours,
    on two lines."""
    seeds: tuple[int, ...] = ()
    """Seeds."""
    key: Literal["path", "content"] | None = None
    """What one image is."""
    hidden: tyro.conf.Suppress[int] = 3
    """Not a flag."""
    json: bool = False
    """As JSON."""
    settings: Annotated[Nested, tyro.conf.arg(name="")] = Nested()


def test_flags_by_hand():
    found = {flag.name: flag for flag in described_flags(Example)}
    assert list(found) == ["images", "out", "k1", "seeds", "key", "json", "rate"]
    assert (found["images"].spellings, found["out"].spellings) == ((), ("-o", "--out"))
    assert [name for name, flag in found.items() if flag.is_required] == ["images", "out"]
    assert found["k1"].types == (int, "auto")
    assert found["k1"].explanation == "Neighbours, on two lines."
    assert (found["seeds"].types, found["seeds"].is_many) == ((int,), True)
    assert found["key"].types == ("path", "content")
    assert found["json"].is_switch
    assert found["rate"].default == 0.5
    assert [found["k1"].accepts(word) for word in ("3", "auto", "-1", "3.5", "AUTO", "")] == [
        True,
        True,
        True,
        *[False] * 3,
    ]
    values = described_flags(Example, Example("x", out="y", settings=Nested(rate=2.0)))
    assert values[-1].default == 2.0
