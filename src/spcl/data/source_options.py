"""The options of reading a source of images, which every command with images has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from spcl.data.table_options import TableOptions

IdentityFrom = Literal["auto", "table", "folder", "top-folder", "name"]
Duplicates = Literal["keep", "first"]
Layout = Literal["auto", "all", "dataset"]

DATA_DIR = "examples/data"
"""Default folder of the registered data sets, as in the official README."""


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """Options of finding the images of a source and of reading their columns.

    Attributes:
        data_dir: Folder that holds the registered data sets.
        columns: Names of the table's columns in place of ours: ``path=file,identity=track_id``; empty: the same names.
        time_format: Format of times in a table, with the codes of ``strptime``: ``%d.%m.%Y``; empty: ISO 8601, the
            format of EXIF, or Unix time.
        identity_from: Origin of identities. ``table``: a column of the table; ``folder``: the name of the folder
            that an image lies in; ``top-folder``: the name of the folder directly below the given folder, at any depth
            of the image; ``name``: the number before the camera in its file name (``0042_c3...`` is 42);
            ``auto``: the table's column, or the layout of the folder where labels are needed.
        duplicates: Byte-identical copies of an image: ``keep`` all of them, or only the ``first``.
        layout: Images of a folder that are used. ``all``: all below it; ``dataset``: those in its sub-folders
            (``train``, ``query``, ``gallery``, or a folder per identity); ``auto``: chosen from the structure of the
            folder, with an error where the two readings differ by more than a tenth of the images.
    """

    data_dir: str = DATA_DIR
    columns: str = ""
    time_format: str = ""
    identity_from: IdentityFrom = "auto"
    duplicates: Duplicates = "keep"
    layout: Layout = "auto"

    def __post_init__(self) -> None:
        """Raise an ``InputError`` for columns or a format of times that cannot be understood."""
        _ = self.table

    @property
    def table(self) -> TableOptions:
        """Options of reading tables."""
        return TableOptions(self.columns, self.time_format)


def note_of_no_table(options: SourceOptions, where: str) -> tuple[str, ...]:
    """A sentence on options of tables that are not used because the source is not a table; empty: none was given."""
    given = [f"--columns {options.columns}"] if options.columns else []
    given += [f"--time-format {options.time_format}"] if options.time_format else []
    return (
        (f"{' and '.join(given)} {'is' if len(given) == 1 else 'are'} not used: {where} is not a table",)
        if given
        else ()
    )
