"""Calibration of an encoder: which similarity gives which probability and which false-match rate.

This file computes a calibration, stores it in a checkpoint and reads it from there. The pairs that it is fitted to are
chosen in ``calibration_pairs.py``; the fit is in ``verification/calibration.py``; ``compare.py`` uses the result.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from spcl.atomic_files import written_aside
from spcl.data.image_files import what_is_there
from spcl.errors import InputError, first_line
from spcl.format_versions import CALIBRATION, KEY, unstamped
from spcl.inference.checkpoint import add_facts
from spcl.inference.embedding import EmbeddedImages, EmbedSettings, Encoder, embed_records
from spcl.inference.encoder_choice import RememberedEncoder
from spcl.inference.encoder_origin import FACT as ENCODER_FACT
from spcl.inference.encoder_origin import EncoderOrigin
from spcl.nested_text import json_of
from spcl.randomness import generator
from spcl.records import Record
from spcl.reporting.console import Reporter
from spcl.reporting.quiet_reporters import LoggingReporter
from spcl.runtime import Runtime
from spcl.short_repr import with_short_repr
from spcl.threads import NumThreads
from spcl.verification.calibration import Calibration
from spcl.verification.stored_values import check_kind, check_whole
from spcl.verification.thresholds import Threshold

if TYPE_CHECKING:
    from spcl.pairs.pair_sources import PairSources
    from spcl.verification.calibration_pairs import CalibrationPairs

FACT = "calibration"
"""Key of a calibration in the facts of a checkpoint."""

_MOST_IMAGES = 30_000
_BLOCK = 100

Origin = Literal["labels", "no labels"]


@with_short_repr
@dataclass(frozen=True)
class EncoderCalibration:
    """The calibration of one encoder, with its origin.

    Attributes:
        calibration: Maps similarities to probabilities and false-match rates.
        origin: Whether the pairs come from identities (``labels``) or from clusters (``no labels``).
        fingerprint: Fingerprint of the encoder; the calibration does not hold for another encoder.
        num_images: Number of images whose pairs were compared.
        num_groups: Number of identities, or of clusters in their place.
        notes: Limits of the calibration, in sentences.
        flip: Whether features are averaged with those of mirror images.
    """

    calibration: Calibration
    origin: Origin
    fingerprint: str
    num_images: int
    num_groups: int
    notes: tuple[str, ...] = ()
    flip: bool = False

    def threshold(self, false_match_rate: float = 0.01) -> Threshold:
        """Give the similarity threshold for a false-match rate, by ``Calibration.threshold``."""
        return self.calibration.threshold(false_match_rate)

    def to_dict(self) -> dict[str, Any]:
        """Give the calibration as plain values, for a checkpoint or a JSON file."""
        own = {KEY: CALIBRATION, "calibration": self.calibration.to_dict(), "notes": list(self.notes)}
        return asdict(self) | own

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EncoderCalibration:
        """Build a calibration from the values that ``to_dict`` gave.

        Raises:
            ValueError: If a value is missing, unknown, or cannot be that of a calibration.
            InputError: If a newer version of spcl wrote it.
        """
        try:
            values = unstamped(values, CALIBRATION, "the calibration")
            # Earlier versions stored the number of objects, and whether identities are known, only at this level.
            older = {"num_objects": values["num_groups"], "labelled": values["origin"] == "labels"}
            calibration = Calibration.from_dict(older | dict(values["calibration"]))
            own = {"calibration": calibration, "notes": tuple(values["notes"])}
            found = cls(**(values | own))
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a calibration: {error}") from error
        if found.origin not in get_args(Origin):
            raise ValueError(f"origin is {found.origin!r}; expected {' or '.join(get_args(Origin))}")
        check_kind(found.fingerprint, str, "fingerprint")
        check_kind(found.flip, bool, "flip")
        check_whole(found.num_images, "num_images")
        check_whole(found.num_groups, "num_groups")
        for note in found.notes:
            check_kind(note, str, "a note")
        return found


def calibrate(
    encoder: Encoder,
    records: Sequence[Record],
    *,
    labelled: bool = False,
    moments: NDArray[np.int64] | None = None,
    seed: int = 0,
    runtime: Runtime | None = None,
    report: Reporter | None = None,
    num_threads: NumThreads = "auto",
    flip: bool = False,
    pairs: PairSources | None = None,
) -> EncoderCalibration:
    """Calibrate the similarities of an encoder on images like the ones it will be used on.

    Use images that it was not trained on: training images of one object are more similar than those of new objects.

    Args:
        encoder: The encoder; it is moved to the runtime's device.
        records: The images, with identities if ``labelled``; cameras improve the result. Of more than 30,000 images,
            blocks of neighbouring rows are drawn.
        labelled: Whether pairs are taken from the identities; otherwise from clusters.
        moments: ``[len(records)]`` int, used without labels. Images with equal numbers were taken by one camera at one
            time, and so show different objects; -1: unknown. None: unknown for all images.
        seed: Seed of the random draws.
        runtime: Device and precision; None: the CPU.
        report: Receives progress.
        num_threads: Number of threads that decode images; ``auto``: as many as compute.
        flip: Whether to average the features of each image and its mirror image; the calibration holds for such
            features only.
        pairs: Sources of known pairs of the images, used without labels: tracks, a table of pairs. None: none.

    Raises:
        InputError: If the images do not give enough pairs, or objects do not differ more than images of one.
    """
    # Imported here because reading a calibration does not need this compiled code.
    from spcl.pairs.pair_sources import constraints_of
    from spcl.verification.calibration_pairs import altered_similarities, labelled_pairs, unlabelled_pairs

    report, runtime = report or LoggingReporter(), runtime or Runtime("cpu")
    if labelled and all(record.identity is None for record in records):
        raise InputError(
            "a calibration with labels needs identities, and the images have none: give a folder per identity, a table "
            "with a column identity, or leave --labels out",
            code="no-identities",
        )
    chosen = _blocks(len(records), _MOST_IMAGES, generator(seed, "images to calibrate"))
    some = [records[row] for row in chosen.tolist()]
    settings = EmbedSettings(runtime=runtime, num_threads=num_threads, flip=flip)
    embedded = embed_records(encoder, some, settings, report=report)
    rng = generator(seed, "pairs to calibrate")
    if labelled:
        drawn = labelled_pairs(embedded, rng)
    else:
        unread = {path for path, _ in embedded.broken}
        rows = [row for row in chosen.tolist() if records[row].path not in unread]
        altered = altered_similarities(encoder, embedded, runtime, report, num_threads, rng, flip=flip)
        known = None if pairs is None else constraints_of(pairs, embedded.records)
        drawn = unlabelled_pairs(embedded, altered, None if moments is None else moments[rows], rng, known)
    return EncoderCalibration(
        _fitted(drawn, len(embedded.records)),
        "labels" if labelled else "no labels",
        encoder.fingerprint,
        num_images=len(embedded.records),
        num_groups=drawn.num_groups,
        notes=(*_notes(embedded, len(some), len(records)), *drawn.notes),
        flip=flip,
    )


def _fitted(pairs: CalibrationPairs, num_images: int) -> Calibration:
    kind, labels = ("identities", "") if pairs.labelled else ("clusters", ", labels (--labels)")
    try:
        return pairs.fit()
    except ValueError as error:
        raise InputError(
            f"cannot calibrate on {num_images} images of {pairs.num_groups} {kind}: {error}. What helps: images of "
            f"more objects{labels}, or a better encoder",
            code="too-few-pairs",
        ) from error


def _notes(embedded: EmbeddedImages, num_chosen: int, num_given: int) -> list[str]:
    notes = []
    if num_chosen < num_given:
        notes.append(f"fitted to {num_chosen} of {num_given} images, in blocks of {_BLOCK} neighbours in the list")
    if embedded.broken:
        path, reason = embedded.broken[0]
        # Only the file name, not its folder: a calibration is shared with its checkpoint.
        notes.append(f"{len(embedded.broken)} images could not be read; the first, {path.name}: {reason}")
    return notes


def _blocks(count: int, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw at most ``most`` of ``count`` row numbers, ascending, in blocks: neighbouring rows often show one object."""
    if count <= most:
        return np.arange(count)
    starts = np.sort(rng.choice(count // _BLOCK, size=most // _BLOCK, replace=False)) * _BLOCK
    return np.asarray((starts[:, None] + np.arange(_BLOCK)).reshape(-1))


def store_calibration(path: str | Path, found: EncoderCalibration, *, arch: str | None = None) -> None:
    """Write a calibration into a checkpoint, in place of an earlier one, by a temporary file that is then renamed.

    Args:
        path: The checkpoint.
        found: The calibration.
        arch: Architecture; needed only for a checkpoint that does not contain it.

    Raises:
        InputError: If the file cannot be read or written.
    """
    add_facts(Path(path), {FACT: found.to_dict()}, arch=arch)


def write_calibration(path: Path, found: EncoderCalibration, origin: EncoderOrigin | None) -> None:
    """Write a calibration and the origin of its encoder into a JSON file, by a temporary file that is then renamed.

    Raises:
        InputError: If the file cannot be written.
    """
    values = found.to_dict() | {ENCODER_FACT: None if origin is None else origin.to_dict()}
    with written_aside(path) as aside:
        aside.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def read_calibration(path: Path) -> tuple[EncoderCalibration, RememberedEncoder]:
    """Read a calibration from a JSON file, with the description of its encoder.

    Raises:
        InputError: If there is no such file, or it contains no calibration.
    """
    if not path.is_file():
        raise InputError(
            f"there is no calibration {path}: {what_is_there(path)}; spcl calibrate IMAGES -o FILE writes one",
            code="no-such-file",
        )
    try:
        values = dict(json_of(path.read_text(encoding="utf-8")))
        origin = EncoderOrigin.of_facts(values)
        found = EncoderCalibration.from_dict({name: value for name, value in values.items() if name != ENCODER_FACT})
    except InputError:
        raise
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not a calibration ({first_line(error)}); spcl calibrate IMAGES -o FILE writes one",
            code="not-a-calibration",
        ) from error
    return found, RememberedEncoder(f"the calibration {path}", found.fingerprint, origin)


def use_calibration(encoder: Encoder, path: Path) -> EncoderCalibration:
    """Set an encoder's calibration from a file, in place of its checkpoint's.

    Raises:
        InputError: If the file cannot be read, or is the calibration of another encoder.
    """
    found, remembered = read_calibration(path)
    if found.fingerprint != encoder.fingerprint:
        made = f" ({remembered.origin})" if remembered.origin is not None else ""
        raise InputError(
            f"{remembered.holder} is for the encoder {found.fingerprint}{made}, not for {encoder.fingerprint} "
            f"({encoder.origin or 'of unknown origin'}): run spcl calibrate with this encoder (docs/compare.md)",
            code="encoder-mismatch",
        )
    encoder.facts[FACT] = found.to_dict()
    return found


def stored_calibration(encoder: Encoder) -> EncoderCalibration | None:
    """Give the calibration in an encoder's checkpoint; None without one, or if it is of other weights or domain.

    Raises:
        InputError: If the stored values are damaged or of an unknown version.
    """
    values = encoder.facts.get(FACT)
    if values is None:
        return None
    try:
        found = EncoderCalibration.from_dict(values)
    except InputError:
        raise
    except (ValueError, AttributeError) as error:
        raise InputError(
            f"the calibration in the checkpoint cannot be understood ({error}); make it again with spcl calibrate",
            code="not-a-calibration",
        ) from error
    return found if found.fingerprint == encoder.fingerprint else None
