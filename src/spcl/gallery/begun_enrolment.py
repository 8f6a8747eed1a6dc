"""Collecting the identities of a gallery in two steps: fix the version that is read, then read it.

A program that writes between both steps knows which images are in the version, and which came later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spcl.errors import InputError
from spcl.gallery.enrolment import HAS_IDENTITY, enrol, with_calibration
from spcl.gallery.enrolment_file import read_enrolled, write_enrolled
from spcl.gallery.filter_counts import CountedFilters
from spcl.gallery.snapshot import Snapshot
from spcl.gallery.store import Store
from spcl.reporting.console import Reporter
from spcl.verification.identification import Enrolled

if TYPE_CHECKING:
    from spcl.inference.embedding import Encoder


@dataclass(frozen=True)
class _Version:
    """The version that is read.

    Attributes:
        snapshot: Snapshot of the gallery.
        condition: A checked filter that only images with an identity pass.
        total: Number of images that pass it.
        state: State of the table before the snapshot was taken.
        is_kept: Whether the result is kept in the gallery's folder.
    """

    snapshot: Snapshot
    condition: str
    total: int
    state: str | None
    is_kept: bool


@dataclass(frozen=True)
class Enrolment:
    """Enrolled identities of one version of a gallery, known already or to be computed.

    Attributes:
        folder: Folder for files that are computed from the gallery.
        facts: Facts that were stored when the gallery was made.
        encoder: Encoder of the gallery, for its calibration; None: without a calibration.
        known: The enrolled identities that were kept in the folder; None: they are to be computed.
        version: The version to compute them from; None: they are known.
    """

    folder: Path
    facts: Mapping[str, Any]
    encoder: Encoder | None
    known: Enrolled | None
    version: _Version | None

    def compute(self, report: Reporter | None = None) -> Enrolled:
        """Give the enrolled identities, with the encoder's calibration; computed ones are kept in the folder.

        Raises:
            InputError: If every identity is a word for an unknown one.
        """
        found = self.known
        if found is None and self.version is not None:
            version = self.version
            found = enrol(version.snapshot, version.condition, version.total, report)
            if version.is_kept:
                write_enrolled(self.folder, version.state, self.facts, found)
        if found is None:
            raise AssertionError("an enrolment is known or has a version")
        return with_calibration(found, self.encoder, bool(self.facts.get("flip", False)))


def begin_enrolment(store: Store, passing: CountedFilters, where: str | None, encoder: Encoder | None) -> Enrolment:
    """Fix the newest version of a gallery.

    Args:
        store: The gallery's table.
        passing: Filters of the gallery that are counted already.
        where: A filter that images must pass; None: all images with an identity.
        encoder: Encoder of the gallery, for its calibration.

    Raises:
        InputError: If the filter cannot be used, or no image that passes has an identity.
    """
    known = read_enrolled(store.kept, store.state()) if where is None else None
    if known is not None:
        return Enrolment(store.kept, store.facts, encoder, known, None)
    state = store.state()
    named = HAS_IDENTITY if where is None else f"({where}) and {HAS_IDENTITY}"
    snapshot = store.reading(named)
    condition, total = passing.of(snapshot, named)
    if not total:
        raise InputError(
            f"no image of the gallery has an identity{' and passes the filter' if where else ''}: add images "
            "with identities (spcl embed --gallery with a table's column identity, or --identity-from folder)",
            code="no-identities",
        )
    version = _Version(snapshot, condition or "", total, state, where is None)
    return Enrolment(store.kept, store.facts, encoder, None, version)
