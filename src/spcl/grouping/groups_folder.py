"""The folder that a grouping leaves: a table, a summary, a picture, and on request a folder for each group."""

from __future__ import annotations

import errno
import json
import os
import shutil
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spcl.atomic_files import check_way, written_aside
from spcl.data.image_decoding import UnreadableImageError, open_image
from spcl.data.image_key import kept_path
from spcl.data.table_files import write_table
from spcl.errors import InputError
from spcl.grouping.groups import Groups
from spcl.records import Record
from spcl.report.sheet import SheetRow, contact_sheet

TABLE, SUMMARY, PICTURE, BROKEN, FOLDERS = "groups.csv", "summary.json", "groups.png", "broken.csv", "groups"
ODD = "odd.csv"

_MADE_BY, _UNFINISHED = "spcl cluster", "unfinished"
_SHOWN_GROUPS, _SHOWN_IMAGES = 12, 10


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Check that results can be written to a folder, before any work; the folder is not created.

    Results that a stopped command left unfinished are replaced without ``overwrite``.

    Raises:
        InputError: If it holds something else, or an earlier result that is not to be replaced, or cannot be made.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give another folder (-o)", code="not-a-folder")
    check_way(folder)
    try:
        holds = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}", code="cannot-write") from error
    if not holds:
        return
    summary = _summary_in(folder)
    if summary is None:
        listed = ", ".join(holds[:4])
        raise InputError(f"{folder} holds other files ({listed}); give another folder (-o)", code="folder-not-empty")
    if not overwrite and _UNFINISHED not in summary:
        raise InputError(
            f"{folder} holds groups already; replace them with --overwrite, or give another folder (-o)",
            code="already-exists",
        )


def write_groups(
    folder: Path,
    records: Sequence[Record],
    groups: Groups,
    *,
    broken: Sequence[tuple[Path, str]] = (),
    odd: Sequence[tuple[Path, str]] = (),
    facts: Mapping[str, Any] | None = None,
    folders: Literal["none", "link", "copy"] = "none",
) -> dict[str, Any]:
    """Write everything. Each file is whole or the old one.

    The summary, which names the folder's maker, is first, and says that the folder is unfinished until all is there.

    Args:
        folder: Folder that ``check_folder`` accepted.
        records: ``[N]`` records of the grouped images.
        groups: Groups of the images.
        broken: Path and reason of each image that could not be read or was left out.
        odd: Path and reason of images that were grouped and are worth a look: copies, thumbnails.
        facts: Further values of the summary, plain.
        folders: A folder for each group, of links (relative; copies where the disk has none) or copies.

    Returns:
        What the summary holds; with folders, ``not_copied`` among it: images that are there no more.
    """
    summary = summary_of(groups) | {"broken": len(broken)} | dict(facts or {})
    _write_summary(folder, {_UNFINISHED: True} | summary)
    rows = zip(records, groups.group.tolist(), groups.confidence.tolist(), strict=True)
    # Absolute paths: the table is read from wherever it is copied to.
    with written_aside(folder / TABLE) as aside:
        described = ((kept_path(record.path), number, f"{sure:.4f}") for record, number, sure in rows)
        write_table(aside, ("path", "group", "confidence"), described)
    for name, listed in ((BROKEN, broken), (ODD, odd)):
        if listed:
            with written_aside(folder / name) as aside:
                write_table(aside, ("path", "reason"), ((kept_path(path), reason) for path, reason in listed))
        else:
            (folder / name).unlink(missing_ok=True)
    if rows_shown := sheet_rows(records, groups.group, groups.confidence):
        with written_aside(folder / PICTURE) as aside:
            contact_sheet(aside, rows_shown)
    if folders != "none":
        vanished = _write_folders(folder / FOLDERS, records, groups, copies=folders == "copy")
        summary["not_copied"] = [str(path) for path in vanished]
    else:  # folders of other groups would contradict the table
        shutil.rmtree(folder / FOLDERS, ignore_errors=True)
    _write_summary(folder, summary)
    return summary


def summary_of(groups: Groups) -> dict[str, Any]:
    """The figures of a grouping and its settings, plain values."""
    sizes = groups.sizes
    return {
        "images": len(groups.group),
        "groups": len(sizes),
        "grouped_images": int(sizes.sum()),
        "images_without_group": groups.num_ungrouped,
        "largest_group": int(sizes.max(initial=0)),
        "median_group": float(np.median(sizes)) if len(sizes) else 0.0,
        "mean_confidence": float(groups.confidence[groups.group >= 0].mean()) if len(sizes) else 0.0,
        "eps": groups.eps,
        "k1": groups.k1,
        "k2": groups.k2,
        "eps_gap": groups.eps_gap,
        "min_samples": groups.min_samples,
        "reasons": [] if groups.suggestion is None else list(groups.suggestion.reasons),
    }


