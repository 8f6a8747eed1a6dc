"""Flags that the commands share which encode images with a checkpoint, and how a command line becomes options.

Here and in the files of the commands, what is imported at the top is light: a help text or a wrong flag is answered
without torch. What computes is imported by the functions that run it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from spcl.cli.command_line import options_of
from spcl.cli.computing import ComputingOptions
from spcl.cli.encoder_flags import EncoderOptions, with_flag_for_checkpoint, with_words_in_place
from spcl.data.source_options import DATA_DIR, Duplicates, Layout, SourceOptions
from spcl.errors import InputError
from spcl.inference.encode_options import EncodeOptions
from spcl.threads import use_threads


@dataclass(frozen=True, kw_only=True)
class EncodingOptions(EncoderOptions):
    """How images are read and encoded."""

    data_dir: str = DATA_DIR
    """Folder that holds the registered data sets."""
    columns: str = ""
    """Names of the table's columns, where they differ from the standard ones: path=file,identity=track_id."""
    time_format: str = ""
    """Format of the times in a table, in the codes of strptime (%d.%m.%Y). Without it: ISO 8601, EXIF or Unix time."""
    layout: Layout = "auto"
    """Which images of a folder: all below it, or those in the folders of a data set. auto: an error if these differ by
    more than a tenth."""
    duplicates: Duplicates = "keep"
    """Byte-identical copies: keep all, or only the first."""
    workers: int | Literal["auto"] = "auto"
    """Number of threads that decode images. auto: as --threads; 0: no separate threads."""
    device: str = "auto"
    """Device of the network: auto, cpu, cuda, cuda:N or mps."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Floating-point precision of the network."""

    def check(self) -> None:
        """Check the shared options, then the number of threads that decode."""
        super().check()
        if self.workers != "auto":
            at_least("--workers", self.workers, 0)
        self.source()

    def source(self) -> SourceOptions:
        """How the images are found and what is read about them."""
        return SourceOptions(
            data_dir=self.data_dir,
            columns=self.columns,
            time_format=self.time_format,
            identity_from=getattr(self, "identity_from", "auto"),
            duplicates=self.duplicates,
            layout=self.layout,
        )

    def encoding(self) -> EncodeOptions:
        """Which encoder looks at the images, and how."""
        return EncodeOptions(
            encoder=self.choice(),
            flip=getattr(self, "flip", False),
            workers=self.workers,
            device=self.device,
            precision=self.precision,
        )


@dataclass(frozen=True, kw_only=True)
class FeatureOptions(EncodingOptions):
    """As ``EncodingOptions``, for features that are compared with others: all of them are made in one way."""

    flip: bool = False
    """Average the features of each image and its mirror image. Use it for all features that are compared, or for
    none."""


_DATA_AND_PLACES = frozenset(
    {
        *(
            "--target",
            "--source",
            "--pairs",
            "--data-dir",
            "--columns",
            "--identity-from",
            "--layout",
            "--evaluate",
            "--images",
        ),
        *("--checkpoint", "--from-checkpoint", "--pretrained", "--config", "--where", "--camera-not"),
        *(
            "-o",
            "--out",
            "--output",
            "--gallery",
            "--groups",
            "--logs-dir",
            "--report",
            "--picture",
            "--save-picture",
            "--cache-dir",
        ),
    }
)
"""Flags that name what is read or written."""

Options = TypeVar("Options", bound=ComputingOptions)


def parsed(
    kind: type[Options], arguments: Sequence[str], prog: str, *, default: Options | None = None, flat: bool = False
) -> Options:
    """A command line as checked options; the threads that they ask for are used from here on.

    Args:
        kind: The options of the command.
        arguments: The words after its name.
        prog: Name of the program in the help text.
        default: Values of the flags that are not given; None: those of ``kind``.
        flat: Flags of nested options have no prefix.

    Raises:
        InputError: If a value cannot be used.
    """
    if issubclass(kind, EncoderOptions):
        arguments = with_flag_for_checkpoint(kind, arguments)
    refuse_repeated(arguments)
    refuse_empty(arguments)
    options = options_of(kind, arguments, prog, default=default, flat=flat)
    if isinstance(options, EncoderOptions):
        options = with_words_in_place(options, prog)
    options.check()
    use_threads(options.threads)
    return options


def refuse_repeated(words: Sequence[str]) -> None:
    """Look for flags that name data or places and are given twice: the first would be dropped in silence.

    Of a setting the last counts, as usual: scripts add to a line that they were given.

    Raises:
        InputError: If the flag names what is read or written: nothing that is given is dropped.
    """
    given: dict[str, list[str]] = {}
    for at, word in enumerate(words):
        if word == "--":
            return
        flag, equals, value = word.partition("=")
        if not flag.startswith("-") or flag[1:2].isdecimal() or flag[1:2] in ("", "."):
            continue
        end = next((later for later in range(at + 1, len(words)) if words[later].startswith("-")), len(words))
        # What follows the one value of a flag may be a word of its own.
        values = [value] if equals else list(words[at + 1 : end])[:1]
        name = flag.replace("_", "-")
        if name in _DATA_AND_PLACES and given.setdefault(name, values) != values:
            first, second = " ".join(given[name]), " ".join(values)
            raise InputError(f"{flag} is given twice, with {first} and {second}; give it once", code="flag-given-twice")


def refuse_empty(words: Sequence[str]) -> None:
    """Raise an ``InputError`` for an empty word that is no flag's value: it would count as one that was left out."""
    if any(not word and (at == 0 or not words[at - 1].startswith("-")) for at, word in enumerate(words)):
        raise InputError(
            "an empty word is given where a checkpoint or images are expected; a variable of your shell may not be set",
            code="missing-argument",
        )


def at_least(flag: str, value: int, least: int) -> None:
    """Raise an ``InputError`` for a value that is too small."""
    if value < least:
        raise InputError(f"{flag} is {value}; expected at least {least}", code="setting-out-of-range")


def checked_rate(rate: float) -> None:
    """Raise an ``InputError`` for a false-match rate that is none."""
    if not 0 < rate < 1:
        raise InputError(
            f"the false-match rate is {rate:g}; expected above 0 and below 1, for example 0.01",
            code="setting-out-of-range",
        )
