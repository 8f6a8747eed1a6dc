"""Tables that a spreadsheet opens: cells that it would compute are text, and come back as they were."""

from __future__ import annotations

import csv

from hypothesis import given
from hypothesis import strategies as st

from spcl.data.formula_cells import as_text, from_text
from spcl.data.table_files import read_table, write_table
from spcl.data.table_paths import paths_of

FORMULAS = ['=HYPERLINK("http://x","a").png', "+1+1.png", "-2+3.png", "@SUM(1).png", "'=1.png", "\t=1.png", "''-x.png"]
PLAIN = ["a.png", "'a.png", "gate-1/=x.png", "1", "3.5e-2", "'"]


def test_formulas_are_text_for_a_spreadsheet_and_come_back(tmp_path):
    names = FORMULAS + PLAIN
    rows = [[as_text(name), as_text(name)] for name in names]
    write_table(tmp_path / "a.csv", ("path", "identity"), rows, mark=True)
    with (tmp_path / "a.csv").open(encoding="utf-8-sig", newline="") as file:
        written = [row[0] for row in csv.reader(file)][1:]
    assert not [cell for cell in written[: len(FORMULAS)] if cell[0] in "=+-@\t"]
    assert written[len(FORMULAS) :] == PLAIN
    assert read_table(tmp_path / "a.csv").columns["path"] == names


def test_a_table_for_programs_has_names_as_they_are(tmp_path):
    write_table(tmp_path / "a.csv", ("path",), ((name,) for name in FORMULAS))
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        assert [row[0] for row in csv.reader(file)][1:] == FORMULAS
    assert read_table(tmp_path / "a.csv").columns["path"] == FORMULAS


@given(st.text())
def test_every_text_comes_back(text):
    assert from_text(as_text(text)) == text


def test_a_name_with_control_characters_is_found_again(tmp_path):
    names = ["\x1b]0;title\x07.png", "a\nb.png", "\x7f\x9b31m.png", "\x01.png"]
    for name in names:
        (tmp_path / name).touch()
    write_table(tmp_path / "a.csv", ("path",), ((name,) for name in names))
    found = paths_of(read_table(tmp_path / "a.csv"))
    assert [path.name for path in found.paths] == names and all(found.is_there)
