"""The runs of a sweep: every combination of settings and seeds, checked before the first of them starts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import product
from pathlib import Path
from typing import Any
from zlib import crc32

from spcl.config import Recipe, overlay, to_values
from spcl.errors import InputError
from spcl.kinds import KINDS, MOVED
from spcl.nested_text import toml_of
from spcl.settings import flat_values, kind_of

_OWN = {
    "run.logs_dir": "each run of a sweep has its folder below --logs-dir",
    "run.seed": "seeds are given with --seed",
    "data.target": "the target is given as DATA",
}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_LONGEST_NUMBER = 100


@dataclass(frozen=True)
class PlannedRun:
    """A run of a sweep.

    Attributes:
        folder: Folder of the run.
        recipe: All settings of the run.
        varied: The settings in which the runs of the sweep differ, by dotted name, the seed last.
    """

    folder: Path
    recipe: Recipe
    varied: Mapping[str, Any]

    @property
    def words(self) -> str:
        """The settings of the run that differ, in one line."""
        return ", ".join(f"{name} {value}" for name, value in self.varied.items())


def parsed_settings(texts: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """Parse ``labels.eps=0.5,0.6`` as a name and its values.

    A value is a number, true, false, or a word; a list of TOML, ``["a,b", "c"]``, can contain words with commas.

    Raises:
        InputError: If a text has no name or no value, or a name is given twice.
    """
    settings: dict[str, tuple[Any, ...]] = {}
    for text in texts:
        name, equals, given = (part.strip() for part in text.partition("="))
        if not name or not equals or not given:
            raise InputError(
                f"--set is {text!r}; expected NAME=VALUE or NAME=VALUE,VALUE: labels.eps=0.5,0.6",
                code="setting-not-understood",
            )
        if name in settings:
            raise InputError(
                f"--set gives {name} twice; give all its values at once: {name}=VALUE,VALUE", code="value-given-twice"
            )
        settings[name] = _values(given, text)
    return settings


def plan(
    recipe: Recipe, *, seeds: Sequence[int] = (), settings: Mapping[str, Any] | None = None, logs_dir: Path
) -> list[PlannedRun]:
    """Give a run for every combination of settings and seeds.

    Args:
        recipe: The settings that all runs have in common, data included.
        seeds: Seeds, one run for each; empty: the seed of the recipe.
        settings: A value or a sequence of values for each dotted name.
        logs_dir: Folder in which each run has a folder, named after the settings that differ.

    Raises:
        InputError: If a setting is unknown, a value is out of range, or two runs would be the same.
    """
    choices = {name: _choices(value) for name, value in (settings or {}).items()}
    for name, values in choices.items():
        _check_name(name, recipe)
        if not values:
            raise InputError(f"{name} has no value", code="missing-value")
        if len(set(map(repr, values))) < len(values):
            raise InputError(f"{name} has a value twice: {', '.join(map(str, values))}", code="value-given-twice")
    seeds = tuple(seeds) or (recipe.run.seed,)
    if len(set(seeds)) < len(seeds):
        raise InputError(f"a seed is given twice: {' '.join(map(str, seeds))}", code="value-given-twice")
    runs = []
    for combination in product(*choices.values()):
        own = dict(zip(choices, combination, strict=True))
        varied = {name: value for name, value in own.items() if len(choices[name]) > 1}
        chosen = with_values(recipe, own)
        for seed in seeds:
            every = {**varied, "seed": seed}
            folder = logs_dir / _folder_name(every)
            of_run = {"run": {"seed": seed, "logs_dir": str(folder)}}
            runs.append(PlannedRun(folder, overlay(chosen, of_run, "sweep"), every))
    return runs


def with_values(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """Give a recipe with settings replaced by dotted name; ``losses.0.temperature`` is a setting of the first term.

    A checkpoint that gives the encoder determines the settings of the network, as in training.

    Raises:
        InputError: For an unknown setting, a value out of range, or a file that is no checkpoint.
    """
    nested: dict[str, Any] = {}
    for name, value in values.items():
        section, _, rest = name.partition(".")
        if section == "losses":
            terms = nested.setdefault("losses", [{"kind": kind_of("losses", term, KINDS)} for term in recipe.losses])
            number, setting = _of_term(rest, recipe)
            terms[number][setting] = value
        else:
            nested.setdefault(section, {})[rest] = value
    checkpoint = nested.get("network", {}).get("from_checkpoint", recipe.network.from_checkpoint)
    if checkpoint:
        from spcl.training_run.train import over_checkpoint

        recipe = over_checkpoint(recipe, checkpoint, nested.get("network", {}).get("arch"))
    return overlay(recipe, nested, "--set")


def _values(given: str, text: str) -> tuple[Any, ...]:
    if not given.startswith("["):
        return tuple(_value(each.strip()) for each in given.split(","))
    try:
        return tuple(toml_of(f"values = {given}")["values"])
    except ValueError as error:
        raise InputError(
            f'--set is {text!r}; {given} is no list of TOML, such as ["a", "b"]: {error}',
            code="setting-not-understood",
        ) from error


def _value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    # Python converts no text of some thousand digits; such a value is refused as text.
    if len(text) <= _LONGEST_NUMBER and _NUMBER.fullmatch(text):
        return int(text) if text.lstrip("+-").isdecimal() else float(text)
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def _choices(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)


def _check_name(name: str, recipe: Recipe) -> None:
    """Raise an ``InputError`` for a name that is no setting; the settings of a part are checked by its kind."""
    if name in _OWN:
        raise InputError(f"a sweep cannot set {name}: {_OWN[name]}", code="option-does-not-apply")
    known = [known for known in flat_values(to_values(recipe)) if known not in _OWN]
    section, _, rest = name.partition(".")
    former = [".".join(old) for old in MOVED]
    if name in (*known, *former) or (rest and section in KINDS):
        return
    same = [full for full in known if full.rpartition(".")[2] == name.rpartition(".")[2]]
    near = same or get_close_matches(name, [*known, *(full.rpartition(".")[2] for full in known)], n=1)
    near = [full for full in known if full in near or full.rpartition(".")[2] in near]
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "spcl train --help lists the settings"
    raise InputError(f"there is no setting {name!r}; {hint}", code="no-such-setting")


def _of_term(name: str, recipe: Recipe) -> tuple[int, str]:
    """Parse ``0.temperature`` as a term of the loss and its setting; ``temperature`` if only one term has it."""
    number, dot, setting = name.partition(".")
    if not dot:
        having = [at for at, term in enumerate(recipe.losses) if hasattr(term, name)]
        if len(having) != 1:
            several = "several terms of the loss have" if having else "no term of the loss has"
            raise InputError(f"{several} a setting {name!r}; say which term: losses.0.{name}", code="ambiguous-setting")
        return having[0], name
    if not number.isdecimal() or int(number) >= len(recipe.losses):
        last = len(recipe.losses) - 1
        raise InputError(
            f"there is no setting 'losses.{name}': the terms of the loss are losses.0 to losses.{last}",
            code="no-such-setting",
        )
    return int(number), setting


def _folder_name(varied: Mapping[str, Any]) -> str:
    """Give ``eps-0.5_seed-1``; names with replaced letters and long names end with a checksum, so that they differ."""
    short = [name.rpartition(".")[2] for name in varied]
    names = short if len(set(short)) == len(short) else list(varied)
    exact = "_".join(f"{name}-{value}" for name, value in zip(names, varied.values(), strict=True))
    usable = re.sub(r"[^\w.+-]+", "-", exact)[:100]
    return usable if usable == exact else f"{usable}_{crc32(exact.encode()):08x}"
