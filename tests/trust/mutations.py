"""Damage valid samples at random: bytes, texts, and values of JSON's kinds."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Sequence
from typing import Any

_NUMBERS = (0, 1, 2, 3, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)
_BITS = (b"\x00", b"\xff", b"\x7f", b"\x80", b"\x00" * 8, b"\xff" * 4)

WORDS = (
    "",
    " ",
    "0",
    "-1",
    "1e400",
    "-1e400",
    "nan",
    "inf",
    "-inf",
    "1.5",
    "007",
    "true",
    "null",
    "None",
    "\x00",
    "\x1b[31m",
    "\u202e",
    "é",
    "\ud800",
    "𝟙",
    "²",
    "'",
    '"',
    "''",
    '"""',
    ",",
    ";",
    "\t",
    "|",
    "\r",
    "\n",
    "\r\n",
    "\\",
    "/",
    "..",
    "../x",
    "a" * 300,
    "9" * 30,
    "9" * 5000,
    "%s",
    "{}",
    "[",
    "]",
    "[[",
    "=",
    "#",
    "2026-01-01",
    "2026-13-45 25:61",
    "0000-00-00",
    "2026-01-01T00:00:00+99:00",
    "-0",
    "1_000",
    "0x10",
    "1,5",
    "=1+1",
    "@x",
    "<b>",
    "\ufeff",
    "sep=;",
    "unknown",
    "-inf",
)
"""Words that programs read wrongly."""

VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    10**12,
    -(10**12),
    10**30,
    0.0,
    -0.5,
    0.5,
    1e-300,
    1e300,
    math.nan,
    math.inf,
    -math.inf,
    "",
    "a",
    "nan",
    "../x",
    "\x00",
    "é" * 3,
    [],
    [0],
    [0, 0, 0],
    ["a"],
    [None],
    [math.nan, 1],
    {},
    {"a": 1},
    {"": None},
    [[1]],
    [[[[]]]],
    {"a": {"b": {"c": []}}},
    [1] * 100,
)
"""Values of JSON's kinds, usual and unusual."""


def damaged_bytes(rng: random.Random, samples: Sequence[bytes]) -> bytes:
    """A sample with some bits flipped, bytes cut, inserted, repeated or exchanged, or with a part of another one."""
    data = bytearray(rng.choice(samples))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        _damage_once(rng, data, samples)
    return bytes(data)


def _damage_once(rng: random.Random, data: bytearray, samples: Sequence[bytes]) -> None:
    # Headers are at the beginning, and those of zip and Parquet at the end.
    most = len(data)
    at = min(most, rng.choice((rng.randrange(most + 1), rng.randrange(65), most - rng.randrange(min(most, 64) + 1))))
    length = rng.choice((1, 2, 4, 16, rng.randrange(most + 1)))
    what = rng.randrange(9)
    if what <= 1 and at < most:
        data[at] ^= 1 << rng.randrange(8)
    elif what == 2 and at < most:
        data[at] = rng.randrange(256)
    elif what == 3:
        del data[at:]
    elif what == 4:
        del data[at : at + length]
    elif what == 5:
        data[at:at] = rng.choice((rng.choice(_BITS), rng.randbytes(min(length, 64)), bytes(data[at : at + length])))
    elif what == 6:
        size = rng.choice((1, 2, 4, 8))
        number = rng.choice(_NUMBERS) % 2 ** (8 * size)
        data[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))
    elif what == 7:
        other = rng.choice(samples)
        from_ = rng.randrange(len(other) + 1)
        data[at : at + length] = other[from_ : from_ + length]
    else:
        data[at : at + length] = bytes(len(data[at : at + length]))


def damaged_text(rng: random.Random, samples: Sequence[str], words: Sequence[str] = WORDS) -> str:
    """A sample with words put in, characters and lines cut, repeated or exchanged, or with a part of another one."""
    text = rng.choice(samples)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        what = rng.randrange(7)
        at, to = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
        if what == 0:
            text = text[:at] + rng.choice(words) + text[at:]
        elif what == 1:
            text = text[:at] + rng.choice(words) + text[min(at + rng.choice((1, 2, 5)), len(text)) :]
        elif what == 2:
            text = text[:at] + text[min(to, at + 10) :]
        elif what == 3:
            text = text[:at]
        elif what == 4:
            other = rng.choice(samples)
            text = text[:at] + other[rng.randrange(len(other) + 1) :]
        else:
            text = _other_lines(rng, text, words)
    return text


def _other_lines(rng: random.Random, text: str, words: Sequence[str]) -> str:
    """The text with one line removed, repeated, moved, or with one of its cells exchanged."""
    lines = text.split("\n")
    at = rng.randrange(len(lines))
    what = rng.randrange(4)
    if what == 0:
        del lines[at]
    elif what == 1:
        lines.insert(rng.randrange(len(lines) + 1), lines[at])
    elif what == 2:
        other = rng.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    else:
        mark = rng.choice(",=: \t")
        cells = lines[at].split(mark)
        cells[rng.randrange(len(cells))] = rng.choice(words)
        lines[at] = mark.join(cells)
    return "\n".join(lines)


def encoded(rng: random.Random, text: str) -> bytes:
    """The text in an encoding, mostly UTF-8."""
    encoding = rng.choice(("utf-8",) * 8 + ("utf-16", "utf-16-le", "latin-1", "utf-8-sig", "utf-32"))
    return text.encode(encoding, "surrogatepass" if encoding.startswith("utf") else "replace")


def damaged_value(rng: random.Random, value: Any, values: Sequence[Any] = VALUES) -> Any:
    """A copy of a value of dictionaries, lists and plain values, with some of them exchanged, removed or added."""
    holder = [copy.deepcopy(value)]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        where, key = _some_place(rng, holder)
        what = rng.randrange(8)
        if what == 0 and where is not holder:
            del where[key]
        elif what == 1 and isinstance(where, dict):
            where[rng.choice((*WORDS, 1, None))] = copy.deepcopy(rng.choice(values))
        elif what == 2 and isinstance(where[key], bool | int | float):
            where[key] = rng.choice((-where[key], where[key] * 10**9, str(where[key]), [where[key]], where[key] + 0.5))
        else:
            where[key] = copy.deepcopy(rng.choice(values))
    return holder[0]


def _some_place(rng: random.Random, holder: Any) -> tuple[Any, Any]:
    """A dictionary or list in a value, and one of its keys; places further in are as likely as those before."""
    places: list[tuple[Any, Any]] = []
    waiting = [holder]
    while waiting:
        where = waiting.pop()
        for key in where if isinstance(where, dict) else range(len(where)):
            places.append((where, key))
            if isinstance(where[key], dict | list):
                waiting.append(where[key])
    return rng.choice(places)
