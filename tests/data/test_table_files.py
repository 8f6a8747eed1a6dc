"""Bytes of tables become cells: separators, encodings, quotes, line ends, names of columns."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spcl.data.table_files import read_table, write_table
from spcl.data.table_options import TableOptions
from tests.input_errors import input_error

_ROWS = "path,identity,camera\nimg é/a.jpg,Müller,1\nimg é/b.jpg,,2\n"
_CELLS = {"path": ["img é/a.jpg", "img é/b.jpg"], "identity": ["Müller", None], "camera": ["1", "2"]}


@pytest.mark.parametrize(
    ("name", "content", "note"),
    [
        ("a.csv", _ROWS.encode(), ""),
        ("a.CSV", b"\xef\xbb\xbf" + _ROWS.replace("\n", "\r\n").encode(), ""),
        ("a.csv", _ROWS.replace("\n", "\r").encode(), ""),
        ("a.csv", _ROWS.replace(",", ";").encode(), "semicolons"),
        ("a.csv", b"\n" + _ROWS.replace(",", "|").encode(), "vertical bars"),
        ("a.csv", _ROWS.replace(",", "\t").encode(), "tabs"),
        ("a.tsv", _ROWS.replace(",", "\t").encode(), ""),
        ("a.txt", _ROWS.encode(), ""),
        ("a.csv", b"sep=;\r\n" + _ROWS.replace(",", ";").replace("\n", "\r\n").encode(), "semicolons"),
        ("a.csv", _ROWS.encode("utf-16"), "UTF-16"),
        ("a.csv", _ROWS.encode("utf-16-le"), "UTF-16"),
        ("a.csv", _ROWS.encode("utf-16-be"), "UTF-16"),
        ("a.csv", _ROWS.encode("utf-32"), "UTF-32"),
        ("a.csv", _ROWS.encode("latin-1"), "Latin-1"),
        ("a.csv", _ROWS.replace(",", ";").encode("cp1252"), "Windows-1252"),
        ("a.csv", b'"path" , identity,CAMERA ,\n"img \xc3\xa9/a.jpg",M\xc3\xbcller , 1,\nimg \xc3\xa9/b.jpg,,2,\n', ""),
        # A comma at the end of each line but the first; an empty line; a row that is cut short.
        ("a.csv", "path,identity,camera\n\nimg é/a.jpg, Müller,1,\nimg é/b.jpg,,2,,\n".encode(), ""),
    ],
)
def test_separators_encodings_and_line_ends(tmp_path, name, content, note):
    (tmp_path / name).write_bytes(content)
    table = read_table(tmp_path / name)
    assert table.columns == _CELLS
    assert any(note in said for said in table.notes) if note else not table.notes


@pytest.mark.parametrize(
    ("content", "code", "values"),
    [
        (b"", "empty-table", ()),
        (b"path;identity\n", "empty-table", ()),
        (b"file;identity\na.png;1\n", "no-such-column", ("'path'", "file, identity", "--columns path=file")),
        (b"a.png,1\nb.png,2\n", "no-such-column", ("a.png, 1",)),
        (b"path,x\na.png,1\n\n,3\n", "malformed-table", ("line 4",)),
        (b"path,Path\na.png,a.png\n", "column-given-twice", ("'path'", "'Path'")),
        (b"path,x\na.png,1\nb.png,x,1\n", "malformed-table", ("3 cells in line 3", "commas")),
        (b"path;x\na.png;x;1\n", "malformed-table", ("3 cells in line 2", "semicolons")),
        (b'path,x\n"a\nb.png",1\nb.png,x,1\n', "malformed-table", ("3 cells in line 4",)),
        (b'path,x\na.png,1\nb.png,"x\nc.png,2\n', "malformed-table", ("line 3",)),
        ("path,x\na.png,Мария\n".encode("cp1251"), "", ()),
        ("path,x\na.png,1\nb.png,カメラ\n".encode("shift-jis"), "unknown-encoding", ("line 3",)),
        (b"path,x\na.png,\x00\n", "unknown-encoding", ("line 2",)),
        (b"PK\x03\x04....", "wrong-file-kind", ("spreadsheet", "save it as CSV")),
        (b"PAR1....", "wrong-file-kind", (".parquet",)),
    ],
)
def test_the_error_of_an_unreadable_table_has_place_and_next_step(tmp_path, content, code, values):
    (tmp_path / "bad.csv").write_bytes(content)
    if not code:
        # Cyrillic bytes are letters of Latin-1 too: nothing but the note shows it.
        assert "Windows-1252" in read_table(tmp_path / "bad.csv").notes[0]
        return
    with input_error(code, *values):
        read_table(tmp_path / "bad.csv")


def test_a_list_of_paths_has_no_heading(tmp_path):
    (tmp_path / "features.paths.txt").write_text("/a, b;c.jpg\n/d.jpg\n")
    table = read_table(tmp_path / "features.paths.txt")
    assert table.columns == {"path": ["/a, b;c.jpg", "/d.jpg"]} and table.place(1) == "line 2"


def test_columns_get_our_names_without_editing_the_table(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("File;track_id;Timestamp;identity\na.jpg;7;x;cow\n")
    table = read_table(path, TableOptions("path=file, identity=track_id,time=Timestamp"))
    assert table.columns == {"path": ["a.jpg"], "identity": ["7"], "time": ["x"]}
    assert any("its own column 'identity' is not used" in note for note in table.notes)
    swapped = read_table(path, TableOptions("path=file,identity=track_id,track_id=identity")).columns
    assert swapped["identity"] == ["7"] and swapped["track_id"] == ["cow"]
    with input_error("no-such-column", "--columns path=image", "file, track_id, time"):
        read_table(path, TableOptions("path=image"))


@pytest.mark.parametrize(
    ("columns", "time_format", "code", "value"),
    [
        ("path", "", "setting-not-understood", "'path'"),
        ("path=", "", "setting-not-understood", "'path='"),
        ("path=a,Path=b", "", "column-given-twice", "'Path'"),
        ("", "dd.mm.yyyy", "setting-not-understood", "'%d.%m.%Y %H:%M'"),
        ("", "%H:%M", "setting-not-understood", "no year"),
        ("", "%Y-%m-%d %I:%M", "setting-not-understood", "%p"),
        ("", "%Y-%d", "setting-not-understood", "no month"),
        ("", "%Y-%Q", "setting-not-understood", "'%Y-%Q'"),
    ],
)
def test_options_are_checked_before_a_table_is_opened(columns, time_format, code, value):
    with input_error(code, value):
        TableOptions(columns, time_format)


def test_parquet_holds_what_it_holds(tmp_path):
    path = tmp_path / "a.parquet"
    moments = pd.to_datetime(["2026-01-01 08:00:00.5", None])
    frame = pd.DataFrame({"File": ["a.jpg", " b.jpg"], "n": [1.5, None], "time": moments, "vector": [[1.0], [2.0]]})
    frame.set_index(pd.Index([7, 9])).to_parquet(path)
    table = read_table(path, TableOptions("path=file"))
    assert table.columns == {
        "path": ["a.jpg", " b.jpg"],
        "n": [1.5, None],
        "time": [moments[0].to_pydatetime(), None],
    }
    assert table.place(1) == "row 2"
    path.write_bytes(b"PAR1 no more")
    with input_error("damaged-file"):
        read_table(path)


@pytest.mark.parametrize("mark", [False, True])
def test_what_is_written_is_read(tmp_path, mark):
    names = [
        "a.jpg",
        "é, b;\t|.jpg",
        ' "quoted".jpg',
        "trailing .jpg ",
        "two\nlines.jpg",
        "-1",
        "back\\slash.jpg",
        "'x'",
    ]
    write_table(tmp_path / "a.csv", ["path", "group"], [(name, at or None) for at, name in enumerate(names)], mark=mark)
    table = read_table(tmp_path / "a.csv")
    assert table.columns == {"path": names, "group": [None, *map(str, range(1, len(names)))]}
    assert not table.notes
    assert (tmp_path / "a.csv").read_bytes().startswith(b"\xef\xbb\xbf") == mark


def test_remarks_before_the_names_and_single_quotes(tmp_path):
    (tmp_path / "r.csv").write_text("# made by a camera\n# 2026, 3 gates\n\npath,identity\na.jpg,ann\n")
    table = read_table(tmp_path / "r.csv")
    assert table.columns == {"path": ["a.jpg"], "identity": ["ann"]}
    assert table.place(0) == "line 5"
    (tmp_path / "q.csv").write_text("'path', 'identity'\n'a, b.jpg', 'ann'\n")
    assert read_table(tmp_path / "q.csv").columns == {"path": ["a, b.jpg"], "identity": ["ann"]}
    (tmp_path / "n.csv").write_text("my table\na.jpg,ann,1\n")
    with input_error("no-such-column", "my table"):
        read_table(tmp_path / "n.csv")


def test_parquet_with_two_columns_of_one_name_is_refused(tmp_path):
    table = pa.Table.from_arrays([pa.array(["a.png"]), pa.array([1]), pa.array([2])], names=["path", "x", "x"])
    pq.write_table(table, tmp_path / "a.parquet")
    with input_error("column-given-twice", "'x'"):
        read_table(tmp_path / "a.parquet")


def test_cells_of_parquet_that_python_has_not_are_text(tmp_path):
    """Durations and times beyond Python's, bytes that are no UTF-8 in a column of text."""
    far = pa.array([2**62, None])
    text = pa.Array.from_buffers(pa.string(), 2, pa.array([b"a\xff", b"b"]).buffers())
    columns = {"path": ["a.png", "b.png"], "wait": far.cast(pa.duration("s")), "when": far.cast(pa.timestamp("us"))}
    pq.write_table(pa.table(columns | {"note": text}), tmp_path / "a.parquet")
    found = read_table(tmp_path / "a.parquet").columns
    assert found["wait"] == [str(2**62), None] and isinstance(found["when"][0], str)
    assert found["note"] == ["a\\xff", "b"]


def test_a_path_with_a_zero_byte_is_refused(tmp_path):
    pq.write_table(pa.table({"path": ["a.png", "b\0.png"]}), tmp_path / "a.parquet")
    with input_error("malformed-table", "row 2"):
        read_table(tmp_path / "a.parquet")


def test_damaged_parquet_is_an_error_and_does_not_end_the_process():
    """Found by random bytes: cells without a value, and statistics on which pyarrow ends the process."""
    from spcl.data import parquet_tables

    indices = pa.array([0, 7], pa.int32())
    broken = pa.DictionaryArray.from_arrays(indices, pa.array(["a", "b"]), safe=False)
    with pytest.raises(ValueError, match="cells without a value"):
        parquet_tables._cells(broken, {})

    class Group:
        total_byte_size = 10

        def column(self, number):
            raise AssertionError("the statistics of a column may be damaged")

    metadata = SimpleNamespace(num_row_groups=1, row_group=lambda number: Group())
    parquet_tables._check_bytes("a.parquet", SimpleNamespace(metadata=metadata), {"path"})
