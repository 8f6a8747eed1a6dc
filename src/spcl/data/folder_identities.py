"""The identities of the images of a folder: from the names of their folders, from their own names, or none.

*Folder per identity* means that the images lie directly in the sub-folders of a folder. A folder is read like this
where every image lies so, or where labels are needed. Images that this reading leaves out are counted; more than a
tenth of all images is an error.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from spcl.data.camera_parsing import are_camera_folders, some
from spcl.data.image_key import shown_path
from spcl.data.placeholders import note_of_a_dominant_identity, note_of_placeholders, without_placeholders
from spcl.data.source_options import SourceOptions
from spcl.errors import InputError

MOST_UNUSED = 0.1
"""Share of the images below a folder that may stay unused; with more, another reading may be meant."""

_IN_NAME = re.compile(r"^(-?\d+)_c\d", re.IGNORECASE)
_NO_IDENTITY = re.compile(r"-1|0+")
"""Junk and distractors of Market-1501: different objects under one number."""


@dataclass(frozen=True)
class NamedImages:
    """Images of a folder with their identities.

    Attributes:
        files: Image files that are used.
        names: Identity of each file, as the folder or the file name has it; None: unknown.
        unused: Images that are not used.
        notes: Remarks on the reading, in sentences.
    """

    files: list[Path]
    names: list[str | None]
    unused: list[Path]
    notes: tuple[str, ...] = ()

    @property
    def num_known(self) -> int:
        """Number of images with an identity."""
        return sum(name is not None for name in self.names)


def identity_in_name(path: Path) -> str | None:
    """Parse the number before the camera in a file's name (``0042_c3...`` is 0042); None for no number, -1 and 0000."""
    found = _IN_NAME.match(path.stem)
    return None if found is None or _NO_IDENTITY.fullmatch(found[1]) else found[1]


def identity_of_folder(path: Path) -> str | None:
    """The name of the folder that an image lies in."""
    return path.parent.name or path.resolve().parent.name or None


def named_images(folder: Path, files: Sequence[Path], options: SourceOptions, *, labelled: bool) -> NamedImages:
    """Find the identities of the images of a folder.

    Args:
        folder: Folder that the user gave.
        files: All images below the folder, at least one.
        options: Options that set the origin of identities, and the layout.
        labelled: Whether labels are needed.

    Raises:
        InputError: If identities are needed and not found, a folder per identity would leave out more than a tenth of
            the images, or file names contradict the folders.
    """
    named = _by_layout(folder, list(files), options, labelled=labelled)
    names, found = without_placeholders(named.names)
    notes = note_of_placeholders(found, "identity", "images lie in folders called") + note_of_a_dominant_identity(names)
    return replace(named, names=names, notes=named.notes + notes)


def _by_layout(folder: Path, files: list[Path], options: SourceOptions, *, labelled: bool) -> NamedImages:
    shown = shown_path(folder)
    if options.identity_from == "table":
        raise InputError(
            f"--identity-from table needs a table, and {shown} is a folder: give a table (path, identity), "
            "or --identity-from folder or name",
            code="no-identities",
        )
    if options.identity_from != "auto":
        return _as_asked(folder, files, options.identity_from)
    depth = len(folder.parts)
    one_down = [path for path in files if len(path.parts) == depth + 2]
    flat = all(len(path.parts) == depth + 1 for path in files)
    if flat and labelled and all(_IN_NAME.match(path.stem) for path in files):
        note = "identities are the numbers before the camera in the file names"
        return NamedImages(files, [identity_in_name(path) for path in files], [], (note,))
    if options.layout == "all" or flat or (not labelled and len(one_down) < len(files)):
        notes = () if flat else (f"all {len(files)} images below the folder are taken, without identities",)
        return NamedImages(files, [None] * len(files), [], notes if options.layout != "all" else ())
    return _folder_per_identity(folder, files, one_down, options, labelled=labelled)


