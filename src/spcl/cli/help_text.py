"""The help text of every command: usage, required arguments, options under titles, one example.

The words are those of the options' docstrings. What a value is called and under which title a flag stands is decided
here, for all commands at once.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from typing import Any

from spcl.cli.computing import CommandOptions
from spcl.cli.described_flags import Flag, described_flags

_WIDEST, _INDENT = 100, 28

TITLES: dict[str, frozenset[str]] = {
    title: frozenset(names.split())
    for title, names in {
        "arguments": "dataset dataset-source dataset-target",
        "options": "",
        "settings": "recipe config set seed",
        "data": "video tracks travel boxes source target data-dir images columns time-format layout camera start fps "
        "first-frame reference identity-from duplicates pairs no-tracks range best min-visible min-confidence min-size "
        "height width check on-broken evaluate by kind train-identities test-identities images-per-camera",
        "encoder": "checkpoint encoder arch pretrained domain from-checkpoint from-domain features dropout pooling "
        "last-stride batch-norm-group flip calibration engine onnx-file",
        "clustering": "k1 k2 eps eps-gap min-samples search",
        "training": "epochs iters batch-size num-instances lr weight-decay step-size eval-step accumulate "
        "source-only momentum temperature temp",
        "output": "logs-dir out output gallery groups key overwrite excel folders per-query worst picture save-picture "
        "work-dir report log resume resume-or-start restart checkpoint-iters print-freq json",
        "address": "host port token-file",
        "limits": "max-image-mb max-image-megapixels max-images max-waiting",
        "computing": "threads workers device devices precision compile memory image-memory cache-dir",
    }.items()
}
"""Flags of each title, in the order of the help text; a flag of none stands under "options"."""

_ELSEWHERE = {
    ("spcl evaluate", "batch-size"): "computing",
    ("test.py", "batch-size"): "computing",
    ("test.py", "resume"): "encoder",
}

VALUES = {
    name: value
    for value, names in {
        "FILE": "travel pairs resume config checkpoint output calibration picture save-picture per-query "
        "from-checkpoint report token-file onnx-file",
        "FOLDER": "data-dir logs-dir out work-dir gallery cache-dir folders hub groups",
        "OWNER/NAME": "push",
        "SUBJECT": "subjects",
        "RUN": "runs",
        "DATA": "data source target evaluate dataset dataset-source dataset-target",
        "IMAGES": "images query new reference",
        "IMAGE": "first second",
        "NETWORK": "arch",
        "FILE|imagenet": "encoder",
        "FILE|auto|none": "pretrained",
        "NAME|FILE": "recipe",
        "NAME=VALUE,...": "set",
        "NAME,...": "log",
        "COLUMN=NAME,...": "columns",
        "VIDEO": "video",
        "TRACKS": "tracks",
        "CAMERA=FILE": "boxes",
        "NAME": "camera who",
        "TIME": "start",
        "FORMAT": "time-format",
        "FILTER": "where",
        "LOW:HIGH|auto|full": "range",
        "DEVICE": "device devices",
        "HOST": "host",
        "HOST:PORT": "address",
        "CAMERA": "camera-not",
    }.items()
    for name in names.split()
}
"""What the value of a flag of text is called."""

_POSITIONALS = {
    "gallery": "GALLERY",
    "query": "QUERY",
    "output": "OUTPUT",
    "recipe": "RECIPE",
    "checkpoint": "CHECKPOINT",
    "folder": "FOLDER",
    "action": "ACTION",
    "words": "WORDS",
    "subjects": "SUBJECT",
}


def help_text(kind: type[CommandOptions], prog: str, default: Any = None) -> str:
    """The help text of a command.

    Args:
        kind: Its options.
        prog: Its name, ``spcl train``.
        default: Options whose values are shown as defaults; None: those of ``kind``.
    """
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    flags = described_flags(kind, default)
    lines = [f"usage: {prog} {kind.usage}".rstrip(), ""]
    for paragraph in textwrap.dedent(" " * 4 + (kind.__doc__ or "")).strip().split("\n\n"):
        lines += [*textwrap.wrap(" ".join(paragraph.split()), width), ""]
    for title, group in _grouped(flags, prog).items():
        if group:
            lines += [f"{title}:", *(line for flag in group for line in _entry(flag, width)), ""]
    lines += ["example:", f"  {kind.example}"]
    return "\n".join(lines)


def _grouped(flags: Sequence[Flag], prog: str) -> dict[str, list[Flag]]:
    groups: dict[str, list[Flag]] = {title: [] for title in TITLES}
    for flag in flags:
        groups["arguments" if flag.is_required or not flag.spellings else title_of(flag.name, prog)].append(flag)
    return groups


def title_of(name: str, prog: str) -> str:
    """The title under which a flag of a command stands."""
    found = (title for title, names in TITLES.items() if name in names)
    return _ELSEWHERE.get((prog, name)) or next(found, "options")


def _entry(flag: Flag, width: int) -> list[str]:
    words = ", ".join(flag.spellings)
    shown = f"  {words} {value_of(flag)}".rstrip() if flag.spellings else f"  {value_of(flag)}"
    text = flag.explanation
    if flag.is_required:
        text += " (required)"
    elif flag.default not in ("", ()) and flag.default is not None and flag.default is not False:
        text += f" (default: {_shown(flag.default)})"
    lines = textwrap.wrap(text, width - _INDENT, break_on_hyphens=False)
    if len(shown) > _INDENT - 2:
        return [shown, *(" " * _INDENT + line for line in lines)]
    first, *rest = lines or [""]
    return [f"{shown:<{_INDENT}}{first}", *(" " * _INDENT + line for line in rest)]


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def value_of(flag: Flag) -> str:
    """What stands for the value of a flag in help texts and errors; empty for a switch."""
    if flag.is_switch:
        return ""
    if not flag.spellings and flag.name in _POSITIONALS:
        name = _POSITIONALS[flag.name]
    else:
        name = "|".join(dict.fromkeys(_called(each, flag.name) for each in flag.types))
    return f"{name} ..." if flag.is_many else name


def _called(kind: type | str | int, name: str) -> str:
    if not isinstance(kind, type):
        return str(kind)
    return {int: "N", float: "X"}.get(kind) or VALUES.get(name, "TEXT")
