"""The folder of crops: a folder of images for each camera, and one table, ``crops.csv``.

Crops of a camera are written aside and renamed when all are there, then the table is replaced: an interrupted run
leaves the folder as it was. Images that are in their place and not in the table yet hold a mark. Crops that replace
earlier ones of the camera come with a new folder, which holds the other cameras, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spcl.atomic_files import cannot_write, check_way, flush, missing_folders, remove_empty, written_aside
from spcl.atomic_folders import folder_written_aside
from spcl.data.table_files import read_table, write_table
from spcl.data.track_columns import CROPS_TABLE as TABLE
from spcl.errors import InputError
from spcl.file_lock import held_lock
from spcl.leftovers import aside_of, leftovers_in, remove

COLUMNS = ("path", "camera", "track", "frame", "time", "seconds", "x", "y", "w", "h", "confidence", "quality")
"""Columns of the table; a column ``identity`` is added where the tracks file has identities."""

_QUALITY = 95
_UNFINISHED, _LOCK = ".unfinished", ".crops.lock"


def safe_name(text: str) -> str:
    """A name for a file or a folder: characters other than letters, digits, ``.``, ``_`` and ``-`` become ``_``."""
    return re.sub(r"[^\w.-]", "_", text).lstrip(".") or "_"


class CropsFolder:
    """A folder of crops.

    Attributes:
        path: The folder.
        camera: Name of the camera whose crops are written.
    """

    def __init__(self, path: Path, camera: str, *, overwrite: bool) -> None:
        """Check that the crops of a camera can be added, before any work.

        Args:
            path: The folder; made if it does not exist.
            camera: Name of the camera.
            overwrite: Whether crops of this camera that are there are replaced.

        Raises:
            InputError: If the folder has other files than crops, or crops of this camera.
        """
        self.path, self.camera = path, camera
        self._images = path / safe_name(camera)
        check_way(path)
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is a file; give the name of a folder for the crops", code="not-a-folder")
        self._header, self._rows = self._held()
        if self._held_cameras() and not self._rows and path.is_dir():
            raise InputError(f"the table {path / TABLE} has no rows; remove the folder", code="empty-table")
        if camera in self._held_cameras():
            remove(self._images / _UNFINISHED)
        is_held = camera in self._held_cameras() or (self._images.exists() and not self._is_unfinished())
        if is_held and not overwrite:
            raise InputError(
                f"{path} has crops of the camera {camera!r} already; give another folder (-o) or another name "
                "(--camera), or --overwrite to replace them",
                code="already-exists",
            )

    @contextmanager
    def crops(self) -> Iterator[CropsWriter]:
        """Give a writer of the camera's crops; images and table are put in place when the block ends without an error.

        Raises:
            InputError: If the folder cannot be written.
        """
        missing = missing_folders(self._images)
        aside = aside_of(self._images)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for left in leftovers_in(self.path):
                remove(left)
            aside.mkdir()
            writer = CropsWriter(aside, self._images.name, self.camera)
            yield writer
            with self._alone():
                self._put_in_place(aside, writer)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        finally:
            remove(aside)
            remove_empty(missing)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock of the folder; another camera may be added at the same time."""
        busy = InputError(
            f"another program has been writing crops to {self.path} for a minute; wait for it, or end it",
            code="folder-busy",
        )
        with held_lock(self.path / _LOCK, longest_wait=60.0, busy=busy, place=str(self.path)):
            yield

    def _is_unfinished(self) -> bool:
        """Whether a killed command left the images of the camera without their rows of the table."""
        return (self._images / _UNFINISHED).is_file()

    def _put_in_place(self, aside: Path, writer: CropsWriter) -> None:
        # Another run may have added its camera in the meantime.
        self._header, self._rows = self._held()
        others = [row for row in self._rows if row["camera"] != self.camera]
        if self._images.exists() and not self._is_unfinished():
            self._replace_all(aside, others, writer)
            return
        remove(self._images)
        (aside / _UNFINISHED).touch()
        aside.replace(self._images)
        with written_aside(self.path / TABLE) as table:
            self._write_table(table, [*others, *writer.rows], writer.columns)
        remove(self._images / _UNFINISHED)

    def _replace_all(self, aside: Path, others: Sequence[dict[str, Any]], writer: CropsWriter) -> None:
        """Replace images and rows of the camera at once, by a new folder with the files of the old one."""
        self._write_table(aside / TABLE, others, ())
        without = (aside / TABLE).read_text(encoding="utf-8")
        remove(aside / TABLE)
        ours = (self._images.name, TABLE)
        with folder_written_aside(self.path, ours=ours, mark=TABLE, unfinished=without) as folder:
            aside.replace(folder / self._images.name)
            self._write_table(folder / TABLE, [*others, *writer.rows], writer.columns)
            flush(folder / TABLE)

    def _write_table(self, table: Path, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
        header = [*self._header, *(name for name in columns if name not in self._header)]
        write_table(table, header, ([row.get(name) for name in header] for row in rows))

    def _held(self) -> tuple[list[str], list[dict[str, Any]]]:
        """The columns and rows of the table that is there; a folder with other content is refused."""
        table = self.path / TABLE
        if not table.is_file():
            if self.path.is_dir() and any(not entry.name.startswith(".") for entry in self.path.iterdir()):
                raise InputError(
                    f"{self.path} has files and no {TABLE}, so that it is no folder of crops; give another folder (-o)",
                    code="folder-not-empty",
                )
            return [], []
        held = read_table(table)
        names = list(held.columns)
        if not {"camera", "track"} <= set(names):
            raise InputError(
                f"{table} was not written by spcl crops: it has no column camera or track; give another folder (-o)",
                code="folder-not-empty",
            )
        return names, [dict(zip(names, row, strict=True)) for row in zip(*held.columns.values(), strict=True)]

    def _held_cameras(self) -> set[str]:
        return {str(row["camera"]) for row in self._rows}


class CropsWriter:
    """Writes the crops of one camera.

    Attributes:
        rows: Rows of the table so far, by column.
        columns: Columns of the rows, in their order.
    """

    def __init__(self, folder: Path, final: str, camera: str) -> None:
        """Write to ``folder``, whose name will be ``final`` beside the table."""
        self._folder, self._final, self._camera = folder, final, camera
        self._names: dict[str, str] = {}
        self.rows: list[dict[str, Any]] = []

    @property
    def columns(self) -> Sequence[str]:
        """Columns of the rows: a column without any value is left out."""
        found = [name for name in (*COLUMNS, "identity") if any(row.get(name) is not None for row in self.rows)]
        return found or COLUMNS

    def write(self, pixels: NDArray[np.uint8], track: str, frame: int, known: dict[str, Any]) -> None:
        """Write a crop ``[h, w, 3]`` uint8 as JPEG, and its row; ``known`` has the other columns."""
        folder = self._name_of(track)
        (self._folder / folder).mkdir(exist_ok=True)
        name = f"{folder}/{frame:06d}.jpg"
        # Full colour: at the size of a crop, halved colour is visible to the encoder.
        Image.fromarray(pixels).save(self._folder / name, quality=_QUALITY, subsampling=0)
        row = {"path": f"{self._final}/{name}", "camera": self._camera, "track": track, "frame": frame}
        self.rows.append(row | known)

    def _name_of(self, track: str) -> str:
        """The folder of a track; different tracks have different folders."""
        if track not in self._names:
            name = safe_name(track)
            taken = set(self._names.values())
            number = 2
            unique = name
            while unique in taken:
                unique, number = f"{name}_{number}", number + 1
            self._names[track] = unique
        return self._names[track]

    def sort(self) -> None:
        """Order the rows by track, then by frame; write relative qualities, 1 for the best crop of a track."""
        first: dict[str, int] = {}
        best: dict[str, float] = {}
        for row in self.rows:
            first.setdefault(row["track"], len(first))
            best[row["track"]] = max(best.get(row["track"], 0.0), row["quality"])
        self.rows.sort(key=lambda row: (first[row["track"]], row["frame"]))
        for row in self.rows:
            row["quality"] = round(row["quality"] / best[row["track"]], 4) if best[row["track"]] else 1.0