def _as_asked(folder: Path, files: list[Path], identity_from: str) -> NamedImages:
    shown = shown_path(folder)
    if identity_from == "name":
        names = [identity_in_name(path) for path in files]
        if not any(names):
            raise InputError(
                f"--identity-from name needs identities in names, and none of the {len(files)} names in {shown} has "
                f"one, first {files[0].name}; expected a number before the camera: 0042_c3_0001.jpg",
                code="no-identities",
            )
        if None not in names:
            return NamedImages(files, names, [])
        return NamedImages(files, names, [], (note_of_known(names),))
    if identity_from == "top-folder":
        names = [_top_folder(path, folder) for path in files]
    else:
        names = [identity_of_folder(path) for path in files]
    distinct = sorted({name for name in names if name is not None})
    if not distinct:
        raise InputError(
            f"identities need folders in {shown}, and no image lies in one; --identity-from folder "
            "takes the folder that each image lies in",
            code="no-identities",
        )
    if len(distinct) == 1:
        note = f"all {len(files)} images lie in one folder and have one identity, {distinct[0]!r}"
        return NamedImages(files, names, [], (note,))
    if are_camera_folders(distinct):
        note = f"the folders {some(distinct)} are named like cameras and are read as identities (--identity-from)"
        return NamedImages(files, names, [], (note,))
    return NamedImages(files, names, [], (note_of_known(names),) if None in names else ())


def _top_folder(path: Path, folder: Path) -> str | None:
    """The name of the folder directly below ``folder`` on the path to an image; None: the image lies in ``folder``."""
    depth = len(folder.parts)
    below = path.parts[depth:] if path.parts[:depth] == folder.parts else ()
    return below[0] if len(below) > 1 else None


def _folder_per_identity(
    folder: Path, files: list[Path], one_down: list[Path], options: SourceOptions, *, labelled: bool
) -> NamedImages:
    shown = shown_path(folder)
    unused = sorted(set(files).difference(one_down))
    if options.layout == "auto" and len(unused) > MOST_UNUSED * len(files):
        these = f"--layout dataset (takes these {len(one_down)}), " if one_down else ""
        raise InputError(
            f"{shown}: only {len(one_down)} of {len(files)} images are in a folder per identity, not for example "
            f"{unused[0].relative_to(folder)}. Give {these}--identity-from folder, --identity-from top-folder or a "
            "table (docs/data.md)",
            code="ambiguous-folder",
        )
    if not one_down:
        return NamedImages(files, [None] * len(files), [], ("no image lies in a folder of an identity",))
    names: list[str | None] = [path.parent.name for path in one_down]
    folders = sorted({path.parent.name for path in one_down})
    if are_camera_folders(folders):
        note = (
            f"the folders {some(folders)} are read as cameras, so no identity is known; --identity-from folder reads "
            "them as identities"
        )
        return NamedImages(one_down, [None] * len(one_down), unused, (note,))
    if several := _several_in_one_folder(one_down):
        place, numbers = several
        readings = (
            f"{shown}: the folders {some(folders)} look like identities, but the names in {place} have several: "
            f"{some(numbers)}"
        )
        if labelled:
            raise InputError(
                f"{readings}. Give --identity-from folder or --identity-from name; for separate data sets "
                f"--source {shown_path(folder / folders[0])} --source {shown_path(folder / folders[-1])} "
                "(docs/data.md)",
                code="ambiguous-folder",
            )
        return NamedImages(files, [None] * len(files), [], (f"{readings}: no identity is known",))
    return NamedImages(one_down, names, unused)


def note_of_known(names: Sequence[object]) -> str:
    """A sentence on the number of images that have an identity."""
    return f"identities were found for {sum(name is not None for name in names)} of {len(names)} images"


def _several_in_one_folder(files: Sequence[Path]) -> tuple[str, list[str]] | None:
    """Find a folder whose file names contain several identities with several images each; None: there is none.

    A number that no other image of the folder shares counts images, not identities.
    """
    found = [(path.parent.name, match[1]) for path in files if (match := _IN_NAME.match(path.stem))]
    if len(found) < len(files):
        return None
    counts = Counter(found)
    numbers: dict[str, list[str]] = {}
    for place, number in counts:
        numbers.setdefault(place, []).append(number)
    if len(files) < 2 * len(counts):
        return None
    return next(((place, sorted(several)) for place, several in numbers.items() if len(several) > 1), None)
