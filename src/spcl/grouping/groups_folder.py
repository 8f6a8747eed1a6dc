"""The folder that a grouping leaves: a table, a summary, a picture, and on request a folder for each group."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spcl.atomic_files import cannot_write, check_way, flush
from spcl.atomic_folders import folder_written_aside, restore_kept
from spcl.corrections.group_table import FOUND, PARQUET, TABLE, GroupTable
from spcl.corrections.grouped_again import alone_if_corrected, write_tables
from spcl.data.image_decoding import UnreadableImageError, open_image
from spcl.data.image_key import kept_path
from spcl.data.table_files import write_table
from spcl.errors import InputError
from spcl.format_versions import GROUPS, KEY
from spcl.grouping.group_folders import fill_group_folders
from spcl.leftovers import is_left
from spcl.nested_text import json_of
from spcl.records import Record
from spcl.report.sheet import SheetRow, contact_sheet

if TYPE_CHECKING:
    from spcl.grouping.groups import Groups

SUMMARY, PICTURE, BROKEN, FOLDERS = "summary.json", "groups.png", "broken.csv", "groups"
ODD = "odd.csv"

# The last two: what killed commands of spcl 0.1.0 left.
_RESULTS = (TABLE, PARQUET, FOUND, SUMMARY, PICTURE, BROKEN, ODD, FOLDERS, f".{FOLDERS}.part", f".{FOLDERS}.old")
_MADE_BY, _UNFINISHED = "spcl cluster", "unfinished"
_SHOWN_GROUPS, _SHOWN_IMAGES = 12, 10


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Check that results can be written to a folder, before any work; the folder is not created.

    Results that a stopped command left unfinished are replaced without ``overwrite``.

    Raises:
        InputError: If it holds something else, or an earlier result that is not to be replaced, or cannot be made.
    """
    check_way(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give another folder (-o)", code="not-a-folder")
    try:
        restore_kept(folder)
        holds = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise cannot_write(folder, error) from error
    # A killed command left these.
    holds = [name for name in holds if not any(is_left(name, result) for result in _RESULTS)]
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
    grouped_with: int = 0,
) -> dict[str, Any]:
    """Write everything, aside; the folder then takes the place of an earlier one as a whole.

    Args:
        folder: Folder that ``check_folder`` accepted.
        records: ``[N]`` records of the grouped images.
        groups: Groups of the images.
        broken: Path and reason of each image that could not be read or was left out.
        odd: Path and reason of images that were grouped and are worth a look: copies, thumbnails.
        facts: Further values of the summary, plain.
        folders: A folder for each group, of links (relative; copies where the disk has none) or copies.
        grouped_with: Number of the last correction in the folder that the groups take into account; 0: none.

    Returns:
        What the summary holds; with folders, ``not_copied`` among it: images that are there no more, or whose name
        the disk of the results cannot hold.

    Raises:
        InputError: If the folder cannot be written; earlier results are unchanged.
    """
    summary = {"made_by": _MADE_BY, KEY: GROUPS} | summary_of(groups) | {"broken": len(broken)} | dict(facts or {})
    unfinished = json.dumps({_UNFINISHED: True} | summary, indent=1)
    table = GroupTable(tuple(record.path for record in records), groups.group, groups.confidence, groups.names)
    with (
        alone_if_corrected(folder),
        folder_written_aside(folder, ours=_RESULTS, mark=SUMMARY, unfinished=unfinished) as aside,
    ):
        table, state = write_tables(aside, folder, table, grouped_with)
        summary |= state
        for name, listed in ((BROKEN, broken), (ODD, odd)):
            if listed:
                reasons = ((kept_path(path), reason) for path, reason in listed)
                write_table(aside / name, ("path", "reason"), reasons)
        if rows_shown := sheet_rows(records, table.group, table.confidence, table.names):
            contact_sheet(aside / PICTURE, rows_shown)
        if folders != "none":
            copies = folders == "copy"
            left_out = fill_group_folders(
                aside / FOLDERS, folder / FOLDERS, records, table.group, names=table.names, copies=copies
            )
            summary["not_copied"] = [str(path) for path in left_out]
        (aside / SUMMARY).write_text(json.dumps(summary, indent=1), encoding="utf-8")
        for file in aside.iterdir():
            if file.is_file():
                flush(file)
    return {name: value for name, value in summary.items() if name not in ("made_by", KEY)}


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
        "individuals": None if groups.individuals is None else groups.individuals.to_dict(),
        "mean_confidence": float(groups.confidence[groups.group >= 0].mean()) if len(sizes) else 0.0,
        "eps": groups.eps,
        "k1": groups.k1,
        "k2": groups.k2,
        "eps_gap": groups.eps_gap,
        "min_samples": groups.min_samples,
        "reasons": [] if groups.suggestion is None else list(groups.suggestion.reasons),
    }


def sheet_rows(
    records: Sequence[Record],
    group: NDArray[np.int64],
    confidence: NDArray[np.float64] | None = None,
    names: Mapping[int, str] | None = None,
) -> list[SheetRow]:
    """Give the largest groups as rows of a picture, and one row of images without a group.

    Args:
        records: ``[N]``.
        group: ``[N]`` int; -1: the image is in no group.
        confidence: ``[N]``: a row goes from the image that is surest to the one that is least sure. None: in the order
            of the records.
        names: Name of each group that has one, by its number; None: there are none.
    """
    rows = []
    numbers, sizes = np.unique(group[group >= 0], return_counts=True)
    largest = numbers[np.lexsort((numbers, -sizes))][:_SHOWN_GROUPS]
    for number in [*largest.tolist(), -1]:
        members = np.flatnonzero(group == number)
        if not len(members):
            continue
        if confidence is not None:
            members = members[np.argsort(-confidence[members], kind="stable")]
        spread = np.unique(np.linspace(0, len(members) - 1, min(_SHOWN_IMAGES, len(members))).round().astype(int))
        images = [image for row in members[spread] if (image := _opened(records[row].path)) is not None]
        title = (names or {}).get(number, f"group {number}") if number >= 0 else "no group"
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
        summary = json_of((folder / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return summary if isinstance(summary, dict) and summary.get("made_by") == _MADE_BY else None
