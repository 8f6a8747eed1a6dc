"""Settings of the server: the address, who may use it, and the limits of what it accepts. Torch is not loaded."""

from __future__ import annotations

import hmac
import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from spcl.data.image_files import what_is_there
from spcl.errors import InputError, first_line, require
from spcl.inference.encode_options import EncodeOptions

EngineName = Literal["auto", "torch", "onnx"]

TOKEN_VARIABLE = "SPCL_TOKEN"
"""Environment variable that holds the token, where no file is given."""

_LEAST_TOKEN = 16
_MIB = 2**20


@dataclass(frozen=True)
class ServeLimits:
    """Limits of requests; what exceeds one is answered with an error, before it costs memory or time.

    Attributes:
        image_bytes: Bytes of one image file.
        image_pixels: Pixels of one image, width times height, read from its header before it is decoded.
        images: Images of one request.
        body_bytes: Bytes of the body of one request.
        all_body_bytes: Bytes of the bodies of all requests that are being received or answered.
        requests: Requests that are answered at the same time.
        waiting_images: Images that wait for the network.
        batch: Images that the network encodes at a time.
        header_seconds: Seconds in which a client must send the head of a request.
        body_seconds: Seconds in which a client must send the body of a request, and then receive the answer.
        stop_seconds: Seconds that requests which have begun may take after SIGTERM.
    """

    image_bytes: int = 16 * _MIB
    image_pixels: int = 40_000_000
    images: int = 64
    body_bytes: int = 64 * _MIB
    all_body_bytes: int = 256 * _MIB
    requests: int = 256
    waiting_images: int = 512
    batch: int = 16
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    stop_seconds: float = 30.0

    def __post_init__(self) -> None:
        """Raise an ``InputError`` for a limit that is not positive."""
        for name, value in vars(self).items():
            require(value > 0, name, value, "above 0")


@dataclass(frozen=True)
class ServeRequest:
    """What is served, at which address, and by which encoder.

    Attributes:
        gallery: Folder of the gallery.
        host: Address to listen at; other programs of this machine alone reach ``127.0.0.1``.
        port: Port to listen at; 0: a free one.
        token_file: File that holds the token which clients must send; empty: the environment variable ``SPCL_TOKEN``,
            and if that is not set, no token, which is accepted on this machine's own address only.
        engine: What runs the network: ``torch``, ``onnx`` (onnxruntime; its file is made once and kept in the gallery's
            folder), or ``auto``: the faster one, where the file is there.
        onnx_file: An ONNX file of ``spcl export`` for the engine ``onnx``; empty: that in the gallery's folder.
        calibration: A file of ``spcl calibrate -o`` that replaces the calibration in the checkpoint; empty: none.
        limits: Limits of requests.
        encoding: The encoder and its options; by default the gallery's encoder.
    """

    gallery: str | Path
    host: str = "127.0.0.1"
    port: int = 8000
    token_file: str | Path = ""
    engine: EngineName = "auto"
    onnx_file: str | Path = ""
    calibration: str | Path = ""
    limits: ServeLimits = field(default_factory=ServeLimits)
    encoding: EncodeOptions = field(default_factory=EncodeOptions)

    def __post_init__(self) -> None:
        """Raise an ``InputError`` for a port out of range, or for a file of an engine that is not used."""
        require(0 <= self.port < 65536, "port", self.port, "0 to 65535")
        if self.onnx_file and self.engine == "torch":
            raise InputError(
                f"the ONNX file {self.onnx_file} is not used by the engine torch; leave one of both out",
                code="option-contradiction",
            )


@dataclass(frozen=True)
class Token:
    """The secret that clients send; ``repr`` does not show it."""

    value: str = field(repr=False)

    def is_equal(self, given: str) -> bool:
        """Whether a client's text is the token; the time of the comparison does not depend on the text."""
        return hmac.compare_digest(self.value.encode(), given.encode("utf-8", "surrogateescape"))


def is_own_address(host: str) -> bool:
    """Whether only programs of this machine reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_token(host: str, token_file: str | Path) -> Token | None:
    """Read the token from its file or from the environment; None: there is none, and none is needed.

    Args:
        host: Address to listen at.
        token_file: File that holds the token; empty: the environment variable ``SPCL_TOKEN``.

    Raises:
        InputError: If other machines can reach the address and there is no token, or the token is short or cannot be
            read.
    """
    if token_file:
        path = Path(token_file)
        if not path.is_file():
            raise InputError(f"there is no token file {path}: {what_is_there(path)}", code="no-such-file")
        try:
            text, place = path.read_text(encoding="utf-8").strip(), f"the token in {path}"
        except (OSError, ValueError) as error:
            raise InputError(f"cannot read the token file {path}: {first_line(error)}", code="cannot-read") from error
    else:
        text, place = os.environ.get(TOKEN_VARIABLE, "").strip(), f"the token in {TOKEN_VARIABLE}"
        if not text and is_own_address(host):
            return None
        if not text:
            raise InputError(
                f"other machines can reach {host}, so that a token is required: write a random text into a file "
                "(openssl rand -hex 32 > token) and give --token-file token, or set the environment variable "
                f"{TOKEN_VARIABLE}",
                code="token-required",
            )
    if len(text) < _LEAST_TOKEN or not text.isascii() or not text.isprintable() or " " in text:
        raise InputError(
            f"{place} cannot be used: expected at least {_LEAST_TOKEN} ASCII characters without blanks, for example of "
            "openssl rand -hex 32",
            code="invalid-token",
        )
    return Token(text)
