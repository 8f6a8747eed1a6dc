"""Calibration of an encoder: which similarity gives which probability and which false-match rate.

This file computes a calibration and writes it; ``stored_calibration.py`` reads it. The pairs that it is fitted to are
chosen in ``calibration_pairs.py``; the fit is in ``verification/calibration.py``; ``compare.py`` uses the result.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spcl.atomic_files import written_aside
from spcl.errors import InputError
from spcl.inference.checkpoint import add_facts
from spcl.inference.embedding import EmbeddedImages, EmbedSettings, Encoder, embed_records
from spcl.inference.encoder_origin import FACT as ENCODER_FACT
from spcl.inference.encoder_origin import EncoderOrigin
from spcl.randomness import generator
from spcl.records import Record
from spcl.reporting.console import Reporter
from spcl.reporting.quiet_reporters import LoggingReporter
from spcl.runtime import Runtime
from spcl.threads import NumThreads
from spcl.verification.calibration import Calibration
from spcl.verification.stored_calibration import FACT, EncoderCalibration

if TYPE_CHECKING:
    from spcl.pairs.pair_sources import PairSources
    from spcl.verification.calibration_pairs import CalibrationPairs

_MOST_IMAGES = 30_000
_BLOCK = 100


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
    from spcl.pairs.pair_sources import constraints_and_fair_ones
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
        known, fair = constraints_and_fair_ones(pairs, embedded.records)
        moments = None if moments is None else moments[rows]
        drawn = unlabelled_pairs(embedded, altered, moments, rng, known, impostors=fair)
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
