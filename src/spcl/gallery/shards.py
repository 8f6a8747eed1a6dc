"""Features as a folder of Parquet files (shards), for more images than one run should have to compute at once.

Each shard holds the features of the next images, and in its metadata how many images it covers and which of them could
not be read. A run that was stopped goes on behind its last complete shard. ``features.json`` names the images and the
encoder, so that a folder is only continued with both; it says ``complete`` at the end.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from spcl.atomic_files import check_way, written_aside
from spcl.data.image_files import what_is_there
from spcl.errors import InputError, first_line
from spcl.file_lock import held_lock
from spcl.gallery.images_to_rows import EmbeddedRows, FoundImages
from spcl.nested_text import json_of

PLAN = "features.json"
IMAGES_A_SHARD = 16_384
_FORMAT = 1
_COVERED = b"spcl_shard"
_SHARDS = "part-*.parquet"


@dataclass(frozen=True)
class BegunShards:
    """What the complete shards of a folder hold.

    Attributes:
        num_shards: Number of shards.
        num_covered: Number of images that they cover, those that could not be read among them.
        num_images: Number of features.
        broken: Path and reason of each image that could not be read.
    """

    num_shards: int = 0
    num_covered: int = 0
    num_images: int = 0
    broken: tuple[tuple[Path, str], ...] = ()


def is_shards_folder(path: Path) -> bool:
    """Whether a path is a folder that ``ShardsWriter`` wrote."""
    return (path / PLAN).is_file()


def shards_of(folder: Path) -> list[Path]:
    """The shards of a complete folder, in order.

    Raises:
        InputError: If the folder is not complete, or damaged.
    """
    plan = _plan_of(folder)
    if not plan.get("complete"):
        begun = begun_shards(folder)
        raise InputError(
            f"the features in {folder} are not complete: {begun.num_covered} of {plan.get('num_images')} images. Run "
            "the command that began them again: it goes on where it stopped",
            code="incomplete-features",
        )
    shards = sorted(folder.glob(_SHARDS))
    if len(shards) != plan.get("num_shards"):
        raise InputError(
            f"the features in {folder} are damaged: it holds {len(shards)} of {plan.get('num_shards')} files "
            "part-….parquet. Copy the missing ones, or write the features to another folder",
            code="damaged-file",
        )
    return shards


def begun_shards(folder: Path) -> BegunShards:
    """Read which images the shards of a folder cover.

    Raises:
        InputError: If a shard cannot be read.
    """
    begun = BegunShards()
    for number, shard in enumerate(sorted(folder.glob(_SHARDS))):
        try:
            metadata = pq.read_metadata(shard)
            covered = dict(json_of((metadata.metadata or {})[_COVERED]))
            begin, end, broken = int(covered["begin"]), int(covered["end"]), list(covered["broken"])
            found = [(Path(path), str(reason)) for path, reason in broken]
        except (pa.ArrowInvalid, OSError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{shard} cannot be read: {first_line(error)}. Remove it and the later ones, and run the command again",
                code="damaged-file",
            ) from error
        if shard != _shard(folder, number) or begin != begun.num_covered:
            raise InputError(
                f"{shard} does not follow the files before it; remove it and the later ones, and run the command again",
                code="damaged-file",
            )
        begun = BegunShards(number + 1, end, begun.num_images + metadata.num_rows, (*begun.broken, *found))
    return begun


@contextmanager
def open_shards(folder: Path, found: FoundImages, facts: Mapping[str, Any], dim: int) -> Iterator[ShardsWriter]:
    """Begin a folder of shards, or go on with one that was stopped; no other run may write to it meanwhile.

    Args:
        folder: The folder; it is made.
        found: The images.
        facts: The encoder, as ``features_file`` stores it.
        dim: D, the length of a feature.

    Raises:
        InputError: If the folder is complete, belongs to other images or another encoder, or holds something else.
    """
    check_way(folder)
    if folder.exists() and not is_shards_folder(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"{folder} exists already, and is no folder of features: {what_is_there(folder)}. Give another name",
            code="already-exists",
        )
    plan = {
        "format": _FORMAT,
        "facts": {**facts, "dim": dim},
        "num_images": len(found.records),
        "images": digest_of(found),
    }
    folder.mkdir(parents=True, exist_ok=True)
    busy = InputError(f"another run writes features to {folder}; wait until it has ended", code="busy")
    is_ours = False
    try:
        with held_lock(folder / ".lock", longest_wait=0, busy=busy, place=str(folder)):
            is_ours = True
            begun = begun_shards(folder)
            held = _plan_of(folder) if is_shards_folder(folder) else {}
            # A run that has written no features leaves nothing to continue.
            if begun.num_shards or held.get("complete"):
                _check_same(folder, held, plan)
            else:
                _write_plan(folder, plan)
            try:
                with ShardsWriter(folder, plan, begun) as writer:
                    yield writer
            except BaseException:
                if not any(folder.glob(_SHARDS)):
                    (folder / PLAN).unlink(missing_ok=True)
                raise
    finally:
        if is_ours and not is_shards_folder(folder):
            with suppress(OSError):
                (folder / ".lock").unlink(missing_ok=True)
                folder.rmdir()


class ShardsWriter:
    """Writes embedded images to shards, one after the other.

    Attributes:
        begun: What was there before.
    """

    def __init__(self, folder: Path, plan: Mapping[str, Any], begun: BegunShards) -> None:
        self.begun = begun
        self._folder, self._plan = folder, plan
        self._number, self._begin = begun.num_shards, begun.num_covered
        self._parts: list[EmbeddedRows] = []

    def __enter__(self) -> ShardsWriter:
        return self

    def take(self, part: EmbeddedRows) -> None:
        """Add the next images; a shard is written as soon as enough are there."""
        self._parts.append(part)
        if self._covered() >= IMAGES_A_SHARD:
            self._write()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the last shard, and mark the folder as complete, unless there was an error."""
        if kind is not None:
            return
        if self._parts:
            self._write()
        _write_plan(self._folder, {**self._plan, "complete": True, "num_shards": self._number})

    def _covered(self) -> int:
        return sum(len(part.table) + len(part.broken) for part in self._parts)

    def _write(self) -> None:
        from spcl.gallery.features_file import features_table

        end = self._begin + self._covered()
        broken = [(str(path), reason) for part in self._parts for path, reason in part.broken]
        covered = {"begin": self._begin, "end": end, "broken": broken}
        tables = pa.concat_tables([part.table for part in self._parts], promote_options="default")
        features: NDArray[np.float32] = np.concatenate([part.features for part in self._parts])
        facts = self._plan["facts"]
        table, options = features_table(tables, features, facts["dim"], facts)
        metadata = {**(table.schema.metadata or {}), _COVERED: json.dumps(covered).encode()}
        with written_aside(_shard(self._folder, self._number)) as aside:
            pq.write_table(table.replace_schema_metadata(metadata), aside, **options)
        self._number, self._begin, self._parts = self._number + 1, end, []


