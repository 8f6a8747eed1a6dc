"""Settings objects from plain values and back: frozen dataclasses, some of which are chosen by a ``kind``.

The sections and the kinds are defined in ``config.py``; this module handles dataclasses and plain values only.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from spcl.errors import InputError

T = TypeVar("T")
Kinds = Mapping[str, Mapping[str, str]]
"""For each section that is chosen by a kind: the names of the kinds, and where each is, as ``module:Name``."""

NO_PART, OPTIONAL = "none", ("teacher",)
"""The kind of a section that is left out, and the sections that may be."""


def overlaid(base: T, values: Mapping[str, Any], where: str, *, kinds: Kinds, folder: Path | None = None) -> T:
    """Give a copy of a settings object with some values replaced.

    Args:
        base: A dataclass whose fields are values, dataclasses, or parts that are chosen by a kind.
        values: The new values; sections as nested mappings, several parts as a list of mappings.
        where: Name of the origin of the values in error messages.
        kinds: Names of the kinds; a kind may also be ``module:Name``.
        folder: Folder that is searched for modules, besides the import path.

    Raises:
        InputError: For an unknown name, a wrong type, a value out of range, or a kind that cannot be loaded.
    """
    if not is_dataclass(base):
        raise InputError(
            f"{where}: {type(base).__name__} is no dataclass and takes no settings; got {', '.join(values)}",
            code="no-such-setting",
        )
    known = {entry.name: getattr(base, entry.name) for entry in fields(base)}
    for name, value in values.items():
        if name not in known:
            raise _unknown(name, list(known), where)
        place = f"{where} [{name}]"
        if name in kinds:
            known[name] = _parts(name, known[name], value, place, kinds, folder)
        elif is_dataclass(known[name]):
            if not isinstance(value, Mapping):
                raise InputError(
                    f"{where}: {name!r} is a section; write its settings under [{name}]", code="setting-not-understood"
                )
            known[name] = overlaid(known[name], value, place, kinds={})
        else:
            known[name] = _typed(value, _types_of(type(base)).get(name), f"{where}: {name}")
    return _made(type(base), known, where)


def plain_values(settings: Any, kinds: Kinds) -> dict[str, Any]:
    """Give every setting as plain values, with the kind of each part; None values are left out."""
    values: dict[str, Any] = {}
    for entry in fields(settings):
        part = getattr(settings, entry.name)
        if part is None:
            continue
        if entry.name not in kinds:
            values[entry.name] = asdict(part)
        elif isinstance(part, tuple):
            values[entry.name] = [_plain_part(entry.name, each, kinds) for each in part]
        else:
            values[entry.name] = _plain_part(entry.name, part, kinds)
    return values


def flat_values(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Give plain values on one level: ``labels.k1``, ``losses.0.kind``."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        is_list = isinstance(value, list) and all(isinstance(each, Mapping) for each in value)
        nested = {str(at): each for at, each in enumerate(value)} if is_list else value
        flat |= flat_values(nested, f"{prefix}{name}.") if isinstance(nested, Mapping) else {f"{prefix}{name}": value}
    return flat


def kind_of(section: str, part: Any, kinds: Kinds) -> str:
    """Give the kind of a part or of its settings: a name of the package, otherwise ``module:Name``."""
    place = f"{type(part).__module__}:{type(part).__qualname__}"
    return next((name for name, known in kinds[section].items() if known == place), place)


def _plain_part(section: str, part: Any, kinds: Kinds) -> dict[str, Any]:
    own = asdict(part) if is_dataclass(part) and not isinstance(part, type) else {}
    return {"kind": kind_of(section, part, kinds)} | {name: _plain(value) for name, value in own.items()}


def _plain(value: Any) -> Any:
    """Give a value that TOML and safe loading support; for other values, their text."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    return value if isinstance(value, str | int | float | bool) else repr(value)


def _parts(section: str, base: Any, value: Any, where: str, kinds: Kinds, folder: Path | None) -> Any:
    """Give the part of a section, or the parts of a section with several."""
    if isinstance(base, tuple):
        if not isinstance(value, list | tuple) or not all(isinstance(each, Mapping) for each in value):
            raise InputError(
                f"{where}: expected a list; write each one as [[{section}]]", code="setting-not-understood"
            )
        bases = {kind_of(section, part, kinds): part for part in base}
        # The kind may be of any type here: _part checks it.
        return tuple(_part(section, bases.get(str(each.get("kind"))), each, where, kinds, folder) for each in value)
    if not isinstance(value, Mapping):
        raise InputError(
            f"{where}: {section!r} is a section; write its settings under [{section}]", code="setting-not-understood"
        )
    return _part(section, base, value, where, kinds, folder)


