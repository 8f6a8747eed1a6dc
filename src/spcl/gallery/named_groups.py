"""Identities of images from the names of their groups: the folder of ``spcl cluster`` or of ``spcl identify --groups``.

The groups count as they are after corrections. Images in no group, and in groups without a name, have no identity.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from spcl.corrections.corrected_groups import CorrectedGroups, check_unedited, read_groups
from spcl.corrections.folder_state import read_summary
from spcl.corrections.group_table import NO_GROUP
from spcl.corrections.provisional_names import is_provisional
from spcl.data.image_key import image_keys, kept_path
from spcl.data.image_sources import Source, images_of
from spcl.data.source_options import SourceOptions
from spcl.errors import InputError
from spcl.gallery.columns import described
from spcl.gallery.enrolment import HAS_IDENTITY
from spcl.gallery.gallery import Gallery
from spcl.gallery.images_to_rows import FoundImages
from spcl.gallery.places import gallery_exists
from spcl.gallery.unknown_grouping import IDENTIFIED
from spcl.inference.encode_options import EncodeOptions, EncoderChoice
from spcl.reporting.console import Reporter


@dataclass(frozen=True)
class NamedGroups:
    """A folder of groups that gives images their identities.

    Attributes:
        groups: The groups after corrections.
        summary: What ``summary.json`` of the folder holds.
    """

    groups: CorrectedGroups
    summary: dict[str, object]

    @classmethod
    def read(cls, folder: str | Path) -> NamedGroups:
        """Read the groups of a folder.

        Raises:
            InputError: If it is no folder of groups, ``groups.csv`` was edited and not taken, or no group has a name.
        """
        groups = read_groups(folder)
        check_unedited(groups)
        if not groups.table.names:
            largest = next(iter(groups.references.sizes), 0)
            raise InputError(
                f"no group in {folder} has a name, and only named groups become identities; give names, for example: "
                f"spcl correct {folder} name {largest} Bella",
                code="no-identities",
            )
        return cls(groups, read_summary(Path(folder)))

    def encoding(self, encoding: EncodeOptions, gallery: str | Path | None) -> EncodeOptions:
        """Give the encoder of the groups to a gallery that does not exist, where the user names none."""
        origin = self.summary.get("encoder_origin")
        checkpoint = origin.get("checkpoint") if isinstance(origin, dict) else self.summary.get("checkpoint")
        is_new = gallery is not None and not gallery_exists(gallery)
        if not checkpoint or not is_new or encoding.encoder != EncoderChoice():
            return encoding
        return replace(encoding, encoder=replace(encoding.encoder, checkpoint=str(checkpoint)))

    def find_images(self, images: Source, options: SourceOptions) -> FoundImages:
        """Find images with their columns; the column ``identity`` is the name of their group.

        An image that is not in the groups keeps the identity of its own source.

        Raises:
            InputError: If there are no images, or none of them is in the groups.
        """
        table = images_of(images, options)
        keys = image_keys([record.path for record in table.records])
        own = table.columns.get("identity", [None] * len(table))
        names = self._names
        if not any(key in names for key in keys):
            raise InputError(
                f"none of the {len(keys)} images is in the groups of {self.groups.folder}; the first image there is "
                f"{self.groups.table.paths[0]}. Give the images that were grouped",
                code="other-images",
            )
        identities = [names.get(key, identity) for key, identity in zip(keys, own, strict=True)]
        paths = [kept_path(record.path) for record in table.records]
        rows = described(paths, columns={**table.columns, "identity": identities})
        return FoundImages(table.records, rows, (*table.notes, self._note(keys)))

    def prepare(self, gallery: Gallery, found: FoundImages, report: Reporter) -> None:
        """Make the gallery ready for the rows: a name that a correction has taken from an image is taken from its row.

        Args:
            gallery: The gallery, before the rows are added.
            found: The images that are to be added.
            report: Receives the number of images that lost a name.

        Raises:
            InputError: If a new name, such as ``new-1``, is in the gallery already, for other objects.
        """
        self._check_new_names(gallery)
        nameless = {key for key, name in self._names.items() if name is None}
        keys = image_keys(found.table.column("path").to_pylist())
        missing = found.table.column("identity").is_null().to_pylist()
        nameless &= {key for key, is_missing in zip(keys, missing, strict=True) if is_missing}
        if not nameless or not len(gallery):
            return
        given = {each.argument for each in self.groups.log.corrections if each.action == "name"}
        given |= {*self.groups.found.names.values(), *self.groups.table.names.values()}
        held = _images_named(gallery, sorted(given))
        stale = [path for path, key in zip(held, image_keys(held), strict=True) if key in nameless]
        if stale:
            gallery.clear(["identity"], paths=stale)
            report.say(f"{len(stale)} images of the gallery lost a name that a correction has taken from them")

    @property
    def _names(self) -> dict[str, str | None]:
        """The name of each image of the groups, by the key of its path; None: it has none."""
        table = self.groups.table
        return {
            key: None if number == NO_GROUP else table.names.get(number)
            for key, number in zip(image_keys(table.paths), table.group.tolist(), strict=True)
        }

    def _note(self, keys: list[str]) -> str:
        names = self._names
        given = [names[key] for key in keys if names.get(key) is not None]
        nameless = sorted(set(self.groups.references.sizes) - set(self.groups.table.names))
        text = f"identities from the groups in {self.groups.folder}: {len(given)} images of {len(set(given))} names"
        if without := len(keys) - len(given):
            text += f"; {without} images have no name there"
        if nameless:
            text += f"; groups without a name: {', '.join(map(str, nameless[:10]))}"
        return text

    def _check_new_names(self, gallery: Gallery) -> None:
        identified = self.summary.get(IDENTIFIED)
        new = identified.get("new_groups", ()) if isinstance(identified, dict) else ()
        names = {str(group["name"]) for group in new if isinstance(group, dict) and "name" in group}
        own: dict[str, set[str]] = {}
        for key, name in self._names.items():
            if name in names and is_provisional(name):
                own.setdefault(name, set()).add(key)
        for name, keys in sorted(own.items()):
            held = image_keys(_images_named(gallery, [name])) if len(gallery) else []
            if held and not keys & set(held):
                raise InputError(
                    f"the gallery {gallery.place} has {name} already, of other images: it has grown since "
                    f"{self.groups.folder} was made. Make these groups again (spcl identify ... --groups "
                    f"{self.groups.folder} --overwrite, which keeps corrections), or name the group {name}",
                    code="name-taken",
                )


def named_groups(
    folder: str | Path | None, encoding: EncodeOptions, gallery: str | Path | None
) -> tuple[NamedGroups | None, EncodeOptions]:
    """Read a folder of groups, and choose the encoder; without a folder: None, and the encoder as it is.

    Args:
        folder: The folder of groups; None: there is none.
        encoding: The encoder that the user chose.
        gallery: The gallery to fill; a new one gets the encoder of the groups.
    """
    if not folder:
        return None, encoding
    named = NamedGroups.read(folder)
    return named, named.encoding(encoding, gallery)


def prepare_gallery(gallery: Gallery, found: FoundImages, named: NamedGroups | None, report: Reporter) -> None:
    """Check that images can be added to a gallery, and make it ready for the names of groups.

    Raises:
        InputError: If a row does not fit the gallery, or a new name is in it already, for other objects.
    """
    gallery.check_rows(found.table)
    if named is not None:
        named.prepare(gallery, found, report)


def _images_named(gallery: Gallery, names: list[str]) -> list[str]:
    """Read the paths of the images of a gallery that have one of some names."""
    paths: list[str] = []
    if not names:
        return paths
    wanted = pa.array(names, pa.string())
    for _, batch in gallery._store.reading().scan(["path", "identity"], HAS_IDENTITY):
        kept = batch.filter(pc.is_in(batch.column("identity"), value_set=wanted))
        paths += kept.column("path").to_pylist()
    return paths
