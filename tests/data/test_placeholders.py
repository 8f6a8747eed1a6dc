"""Words for "not known" are nobody's name."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from spcl.data.placeholders import (
    is_placeholder,
    note_of_a_dominant_identity,
    note_of_placeholders,
    without_placeholders,
)


@pytest.mark.parametrize(
    "word",
    [
        "unknown",
        "Unknown ",
        "UNNAMED",
        "-1",
        "-1.0",
        -1,
        -1.0,
        np.int64(-1),
        "none",
        "N/A",
        "n.a.",
        "na",
        "<NA>",
        "#N/A",
        "null",
        "NaN",
        "?",
        "???",
        "-",
        "--",
        "—",
        "...",
        "",
        " ",
        "(unknown)",
        "not known",
        "No ID",
        "onbekend",
        "Desconhecida",
        "okänd",
        "oka\u0308nd",
        "неизвестно",
        "未知",
        "不明",
        "Non identifié",
        "N.N.",
        "k.A.",
        "N/D",
        "#NV",
        "unidentified",
        "_",
    ],
)
def test_a_placeholder(word):
    assert is_placeholder(word)


@pytest.mark.parametrize(
    "word",
    [
        "anna",
        "0",
        0,
        1,
        "-2",
        "-10",
        "007",
        "Noname7",
        "unknown 2",
        "🐄",
        "株",
        "x",
        "no",
        "NN",
        "sn",
        "Ka",
        True,
        None,
        "1-1",
    ],
)
def test_a_name(word):
    assert not is_placeholder(word)


def test_placeholders_are_counted_as_they_are_written():
    kept, found = without_placeholders(["anna", "Unknown", None, " Unknown", "?", "bert", -1, ""])
    assert kept == ["anna", None, None, None, None, "bert", None, None]
    assert found == Counter({"Unknown": 2, "?": 1, "-1": 1})
    assert note_of_placeholders(found, "identity") == (
        "identity: 4 cells hold 'Unknown' (2), '?' (1), '-1' (1) and count as unknown",
    )
    assert note_of_placeholders(Counter(), "identity") == ()


def test_an_identity_with_far_more_images_than_the_rest():
    herd = [f"cow{number % 6}" for number in range(24)]
    (note,) = note_of_a_dominant_identity([*herd, *["sans nom"] * 36, None])
    assert "'sans nom' has 36 images" in note and "leave those cells empty" in note
    assert note_of_a_dominant_identity({**Counter(herd), "sans nom": 36}) == (note,)
    assert note_of_a_dominant_identity([f"cow{number % 5}" for number in range(20)] + ["wer?"] * 12)
    assert note_of_a_dominant_identity([str(number % 1000) for number in range(4000)] + ["wer?"] * 36)
    for natural in (
        herd,
        [*herd, *["cow0"] * 5],
        # A long tail: many of one or two images, some of dozens.
        [str(number % (1 + number // 3)) for number in range(400)],
        ["a"] * 30 + ["b"] * 30 + herd,
        ["a"] * 90 + ["b", "c"],
        ["a"] * 20 + ["b"] * 9 + ["c"] * 8 + ["d"] * 5 + ["e"] * 5,
        # Three times the others, among so many that its pairs are few.
        [str(number % 100) for number in range(400)] + ["a"] * 12,
        ["a"] * 9 + ["b", "c", "d", "e"],
        [],
    ):
        assert note_of_a_dominant_identity(natural) == ()
