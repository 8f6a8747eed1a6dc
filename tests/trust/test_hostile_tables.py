"""Tables that are small on the disk and large in memory, and tables of images that do not exist.

In memory a table may take 2 GB; what is missing is said before each path is looked for in every spelling.
"""

from __future__ import annotations

import resource
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spcl.data import listed_images, parquet_tables
from spcl.data.catalogue import load_dataset
from spcl.data.table_files import read_table
from spcl.errors import InputError
from tests.fakes import draw
from tests.input_errors import input_error
from tests.trust.forked import forked
from tests.trust.tally import record, tries

SECTION = "Hostile files"


def repeated(text: str, times: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(times, np.int32)), [text])


def of_many_columns(rows: int) -> pa.Table:
    return pa.table({f"c{number}": repeated("x", rows) for number in range(200)} | {"path": repeated("a.png", rows)})


BOMBS = {
    "12 million rows": lambda: pa.table({"path": repeated("a.png", 12_000_000)}),
    "2 million rows of one image": lambda: pa.table({"path": repeated("a.png", 2_000_000)}),
    "600,000 rows of 200 columns": lambda: of_many_columns(600_000),
    "11 texts of 100 MB": lambda: pa.table({"path": [f"{number}" + "a" * 100_000_000 for number in range(11)]}),
}


def limited(call):
    """Run a call with at most 2 GB of memory above what the process has; give its error."""
    before = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (before + 2 * 10**9,) * 2)
    try:
        call()
    except InputError as error:
        return error.code
    except BaseException as error:
        return repr(error)
    return "no error"


@pytest.mark.trust
@pytest.mark.parametrize("what", BOMBS)
def test_a_small_parquet_file_that_unfolds(tmp_path, what):
    file = tmp_path / "bomb.parquet"
    table = BOMBS[what]()
    pq.write_table(table, file, compression="zstd", use_dictionary="texts" not in what)
    del table
    assert file.stat().st_size < 10**6
    ended = forked(lambda: limited(lambda: read_table(file)))
    record(SECTION, f"a Parquet table of less than 1 MB: {what}", 1, ended == "table-too-large")
    assert ended == "table-too-large"


def test_one_text_in_every_row_is_one_object(tmp_path):
    """And a column of each type gives what pandas would."""
    rows = 1000
    columns = {"path": repeated("a" * 100_000, rows), "identity": pa.array([1, None] * (rows // 2))}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    table = read_table(tmp_path / "a.parquet")
    assert len({id(cell) for cell in table.columns["path"]}) == 1
    assert table.columns["identity"][:3] == [1, None, 1]


def test_limits_of_a_table(tmp_path, monkeypatch):
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"path": repeated("a.png", 3000), "identity": repeated("x" * 50, 3000)}), file)
    assert len(read_table(file)) == 3000
    for name, value, message in (
        ("MOST_ROWS", 2999, "3,000 rows, and at most 2,999"),
        ("_MOST_CELLS", 5999, "3,000 rows of 2 columns"),
        ("_MOST_BYTES", 10, "unfold to"),
        ("_SOME_ROWS", 2999, "at most 1 different images in 3,000 rows"),
    ):
        with monkeypatch.context() as changed, input_error("table-too-large", file, message):
            changed.setattr(parquet_tables, name, value)
            read_table(file)


def table_of(folder: Path, lines: list[str], separator: str = "/") -> Path:
    file = folder / "listed.csv"
    file.write_text("path,identity\n" + "".join(f"{line.replace('/', separator)},1\n" for line in lines))
    return file


@pytest.mark.parametrize("kind", ["one folder", "no folder", "a folder each", "backslashes"])
def test_many_missing_images_are_an_error_within_seconds(tmp_path, kind):
    num = tries(1_000_000, 12_000)
    (tmp_path / "one").mkdir()
    folder = "one" if kind == "one folder" else "none"
    inside = "{0}/" if kind == "a folder each" else ""
    lines = [f"{folder}/{inside.format(number)}{number:07d}.png" for number in range(num)]
    file = table_of(tmp_path, lines, "\\" if kind == "backslashes" else "/")
    start = time.process_time()
    with pytest.raises(InputError) as error:
        load_dataset(file)
    took = time.process_time() - start
    is_right = error.value.code == "missing-images" and f"{num} of {num} listed" in str(error.value)
    held = is_right and took < 30 * num / 1_000_000 + 1
    record(SECTION, f"a table of {num:,} missing images, {kind}: an error", 1, held)
    assert held, f"{took:.1f} s: {error.value}"


def test_a_few_images_that_exist_are_found_among_many(tmp_path, monkeypatch):
    """Also where none of the rows that are looked at first exists."""
    monkeypatch.setattr(listed_images, "_MANY", 100)
    draw(tmp_path / "img/a.png", 1, 1)
    lines = [f"img/{number}.png" for number in range(3000)]
    lines[1234] = "img/a.png"
    dataset = load_dataset(table_of(tmp_path, lines), keep_missing=True)
    assert [r.path.name for r in dataset.train if r.path.exists()] == ["a.png"]
    lines[1234] = "img/b.png"
    with input_error("missing-images", "3000 of 3000 listed images are missing", "img/0.png"):
        load_dataset(table_of(tmp_path, lines), keep_missing=True)
