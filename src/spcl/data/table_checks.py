"""A check of the tables of a command, before torch is imported.

Importing torch takes seconds. A mistake in a table, the most frequent mistake in a first command, is reported before.
"""

from __future__ import annotations

from pathlib import Path

from spcl.data.listed_images import listed_images
from spcl.data.table_columns import tables_meant
from spcl.data.table_dataset import SUFFIXES, require_images
from spcl.data.table_options import TableOptions
from spcl.launched import launched


def check_tables(
    *sources: str | Path, options: TableOptions, with_times: bool = True, keep_missing: bool = True
) -> None:
    """Read the text tables among sources; other sources are not read.

    In a run of several processes nothing is read here: one process reads and reports later.

    Args:
        sources: Sources of images as given to a command.
        options: Names of columns and the format of times.
        with_times: Whether the command uses times.
        keep_missing: Whether some listed images may be missing.

    Raises:
        InputError: If a table or its images are missing, or a table cannot be read, as in ``listed_images``.
    """
    if launched().size > 1:
        return
    for source in sources:
        tables = {} if Path(source).is_dir() else tables_meant(Path(source))
        # A Parquet file may hold features: it is checked where it is read.
        texts = all(path.suffix.lower() in SUFFIXES and path.suffix.lower() != ".parquet" for path in tables.values())
        if tables and texts:
            listed = listed_images(tables, options, with_times=with_times)
            require_images(Path(source).stem, listed, keep_missing=keep_missing)
