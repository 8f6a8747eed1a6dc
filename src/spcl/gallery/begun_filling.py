"""How far a run that adds images to a gallery has come, so that the same command goes on after it was stopped.

A small file beside the gallery, ``filling-….json``, is written after each part and removed at the end. Its name is a
checksum of the images, their columns and the encoder: another command begins from its own start.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from spcl.atomic_files import written_aside
from spcl.errors import InputError
from spcl.gallery.columns import KEY
from spcl.gallery.gallery import Gallery
from spcl.gallery.images_to_rows import EmbeddedRows, FoundImages
from spcl.gallery.result import Added
from spcl.gallery.shards import digest_of
from spcl.nested_text import json_of

_LAYOUT = 1
_ROWS = 65_536


class BegunFilling:
    """The images that a stopped run has added, and those of this run.

    Attributes:
        num_covered: Number of images that are done, those that could not be read among them.
        added: What was added, and the images that could not be read.
    """

    def __init__(self, gallery: Gallery, found: FoundImages) -> None:
        """Read how far a run of the same images has come.

        Args:
            gallery: The gallery.
            found: All images of the run.
        """
        name = hashlib.sha256(f"{gallery.fingerprint} {digest_of(found)}".encode()).hexdigest()[:16]
        self._file = gallery._store.kept / f"filling-{name}.json"
        self.num_covered, self.added = self._read(gallery, found)

    def take(self, part: EmbeddedRows, added: Added) -> None:
        """Record that a part is in the gallery; if the file cannot be written, a stopped run begins anew."""
        self.num_covered += len(part.table) + len(part.broken)
        self.added += Added(added.num_added, added.num_replaced, part.broken)
        values = {
            "layout": _LAYOUT,
            "covered": self.num_covered,
            "added": self.added.num_added,
            "replaced": self.added.num_replaced,
            "broken": [(str(path), reason) for path, reason in self.added.broken],
        }
        with suppress(InputError), written_aside(self._file) as aside:
            aside.write_text(json.dumps(values), encoding="utf-8")

    def finish(self) -> None:
        """Forget the run, which is complete."""
        with suppress(OSError):
            self._file.unlink(missing_ok=True)

    def _read(self, gallery: Gallery, found: FoundImages) -> tuple[int, Added]:
        none = 0, Added(0, 0)
        # A damaged file raises errors of many types; the run then begins anew.
        with suppress(OSError, ValueError, KeyError, TypeError):
            values: dict[str, Any] = json_of(self._file.read_text(encoding="utf-8"))
            broken = tuple((Path(path), str(reason)) for path, reason in values["broken"])
            num_covered = int(values["covered"])
            if values["layout"] != _LAYOUT or not 0 < num_covered <= len(found.records):
                return none
            done = found.table.column("path").slice(0, num_covered).to_pylist()
            unread = {str(path) for path, _ in broken}
            if _are_in(gallery, [path for path in done if path not in unread]):
                return num_covered, Added(int(values["added"]), int(values["replaced"]), broken)
        return none


def _are_in(gallery: Gallery, paths: list[str]) -> bool:
    """Whether all of some images are in the gallery: it may have been made again, or images removed."""
    snapshot = gallery._store.snapshot()
    if not snapshot.has_keys:
        return False
    wanted = pa.array(gallery._store.keys.of(paths).keys, pa.string()).unique()
    is_there = np.zeros(len(wanted), dtype=bool)
    for _, batch in snapshot.scan([KEY], rows=_ROWS):
        places = pc.index_in(batch.column(KEY), value_set=wanted)
        is_there[places.drop_null().to_numpy(zero_copy_only=False)] = True
    return bool(is_there.all())
