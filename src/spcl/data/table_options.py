"""Options of reading a table of images: other names of columns, and the format of times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from spcl.errors import InputError


@dataclass(frozen=True)
class TableOptions:
    """Names of columns and the format of times of a table, where they differ from ours.

    Attributes:
        columns: Our name and the table's name of columns: ``path=file,identity=track_id``; empty: the same names.
        time_format: Format of times, with the codes of ``strptime``: ``%d.%m.%Y %H:%M``; empty: ISO 8601, the format of
            EXIF, or Unix time.

    Raises:
        InputError: If one of them cannot be understood.
    """

    columns: str = ""
    time_format: str = ""

    def __post_init__(self) -> None:
        """Check both options, so that a mistake in a flag is reported before a file is opened."""
        _ = self.renamed
        if self.time_format:
            check_time_format(self.time_format)

    @property
    def renamed(self) -> dict[str, str]:
        """The table's name of each of our columns, in lower case: ``{"path": "file"}``.

        Raises:
            InputError: If ``columns`` is not pairs of names, or gives one name twice.
        """
        pairs: dict[str, str] = {}
        for part in filter(None, (part.strip() for part in self.columns.split(","))):
            ours, equals, theirs = (word.strip() for word in part.partition("="))
            if not (ours and equals and theirs):
                raise InputError(
                    f"--columns has {part!r}; expected pairs of our name and the table's name, separated by "
                    "commas: path=file,identity=track_id",
                    code="setting-not-understood",
                )
            if ours.lower() in pairs:
                raise InputError(
                    f"--columns gives {ours!r} twice: {pairs[ours.lower()]!r} and {theirs!r}; give it once",
                    code="column-given-twice",
                )
            pairs[ours.lower()] = theirs
        return pairs


def check_time_format(time_format: str) -> None:
    """Raise an ``InputError`` unless a text is a format of ``strptime`` that contains at least the year."""
    try:
        moment = datetime(2026, 11, 23, 17, 45, 51)
        written = moment.strftime(time_format)
        read = datetime.strptime(written, time_format)
    except (ValueError, TypeError) as error:
        raise InputError(_expected_format(time_format, str(error)), code="setting-not-understood") from error
    if "%" not in time_format or read.year != moment.year:
        raise InputError(_expected_format(time_format, "it has no year"), code="setting-not-understood")
    if "%I" in time_format and read.hour != moment.hour:
        reason = "%I is an hour of 1 to 12; add %p for AM and PM, or take %H"
        raise InputError(_expected_format(time_format, reason), code="setting-not-understood")
    if read.day == moment.day and read.month != moment.month:
        raise InputError(_expected_format(time_format, "it has a day and no month"), code="setting-not-understood")


def _expected_format(time_format: str, reason: str) -> str:
    return (
        f"--time-format {time_format!r} cannot be used: {reason}. Expected the codes of strptime: "
        "'%d.%m.%Y %H:%M' for 23.11.2026 17:45, '%m/%d/%Y' for 11/23/2026"
    )