def sheet_rows(
    records: Sequence[Record], group: NDArray[np.int64], confidence: NDArray[np.float64] | None = None
) -> list[SheetRow]:
    """Give the largest groups as rows of a picture, and one row of images without a group.

    Args:
        records: ``[N]``.
        group: ``[N]``, numbered by size; -1: the image is in no group.
        confidence: ``[N]``: a row goes from the image that is surest to the one that is least sure. None: in the order
            of the records.
    """
    rows = []
    for number in [*range(min(_SHOWN_GROUPS, int(group.max(initial=-1)) + 1)), -1]:
        members = np.flatnonzero(group == number)
        if not len(members):
            continue
        if confidence is not None:
            members = members[np.argsort(-confidence[members], kind="stable")]
        spread = np.unique(np.linspace(0, len(members) - 1, min(_SHOWN_IMAGES, len(members))).round().astype(int))
        images = [image for row in members[spread] if (image := _opened(records[row].path)) is not None]
        title = f"group {number}" if number >= 0 else "no group"
        if images:
            rows.append(SheetRow(title, f"{len(members)} images", images))
    return rows


def _opened(path: Path) -> Image.Image | None:
    try:
        return open_image(path)
    except UnreadableImageError:  # it was there when its feature was taken
        return None


def _summary_in(folder: Path) -> dict[str, Any] | None:
    """The summary of a folder that this module wrote, finished or not; None where it did not."""
    try:
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return summary if isinstance(summary, dict) and summary.get("made_by") == _MADE_BY else None


def _write_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    with written_aside(folder / SUMMARY) as aside:
        aside.write_text(json.dumps({"made_by": _MADE_BY, **summary}, indent=1), encoding="utf-8")


def _write_folders(folder: Path, records: Sequence[Record], groups: Groups, *, copies: bool) -> list[Path]:
    """Made aside and swapped, so that a stop leaves the old folders or the new ones.

    Returns:
        The images that could not be copied because they are there no more.
    """
    aside, old = folder.with_name(f".{folder.name}.part"), folder.with_name(f".{folder.name}.old")
    vanished: list[Path] = []
    try:
        if old.exists() and not folder.exists():
            # A kill came between the two renames below: what lies aside are the only folders.
            old.replace(folder)
        for left in (aside, old):
            shutil.rmtree(left, ignore_errors=True)
        aside.mkdir()
        names = _FreeNames()
        for record, number in zip(records, groups.group.tolist(), strict=True):
            inside = Path(f"{number:04d}" if number >= 0 else "none")
            name = names.take(inside / record.path.name)
            (aside / inside).mkdir(parents=True, exist_ok=True)
            # The link is made aside, at the depth where it will lie: relative to there it is right in both places.
            if not _place(record.path, aside / name, copy=copies):
                vanished.append(record.path)
        if folder.exists():
            folder.replace(old)
        aside.replace(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise InputError(
            f"cannot write {folder}: {error.strerror or error}; free some space", code="cannot-write"
        ) from error
    finally:
        # After a stop there may be gigabytes of copies.
        shutil.rmtree(aside, ignore_errors=True)
    return vanished


class _FreeNames:
    """Names that no two images share, also where a disk takes capitals for small letters."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._numbers: Counter[str] = Counter()

    def take(self, name: Path) -> Path:
        """The name, or where images of several folders have it: ``a~2.jpg``, ``a~3.jpg`` and so on."""
        free, wanted = name, _one_spelling(name)
        while _one_spelling(free) in self._taken:
            self._numbers[wanted] += 1
            free = name.with_name(f"{name.stem}~{self._numbers[wanted] + 1}{name.suffix}")
        self._taken.add(_one_spelling(free))
        return free


def _one_spelling(name: Path) -> str:
    return unicodedata.normalize("NFC", str(name)).casefold()


def _place(image: Path, where: Path, *, copy: bool) -> bool:
    """Link or copy an image; whether it was there to be copied."""
    if os.path.lexists(where):
        # A copy would go through a link to the user's own file.
        raise FileExistsError(errno.EEXIST, "two images have one name there", str(where))
    if not copy:
        try:
            where.symlink_to(os.path.relpath(image.resolve(), where.parent.resolve()))
            return True
        except (OSError, ValueError):  # no links on this disk or for this user; or another drive
            pass
    try:
        shutil.copy2(image, where)
    except OSError:
        if image.exists():
            raise
        return False
    return True
