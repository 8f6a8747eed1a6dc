"""The calibration of an encoder as a checkpoint or a file holds it. Torch is not loaded.

``calibrate.py`` makes a calibration and writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from spcl.data.image_files import what_is_there
from spcl.errors import InputError, first_line
from spcl.format_versions import CALIBRATION, KEY, unstamped
from spcl.inference.encoder_origin import FACT as ENCODER_FACT
from spcl.inference.encoder_origin import EncoderOrigin, RememberedEncoder
from spcl.nested_text import json_of
from spcl.short_repr import with_short_repr
from spcl.verification.calibration import Calibration
from spcl.verification.stored_values import check_kind, check_whole
from spcl.verification.thresholds import Threshold

FACT = "calibration"
"""Key of a calibration in the facts of a checkpoint."""

Origin = Literal["labels", "no labels"]


class Calibrated(Protocol):
    """What has a calibration: an encoder, or what is known of one.

    Attributes:
        facts: Plain values that the checkpoint holds beside the weights, the calibration among them.
    """

    facts: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the encoder."""

    @property
    def origin(self) -> EncoderOrigin | None:
        """How the encoder was made; None: unknown."""


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


def use_calibration(encoder: Calibrated, path: Path) -> EncoderCalibration:
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


def stored_calibration(encoder: Calibrated) -> EncoderCalibration | None:
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
