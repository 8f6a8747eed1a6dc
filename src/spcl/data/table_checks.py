"""The tables among what a command was given, read once before anything heavy is imported.

Importing what computes takes seconds; a mistake in a table, by far the most frequent of a first command, is reported
without it.
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
    """Read the text tables among sources; other sources are left to what uses them.

    Of a run of several processes nothing is read here: there one process reports for all.

    Args:
        sources: Images as given to a command.
        options: Names of columns and the form of times.
        with_times: Whether the command uses times.
        keep_missing: Whether some listed images may be missing.

    Raises:
        InputError: As ``listed_images``; if a table or images are missing.
    """
    if launched().size > 1:
        return
    for source in sources:
        tables = {} if Path(source).is_dir() else tables_meant(Path(source))
        # A Parquet file may be one of features: who reads it looks.
        texts = all(path.suffix.lower() in SUFFIXES and path.suffix.lower() != ".parquet" for path in tables.values())
        if tables and texts:
            listed = listed_images(tables, options, with_times=with_times)
            require_images(Path(source).stem, listed, keep_missing=keep_missing)