def rest_of(found: FoundImages, num_covered: int) -> FoundImages:
    """The images behind the first ``num_covered``."""
    return FoundImages(found.records[num_covered:], found.table.slice(num_covered), found.notes)


def _shard(folder: Path, number: int) -> Path:
    return folder / f"part-{number:06d}.parquet"


def digest_of(found: FoundImages) -> str:
    """A checksum of the paths and columns of the images, in their order."""
    digest = hashlib.sha256()
    for batch in found.table.to_batches(65_536):
        digest.update(batch.serialize())
    return digest.hexdigest()


def _plan_of(folder: Path) -> dict[str, Any]:
    try:
        plan = dict(json_of((folder / PLAN).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{folder / PLAN} cannot be read: {first_line(error)}", code="damaged-file") from error
    if plan.get("format") != _FORMAT:
        raise InputError(
            f"{folder / PLAN} has the format {plan.get('format')}; this version reads {_FORMAT}: upgrade spcl",
            code="newer-format",
        )
    return plan


def _write_plan(folder: Path, plan: Mapping[str, Any]) -> None:
    with written_aside(folder / PLAN) as aside:
        aside.write_text(json.dumps(plan, indent=1), encoding="utf-8")


def _check_same(folder: Path, held: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    differing: Sequence[str] = [
        name
        for name, differs in {
            "images or their columns": held.get("images") != wanted["images"],
            "encoder": _fact(held, "fingerprint") != _fact(wanted, "fingerprint"),
            "value of --flip": _fact(held, "flip") != _fact(wanted, "flip"),
        }.items()
        if differs
    ]
    if differing:
        raise InputError(
            f"the features in {folder} were begun with another {differing[0]}; give another folder",
            code="already-exists",
        )
    if held.get("complete"):
        raise InputError(
            f"{folder} holds the features of these images already; give another name", code="already-exists"
        )


def _fact(plan: Mapping[str, Any], name: str) -> Any:
    facts = plan.get("facts")
    return facts.get(name) if isinstance(facts, Mapping) else None
