"""Opening what a server answers from: the gallery, its encoder, the engine, the calibration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from spcl.errors import InputError
from spcl.gallery.gallery import Gallery
from spcl.gallery.places import folder_of_gallery, opened_store
from spcl.reporting.console import Reporter, SilentReporter
from spcl.serve.engines import KEPT_FILE, ChosenEngine, chosen_engine
from spcl.serve.known_encoder import KnownEncoder, keep, read_known
from spcl.serve.settings import ServeRequest
from spcl.verification.stored_calibration import FACT, EncoderCalibration, stored_calibration, use_calibration


@dataclass(frozen=True)
class Served:
    """What a server answers from.

    Attributes:
        gallery: The gallery.
        encoder: What is known of its encoder.
        engine: What runs the network.
        calibration: Calibration of the encoder; None: there is none that fits.
        no_calibration: Why a calibration that is there is not used, as a sentence; None: there is none to be used.
    """

    gallery: Gallery
    encoder: KnownEncoder
    engine: ChosenEngine
    calibration: EncoderCalibration | None
    no_calibration: str | None


def open_served(request: ServeRequest, report: Reporter | None = None) -> Served:
    """Open the gallery of a server and make its engine ready.

    Args:
        request: What is served, and by which encoder.
        report: Receives the encoder, the engine and why it was chosen; None: nothing is shown.

    Raises:
        InputError: If the gallery, the encoder, the calibration or the engine cannot be used.
    """
    report = report or SilentReporter()
    folder = folder_of_gallery(request.gallery, "spcl serve")
    store = opened_store(folder)
    flip = bool(store.facts.get("flip", False))
    encoder, engine = read_known(store.kept, request, store.facts) or _loaded(request, folder, flip, report)
    gallery = Gallery.open(folder)
    gallery.check_fingerprint(encoder.fingerprint)
    if request.calibration:
        use_calibration(encoder, Path(request.calibration))
    calibration, unused = _calibration(encoder, flip)
    if unused is not None and request.calibration:
        raise InputError(f"{request.calibration} cannot be used: {unused}", code="calibration-mismatch")
    return Served(gallery, encoder, engine, calibration, unused)


def _loaded(request: ServeRequest, folder: Path, flip: bool, report: Reporter) -> tuple[KnownEncoder, ChosenEngine]:
    """Load the encoder, check that it is the gallery's, and choose its engine."""
    from spcl.gallery.gallery_encoder import encoder_to_search

    encoding = replace(request.encoding, flip=flip)
    encoder = encoder_to_search(encoding.encoder, folder, tuple, report)
    kept = Gallery.open(folder, encoder).kept
    kept.mkdir(parents=True, exist_ok=True)
    chosen = chosen_engine(
        encoder,
        encoding.runtime(),
        wanted=request.engine,
        file=Path(request.onnx_file) if request.onnx_file else kept / KEPT_FILE,
        is_given=bool(request.onnx_file),
        flip=flip,
        report=report,
    )
    known = KnownEncoder.of(encoder)
    keep(kept, request, known, chosen)
    return known, chosen


def _calibration(encoder: KnownEncoder, flip: bool) -> tuple[EncoderCalibration | None, str | None]:
    """The encoder's calibration, and why one that is there is not used."""
    found = stored_calibration(encoder)
    if found is None:
        unused = "the checkpoint's calibration is of other weights or another domain" if FACT in encoder.facts else None
        return None, unused
    if found.flip != flip:
        made, needed = ("with", "without") if found.flip else ("without", "with")
        return None, f"the calibration is of features {made} mirror images, and the gallery's are {needed} them"
    return found, None
