"""Corrections of a folder: what is written, what is refused, and tables that were edited elsewhere."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import spcl
from spcl.cli.main import main
from spcl.corrections.edited_table import take_table
from spcl.corrections.group_table import read_group_table
from tests.cli.test_commands import refused
from tests.fakes import draw
from tests.input_errors import input_error


@pytest.fixture
def out(tmp_path, monkeypatch) -> Path:
    """A folder of groups: 0 has a to d, 1 has e to g, 2 has h and i; j is in no group."""
    monkeypatch.chdir(tmp_path)
    rows = ["path,group,confidence"]
    for at, letter in enumerate("abcdefghij"):
        path = draw(tmp_path / "crops" / f"{letter}.jpg", at)
        rows.append(f"{path},{(0, 0, 0, 0, 1, 1, 1, 2, 2, -1)[at]},{(0.9 - at / 100) * (at < 9):.4f}")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/groups.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "out/summary.json").write_text(json.dumps({"made_by": "spcl cluster", "groups": 3}))
    return tmp_path / "out"


def groups_in(path: Path, column: str = "group") -> dict[str, str]:
    """The letters of each group of a table."""
    found: dict[str, str] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            found[row[column]] = found.get(row[column], "") + Path(row["path"]).stem
    return found


def test_the_parquet_table_holds_what_the_csv_table_holds(out):
    spcl.correct(out, "merge", ["0", "1"])
    spcl.correct(out, "name", ["0", "Bella"])
    table = pq.read_table(out / "groups.parquet")
    assert [(field.name, str(field.type)) for field in table.schema] == [
        ("path", "string"),
        ("group", "int64"),
        ("confidence", "double"),
        ("identity", "string"),
    ]
    assert table.schema.field("group").metadata[b"description"].startswith(b"number of its group")
    with (out / "groups.csv").open(newline="") as file:
        expected = list(csv.DictReader(file))
    written = [{name: "" if value is None else str(value) for name, value in row.items()} for row in table.to_pylist()]
    for row, other in zip(written, expected, strict=True):
        assert float(row.pop("confidence")) == float(other.pop("confidence"))
        assert row == other
    assert table.column("identity").null_count == 3


def test_a_correction_writes_the_table_and_keeps_what_was_found(out):
    found = (out / "groups.csv").read_bytes()
    result = spcl.correct(out, "merge", ["0", "1"], who="Anna")
    assert result.number == 1
    assert result.changes() == ["group 0 has 7 images (before: 4)", "group 1 has no image any more"]
    assert groups_in(out / "groups.csv") == {"0": "abcdefg", "2": "hi", "-1": "j"}
    assert (out / "groups_found.csv").read_bytes() == found
    spcl.correct(out, "name", ["0", "Bella the cow"])
    assert groups_in(out / "groups.csv", "identity") == {"Bella the cow": "abcdefg", "": "hij"}
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["made_by"], summary["groups"], summary["corrections"]["used"]) == ("spcl cluster", 3, 2)
    assert spcl.read_groups(out).to_dict()["groups"][0] == {
        "group": 0,
        "name": "Bella the cow",
        "images": 7,
        "by_hand": 7,
        "surest": str(out.parent / "crops/a.jpg"),
    }


def test_undo_gives_the_bytes_of_before(out):
    before = (out / "groups.csv").read_bytes()
    for action, words in (
        ("merge", ["0", "1"]),
        ("split", ["0", "c.jpg", "d.jpg"]),
        ("move", ["crops/j.jpg", "2"]),
        ("move", ["a.jpg", "none"]),
        ("move", ["b.jpg", "i.jpg", "new"]),
    ):
        kept = (out / "groups.csv").read_bytes()
        spcl.correct(out, action, words)
        assert (out / "groups.csv").read_bytes() != kept, action
        spcl.correct(out, "undo")
        assert (out / "groups.csv").read_bytes() == kept, action
    assert before == kept


def test_each_action_from_the_command_line(out, capsys):
    for line in (
        "merge 0 1",
        "split 0 c.jpg d.jpg",
        "move j.jpg 2",
        "name 2 Zora",
        "confirm 0 Zora",
        "deny 0 Zora",
        "undo 2",
    ):
        main(["correct", "out", *shlex.split(line)])
    printed = capsys.readouterr().out
    assert "group 3 is new, with 2 images" in printed
    assert "corrections: 5 used, 1 undone" in printed
    assert groups_in(out / "groups.csv") == {"0": "abcdefg", "2": "hij"}
    assert (out / "groups.png").read_bytes()[1:4] == b"PNG"
    main(["correct", "out"])
    assert "2  Zora       3        3  h.jpg" in capsys.readouterr().out
    main(["correct", "out", "show", "Zora", "--json"])
    assert [Path(path).stem for path in json.loads(capsys.readouterr().out)["images"]] == ["h", "i", "j"]
    main(["correct", "out", "log", "--json"])
    plain = json.loads(capsys.readouterr().out)
    assert [line["action"] for line in plain["corrections"]] == [
        *("merge", "split", "move", "name", "confirm", "confirm", "deny", "undo")
    ]


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        ("merge 0 7", "no-such-group", "the nearest numbers are 0, 1, 2"),
        ("merge 0 Bela", "no-such-group", "the nearest names are Bella"),
        ("merge 0 0", "same-group", "0 and 0"),
        ("merge 0", "missing-argument", "two or more groups"),
        ("split 0 e.jpg", "other-group", "in group 1, not in group 0"),
        ("split 0 a.jpg b.jpg c.jpg d.jpg", "whole-group", "group 0"),
        ("split 0 k.jpg", "no-such-image", "no image k.jpg"),
        ("move a.jpg 0", "same-group", "group 0 already"),
        ("move j.jpg none", "same-group", "no group already"),
        ("name 0 the cow", "too-many-arguments", "quotes"),
        ("name 0 unknown", "not-a-name", "unknown"),
        ("name 2 Bella", "same-group", "Bella already"),
        ("deny a.jpg a.jpg", "same-group", "given twice"),
        ("undo 9", "nothing-to-undo", "the last are: 1 (name)"),
        ("marry 0 1", "no-such-correction", "merge, split"),
        ("table", "missing-argument", "one table"),
        ("log 3", "too-many-arguments", "no word"),
    ],
)
def test_what_is_refused_changes_nothing(out, capsys, words, code, named):
    spcl.correct(out, "name", ["2", "Bella"])
    before = [(out / name).read_bytes() for name in ("groups.csv", "corrections.csv")]
    error = refused(["correct", "out", *shlex.split(words)], capsys)
    assert f"[{code}]" in error
    assert named in error
    assert [(out / name).read_bytes() for name in ("groups.csv", "corrections.csv")] == before


def test_no_groups_no_correction(tmp_path):
    with input_error("no-groups", tmp_path / "nowhere"):
        spcl.correct(tmp_path / "nowhere", "merge", ["0", "1"])
    with input_error("no-groups", "groups.csv"):
        spcl.correct(tmp_path, "merge", ["0", "1"])
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_a_number_has_to_be_written_as_one(out):
    spcl.correct(out, "name", ["2", "1"])
    with input_error("ambiguous-group", "group:1 or name:1"):
        spcl.correct(out, "confirm", ["1"])
    spcl.correct(out, "name", ["group:1", "Clara"])
    spcl.correct(out, "merge", ["name:1", "0"])
    assert groups_in(out / "groups.csv") == {"1": "efg", "2": "abcdhi", "-1": "j"}


def test_a_name_that_is_in_use_means_the_same_object(out):
    spcl.correct(out, "name", ["2", "Bella"])
    spcl.correct(out, "name", ["1", "Bella"])
    assert groups_in(out / "groups.csv", "identity") == {"": "abcdj", "Bella": "efghi"}


def edited(out: Path, *changes: tuple[str, str], separator: str = ";") -> Path:
    """The table of groups, with other groups for some images, as a spreadsheet saves it."""
    with (out / "groups.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["group"] = dict(changes).get(Path(row["path"]).stem, row["group"])
    lines = [separator.join(rows[0]), *(separator.join(row.values()) for row in rows)]
    (out / "groups.csv").write_text("\r\n".join(lines) + "\r\n", encoding="utf-8-sig")
    return out / "groups.csv"


def test_a_table_edited_in_a_spreadsheet_is_not_lost(out, capsys):
    spcl.correct(out, "merge", ["0", "1"])
    table = edited(out, ("d", "2"), ("h", "9"), ("i", "9"), ("a", "-1"))
    with input_error("groups-edited", "4 images", "spcl correct"):
        spcl.correct(out, "confirm", ["2"])
    result = take_table(out, table)
    assert result.number == 2
    assert groups_in(out / "groups.csv") == {"-1": "aj", "0": "bcefg", "2": "hi", "3": "d"}
    spcl.correct(out, "undo")
    assert groups_in(out / "groups.csv") == {"0": "abcdefg", "2": "hi", "-1": "j"}
    edited(out, ("h", "Zora"), ("i", "Zora"))
    main(["correct", "out", "table", "out/groups.csv"])
    assert groups_in(out / "groups.csv", "identity") == {"": "abcdefgj", "Zora": "hi"}
    assert take_table(out, out / "groups.csv").number is None
    edited(out, ("a", "2"))
    main(["correct", "out", "apply"])
    assert groups_in(out / "groups.csv", "identity") == {"": "abcdefgj", "Zora": "hi"}
    assert "corrections: 2 used, 1 undone" in capsys.readouterr().out


def test_a_table_that_was_saved_and_not_changed_is_no_edit(out):
    spcl.correct(out, "merge", ["0", "1"])
    edited(out)
    spcl.correct(out, "confirm", ["2"])
    assert groups_in(out / "groups.csv") == {"0": "abcdefg", "2": "hi", "-1": "j"}


def test_a_stop_before_the_table_is_written_is_made_good(out, monkeypatch):
    """The line is in the file, the table is old: the next correction, or apply, writes both."""
    spcl.correct(out, "merge", ["0", "1"])
    old = (out / "groups.csv").read_bytes()
    spcl.correct(out, "name", ["2", "Bella"])
    (out / "groups.csv").write_bytes(old)
    summary = json.loads((out / "summary.json").read_text())
    with input_error("groups-edited", "2 images"):
        spcl.correct(out, "confirm", ["0"])
    main(["correct", "out", "apply"])
    assert groups_in(out / "groups.csv", "identity") == {"Bella": "hi", "": "abcdefgj"}
    assert json.loads((out / "summary.json").read_text()) == summary


def test_a_first_correction_that_was_killed_before_the_table_is_no_edit(out, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("spcl.corrections.corrected_groups.write_corrected", killed)
        with pytest.raises(KeyboardInterrupt):
            spcl.correct(out, "name", ["0", "Ada"])
    spcl.correct(out, "name", ["1", "Bella"])
    assert groups_in(out / "groups.csv", "identity") == {"Ada": "abcd", "Bella": "efg", "": "hij"}


def test_a_first_correction_that_was_killed_hides_no_edit(out, monkeypatch):
    monkeypatch.setattr("spcl.corrections.corrected_groups.write_corrected", lambda *_, **__: None)
    spcl.correct(out, "name", ["0", "Ada"])
    text = (out / "groups.csv").read_text()
    (out / "groups.csv").write_text(text.replace("a.jpg,0", "a.jpg,1"))
    with input_error("groups-edited", "1 images"):
        spcl.correct(out, "name", ["1", "Bella"])


def test_a_number_that_no_group_can_have_is_a_name(out):
    text = (out / "groups.csv").read_text()
    (out / "groups.csv").write_text(text.replace(",2,", f",{10**30},"))
    assert str(10**30) in read_group_table(out / "groups.csv").names.values()
    with input_error("no-such-group"):
        spcl.correct(out, "confirm", ["9" * 5000])


def test_apply_without_a_correction_changes_no_file(out, capsys):
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.iterdir()}
    main(["correct", "out", "apply"])
    assert "there is nothing to apply in out" in capsys.readouterr().out
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.iterdir()} == before
