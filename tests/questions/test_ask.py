"""``spcl ask`` and the answers to its questions."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path

import pytest
from PIL import Image

import spcl
from spcl.cli.main import main
from spcl.corrections.answers import read_answers, take_answers
from tests.cli.test_commands import refused
from tests.fakes import draw
from tests.input_errors import input_error

SMALL = shlex.split("--arch timm/test_resnet --pretrained none --device cpu --workers 0")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Six objects of eight images; two of them are torn into two groups."""
    monkeypatch.chdir(tmp_path)
    rows = ["path,group,confidence"]
    for number in range(48):
        path = draw(tmp_path / "crops" / f"{number:02d}.jpg", number // 8, number)
        rows.append(f"{path},{number // 8 if number % 8 < 4 or number >= 16 else 6 + number // 8},0.5")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/groups.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def answer(folder: Path, *, wrong: str = "") -> None:
    """Fill in the table with the truth, as a spreadsheet saves it."""
    text = (folder / "out/questions.csv").read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(text.splitlines(), delimiter=";" if ";" in text else ","))
    for row in rows:
        same = int(Path(row["path_a"]).stem) // 8 == int(Path(row["path_b"]).stem) // 8
        row["answer"] = wrong or ("Same" if same else "different")
    lines = [";".join(rows[0]), *(";".join(row.values()) for row in rows)]
    (folder / "out/questions.csv").write_text("\r\n".join(lines) + "\r\n", encoding="utf-8-sig")


def test_questions_answers_groups(folder, capsys):
    main(["ask", "out", "-n", "6", *SMALL])
    printed = capsys.readouterr().out
    assert "spcl correct out answers out/questions.csv" in printed
    with Image.open(folder / "out/questions.png") as picture:
        assert picture.height > picture.width
    answer(folder)
    assert "[already-exists]" in refused(["ask", "out", *SMALL], capsys)
    main(["correct", "out", "answers", "out/questions.csv", "--who", "Anna"])
    printed = capsys.readouterr().out
    groups = spcl.read_groups("out")
    # Whoever answers truthfully joins the torn groups, and nothing else.
    sizes = sorted(groups.references.sizes.values())
    assert sizes == [8] * 6
    assert {line.who for line in groups.log.corrections} == {"Anna"}
    asked = len(groups.log.corrections)
    assert asked == len((folder / "out/questions.csv").read_text().splitlines()) - 1
    with input_error("no-answers", "questions.csv"):
        take_answers("out", "out/questions.csv")
    main(["ask", "out", "-n", "6", "--overwrite", "--json", *SMALL])
    again = json.loads(capsys.readouterr().out)["questions"]
    known = {frozenset(pair) for pair in groups.replayed.cannot_link.tolist()}
    rows = {str(path): row for row, path in enumerate(groups.table.paths)}
    assert not known & {frozenset((rows[one["path_a"]], rows[one["path_b"]])) for one in again}


@pytest.mark.slow
def test_a_group_of_two_objects_is_divided_by_an_answer(folder, capsys):
    """Objects 2 and 3 are one group; 0 and 1 are torn. The parts are of the groups, not of the answers."""
    text = (folder / "out/groups.csv").read_text().replace(",3,0.5", ",2,0.5")
    (folder / "out/groups.csv").write_text(text)
    main(["ask", "out", "-n", "6", *SMALL])
    parts = list(csv.DictReader((folder / "out/questions_parts.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert {int(Path(row["path"]).stem) // 8 for row in parts} in ({2}, {3})
    assert len(parts) == 8
    answer(folder)
    main(["correct", "out", "answers", "out/questions.csv"])
    groups = spcl.read_groups("out")
    assert sorted(groups.references.sizes.values()) == [8] * 6
    assert [each.action for each in groups.log.corrections].count("divide") == 1
    main(["correct", "out", "undo"])
    assert sorted(spcl.read_groups("out").references.sizes.values()) == [4, 4, 4, 4, 8, 8, 16]
    capsys.readouterr()
    # Without the table of parts the pair is kept apart, and the groups follow when they are made again.
    (folder / "out/questions_parts.csv").unlink()
    main(["correct", "out", "answers", "out/questions.csv"])
    assert sorted(spcl.read_groups("out").references.sizes.values()) == [8, 8, 8, 8, 16]


def test_another_word_is_no_answer(folder, capsys):
    main(["ask", "out", "-n", "2", *SMALL])
    answer(folder, wrong="perhaps")
    with input_error("malformed-table", "'perhaps'", "line 2"):
        read_answers(folder / "out/questions.csv")
    answer(folder, wrong="?")
    found = read_answers(folder / "out/questions.csv")
    assert (found.same, found.different, found.open) == ((), (), 2)
    with input_error("no-such-column", "'path_a'"):
        read_answers(folder / "out/groups.csv")
    assert "[no-groups]" in refused(["ask", "crops", *SMALL], capsys)
