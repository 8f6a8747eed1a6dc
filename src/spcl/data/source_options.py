"""How a source of images is read: the settings that every command with images shares. Nothing here reads anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from spcl.data.table_options import TableOptions

IdentityFrom = Literal["auto", "table", "folder", "top-folder", "name"]
Duplicates = Literal["keep", "first"]
Layout = Literal["auto", "all", "dataset"]

DATA_DIR = "examples/data"
"""Where registered data sets are looked for by default: the place of the official README."""


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """How the images of a source are found, and what is read about them.

    Attributes:
        data_dir: Folder that holds the registered data sets.
        columns: Names of a table's columns that differ from ours: ``path=file,identity=track_id``; empty: none differ.
        time_format: How times are written in a table, as ``strptime`` wants it: ``%d.%m.%Y``; empty: ISO 8601, EXIF's
            form or Unix time.
        identity_from: Where identities come from. ``table``: a column of the table; ``folder``: the name of the folder
            that an image lies in; ``top-folder``: the name of the folder directly below the one that is given, whatever
            lies deeper in it; ``name``: the number before the camera in its file name (``0042_c3...`` is 42);
            ``auto``: the table's column, or the layout of the folder where labels are asked for.
        duplicates: Byte-identical copies of an image: ``keep`` all, or the ``first`` alone.
        layout: Which images of a folder are meant. ``all``: every one below it; ``dataset``: those of the data set
            that its sub-folders make (``train``, ``query``, ``gallery``, or a folder per identity); ``auto``: decided
            by the folder, and an error where the two differ by more than a tenth of the images.
    """

    data_dir: str = DATA_DIR
    columns: str = ""
    time_format: str = ""
    identity_from: IdentityFrom = "auto"
    duplicates: Duplicates = "keep"
    layout: Layout = "auto"

    def __post_init__(self) -> None:
        """Raise an ``InputError`` for columns or a form of times that cannot be understood."""
        _ = self.table

    @property
    def table(self) -> TableOptions:
        """How tables are read."""
        return TableOptions(self.columns, self.time_format)


def note_of_no_table(options: SourceOptions, where: str) -> tuple[str, ...]:
    """A sentence on settings of tables that are not used because a source is no table; nothing where there are none."""
    given = [f"--columns {options.columns}"] if options.columns else []
    given += [f"--time-format {options.time_format}"] if options.time_format else []
    return (
        (f"{' and '.join(given)} {'is' if len(given) == 1 else 'are'} not used: {where} is no table",) if given else ()
    )
