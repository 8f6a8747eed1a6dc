"""Words that mean "unknown" in a column of identities or cameras.

Two images with the identity "unknown" do not show the same object. Read as a name, such a word would become the largest
identity of a table, and most pairs of images of one identity would be wrong.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from numbers import Real
from statistics import median
from typing import Any
from unicodedata import category, normalize

_WORDS = frozenset(
    [
        "unknown",
        "unnamed",
        "unidentified",
        "unlabelled",
        "unlabeled",
        "unassigned",
        "unspecified",
        "undefined",
        "undetermined",
        "uncertain",
        "unrecognised",
        "unrecognized",
        "indeterminate",
        "untitled",
        "unk",
        "unkn",
        "unknow",
        "none",
        "null",
        "nil",
        "na",
        "nan",
        "nat",
        "missing",
        "empty",
        "blank",
        "noname",
        "noid",
        "nolabel",
        "nodata",
        "notknown",
        "notidentified",
        "notavailable",
        "notapplicable",
        "notassigned",
        "notnamed",
        "unknownid",
        "unknownidentity",
        "unknownindividual",
        "unknownperson",
        "unknownanimal",
        "unknowncamera",
        "newindividual",
        "newwhale",
        "notsure",
        "unsure",
        "unclear",
        "unid",
        "tbd",
        "unbekannt",
        "inconnu",
        "inconnue",
        "desconocido",
        "desconocida",
        "sconosciuto",
        "sconosciuta",
        "desconhecido",
        "desconhecida",
        "onbekend",
        "okänd",
        "ukendt",
        "ukjent",
        "tuntematon",
        "nieznany",
        "nieznana",
        "neznámý",
        "ismeretlen",
        "bilinmeyen",
        "неизвестно",
        "неизвестный",
        "неизвестная",
        "невідомо",
        "未知",
        "不明",
        "미상",
        "unidentifiable",
        "notidentifiable",
        "noidentity",
        "unbenannt",
        "unbestimmt",
        "nichtbekannt",
        "nonidentifié",
        "nonidentifiée",
        "indéterminé",
        "noidentificado",
        "sinidentificar",
    ]
)
_ABBREVIATIONS = frozenset(["nn", "ka", "nd", "sn", "nv"])
"""Words that mean "unknown" only if written with marks: N.N., k.A., N/D, s/n, #NV; NN is a name."""
_JUNK = re.compile(r"-1(\.0+)?")
_BETWEEN = re.compile(r"[\s_.\-/\\#<>()\[\]{}'\"*?!:]+")

_LEAST_IDENTITIES = 4
_LEAST_IMAGES, _TIMES_THE_NEXT = 10, 2
_TIMES_THE_MEDIAN, _TIMES_WITH_MOST_PAIRS = 5, 3


def is_placeholder(value: object) -> bool:
    """Whether a cell means "unknown".

    These are ``unknown``, ``unnamed``, ``none``, ``n/a``, ``null``, ``nan`` and similar words in any case and spelling
    (``<NA>``, ``Not known``), -1, and text of only punctuation (``?``, ``-``, ``--``).
    """
    if not isinstance(value, str):
        return isinstance(value, Real) and value == -1
    text = value.strip()
    if _JUNK.fullmatch(text) or all(c == " " or c in "|~=+^`" or category(c).startswith("P") for c in text):
        return True
    letters = normalize("NFC", _BETWEEN.sub("", text).casefold())
    return letters in _WORDS or (letters in _ABBREVIATIONS and any(mark in text for mark in "./#"))


def is_missing(value: object) -> bool:
    """Whether a cell is empty: None, NaN, NaT or pandas' NA, which are the values that are not equal to themselves."""
    try:
        return value is None or bool(value != value)
    except TypeError:
        return True


def without_placeholders(values: Sequence[Any]) -> tuple[list[Any], Counter[str]]:
    """Replace each placeholder by None, and count the placeholders by their text."""
    found: Counter[str] = Counter()
    kept: list[Any] = []
    # A column of a million cells has few distinct words.
    seen: dict[Any, bool] = {}
    for value in values:
        if is_missing(value):
            kept.append(None)
            continue
        if value not in seen:
            seen[value] = is_placeholder(value)
        if seen[value] and str(value).strip():
            found[str(value).strip()] += 1
        kept.append(None if seen[value] else value)
    return kept, found


def note_of_placeholders(found: Counter[str], column: str, holders: str = "cells hold") -> tuple[str, ...]:
    """A note on the placeholders of a column, with their numbers; empty where there are none.

    Args:
        found: Number of each placeholder, from ``without_placeholders``.
        column: Name of the column.
        holders: Subject and verb of the note: ``cells hold``, or ``images lie in folders called``.
    """
    if not found:
        return ()
    words = ", ".join(f"{word!r} ({count})" for word, count in found.most_common(5))
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return (f"{column}: {sum(found.values())} {holders} {words}{more} and count as unknown",)


def note_of_a_dominant_identity(names: Sequence[Any] | Mapping[Any, int]) -> tuple[str, ...]:
    """A note if one identity has far more images than the others: its name may be a word for "unknown".

    "Far more" means at least 10 images, twice as many as the second largest identity, and 5 times the median (3 times,
    if half of all pairs of one identity are its own). With fewer than 4 identities there is no note.

    Args:
        names: Identity of each image, None where unknown; or the number of images of each identity.
    """
    number_of = Counter(names)
    number_of.pop(None, None)
    counts = number_of.most_common()
    if len(counts) < _LEAST_IDENTITIES:
        return ()
    (name, most), (_, following) = counts[:2]
    middle = median(count for _, count in counts)
    pairs = sum(count * (count - 1) // 2 for _, count in counts)
    share = most * (most - 1) // 2 / max(1, pairs)
    times = _TIMES_WITH_MOST_PAIRS if share >= 0.5 else _TIMES_THE_MEDIAN
    if most < max(_LEAST_IMAGES, times * middle, _TIMES_THE_NEXT * following):
        return ()
    return (
        f"the identity {str(name)!r} has {most} images, and the median is {middle:g}: if the name means unknown, "
        "leave those cells empty (docs/data.md)",
    )