def _part(section: str, base: Any, value: Mapping[str, Any], where: str, kinds: Kinds, folder: Path | None) -> Any:
    given = {name: each for name, each in value.items() if name != "kind"}
    kind = value.get("kind", None if base is None else kind_of(section, base, kinds))
    if kind == NO_PART and section in OPTIONAL:
        return None
    if not isinstance(kind, str):
        raise InputError(
            f"{where}: the kind is missing; give kind = {' or '.join(map(repr, kinds[section]))}", code="missing-kind"
        )
    if base is not None and kind == kind_of(section, base, kinds):
        return overlaid(base, given, where, kinds={}) if given else base
    return _of_kind(_class_of(section, kind, where, kinds, folder), given, where)


def _of_kind(kind: type, values: Mapping[str, Any], where: str) -> Any:
    """Build a settings object from its values; settings that are not given have their defaults."""
    if not is_dataclass(kind):
        if values:
            raise InputError(
                f"{where}: {kind.__name__} is no dataclass and takes no settings; got {', '.join(values)}",
                code="no-such-setting",
            )
        return _made(kind, {}, where)
    known, types = [entry.name for entry in fields(kind) if entry.init], _types_of(kind)
    for name in values:
        if name not in known:
            raise _unknown(name, known, where)
    typed = {name: _typed(value, types.get(name), f"{where}: {name}") for name, value in values.items()}
    return _made(kind, typed, where)


def _made(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    try:
        return kind(**values)
    except InputError as error:
        raise InputError(f"{where}: {error}", code=error.code) from error
    except TypeError as error:
        raise InputError(
            f"{where}: {kind.__name__} cannot be made of these settings: {error}", code="kind-not-usable"
        ) from error


def _class_of(section: str, kind: str, where: str, kinds: Kinds, folder: Path | None) -> type:
    """Give the settings class of a kind; a kind of the user is imported."""
    place = kinds[section].get(kind, kind)
    module, colon, name = place.partition(":")
    if not colon or not module or not name:
        near = get_close_matches(kind, kinds[section], n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(kinds[section])}"
        raise InputError(
            f"{where}: there is no kind {kind!r}; {hint} A kind of your own is given as 'module:Name'",
            code="no-such-kind",
        )
    for path in (str(folder or Path()), str(Path.cwd())):
        # Last, so that no module of the user hides a library.
        if place == kind and str(Path(path).resolve()) not in sys.path:
            sys.path.append(str(Path(path).resolve()))
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{where}: kind {kind!r} cannot be loaded: {error}", code="kind-not-loadable") from error
    if not isinstance(found, type):
        raise InputError(
            f"{where}: kind {kind!r} is no class; give a class that has build(context), or that is the part itself",
            code="kind-not-usable",
        )
    return found


def _unknown(name: str, known: list[str], where: str) -> InputError:
    near = get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
    return InputError(f"{where}: unknown setting {name!r}{hint}", code="no-such-setting")


def _types_of(kind: type) -> dict[str, Any]:
    """Give the types of the fields; empty for a class of the user whose annotations cannot be resolved."""
    try:
        return get_type_hints(kind)
    except NameError:
        return {}


def _typed(value: Any, expected: Any, where: str) -> Any:
    if get_origin(expected) in (Union, UnionType) and get_origin(get_args(expected)[1]) is Literal:
        kind, words = get_args(expected)  # a number or one of some words
        if isinstance(value, str) and value not in get_args(words):
            raise InputError(
                f"{where} is {value!r}; expected {kind.__name__} or {', '.join(get_args(words))}",
                code="setting-not-understood",
            )
        return value if isinstance(value, str) else _typed(value, kind, where)
    if get_origin(expected) is Literal:
        if value not in get_args(expected):
            raise InputError(
                f"{where} is {value!r}; expected one of {', '.join(map(repr, get_args(expected)))}",
                code="setting-not-understood",
            )
        return value
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if expected not in (int, float, str, bool):  # a kind of the user checks its own values
        return value
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        raise InputError(f"{where} is {value!r}; expected {expected.__name__}", code="setting-not-understood")
    return value
