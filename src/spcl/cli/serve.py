"""``spcl serve``: a server over HTTP for programs and people, from one gallery."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import tyro

from spcl.cli.encoder_flags import CheckpointWord, EncoderOptions
from spcl.cli.options import parsed
from spcl.errors import require
from spcl.inference.encode_options import EncodeOptions
from spcl.reporting.console import ConsoleReporter, Reporter, SilentReporter
from spcl.serve.server import Started, serve
from spcl.serve.settings import EngineName, ServeLimits, ServeRequest

_MEGABYTE = 2**20


@dataclass(frozen=True)
class Serve(EncoderOptions):
    """Serve a gallery over HTTP: embed, compare, search, identify and enrol images; a search page for a browser.

    The server answers this machine only, unless --host names another address; clients must then send a token, which is
    read from a file or from the environment variable SPCL_TOKEN. Ctrl-C and SIGTERM end it after the requests that have
    begun. docs/serve.md has the requests, a client in Python, a Dockerfile and a systemd unit.
    """

    usage: ClassVar[str] = "[CHECKPOINT] GALLERY [options]"
    example: ClassVar[str] = "spcl serve model_best.pth.tar gallery --port 8000"

    other_words: ClassVar[tuple[str, ...]] = ("gallery",)

    checkpoint: CheckpointWord = ""
    """The encoder of the gallery. Without it: the encoder that the gallery names."""
    gallery: tyro.conf.Positional[str] = ""
    """A gallery of spcl embed --gallery."""
    host: str = "127.0.0.1"
    """Address to listen at. Only programs of this machine reach 127.0.0.1; 0.0.0.0: all addresses of this machine."""
    port: int = 8000
    """Port to listen at; 0: a free one, which is printed."""
    token_file: str = ""
    """File that holds the token which clients must send. Without it: the environment variable SPCL_TOKEN."""
    engine: EngineName = "auto"
    """What runs the network. torch; onnx: onnxruntime, whose file is written once into the gallery's folder; auto: the
    faster one, where that file is there, otherwise torch."""
    onnx_file: str = ""
    """An ONNX file of spcl export to use in place of that in the gallery's folder."""
    calibration: str = ""
    """A file of spcl calibrate -o, used instead of the calibration in the checkpoint."""
    max_image_mb: float = 16.0
    """Largest image file that is accepted, in megabytes."""
    max_image_megapixels: float = 40.0
    """Largest image that is decoded, in megapixels."""
    max_images: int = 64
    """Largest number of images of one request."""
    max_waiting: int = 512
    """Largest number of images that wait for the network; a request for more is answered with 503."""
    device: str = "auto"
    """Device of the network: auto, cpu, cuda, cuda:N or mps."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Floating-point precision of the network in torch."""
    json: bool = False
    """Print what was started as one line of JSON."""

    def check(self) -> None:
        """Check the shared options, then the address and the limits."""
        super().check()
        for flag, value in (
            ("--max-image-mb", self.max_image_mb),
            ("--max-image-megapixels", self.max_image_megapixels),
            ("--max-images", self.max_images),
            ("--max-waiting", self.max_waiting),
        ):
            require(value > 0, flag, value, "above 0")

    def request(self) -> ServeRequest:
        """What is asked for."""
        plain = ServeLimits()
        image_bytes = max(1, round(self.max_image_mb * _MEGABYTE))
        body_bytes = max(plain.body_bytes, image_bytes + _MEGABYTE)
        limits = ServeLimits(
            image_bytes=image_bytes,
            image_pixels=max(1, round(self.max_image_megapixels * 1e6)),
            images=self.max_images,
            waiting_images=self.max_waiting,
            body_bytes=body_bytes,
            all_body_bytes=max(plain.all_body_bytes, 2 * body_bytes),
        )
        return ServeRequest(
            self.gallery,
            host=self.host,
            port=self.port,
            token_file=self.token_file,
            engine=self.engine,
            onnx_file=self.onnx_file,
            calibration=self.calibration,
            limits=limits,
            encoding=EncodeOptions(encoder=self.choice(), device=self.device, precision=self.precision),
        )


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl serve`` with these words."""
    options = parsed(Serve, arguments, "spcl serve")
    report: Reporter = SilentReporter() if options.json else ConsoleReporter()

    def on_started(started: Started) -> None:
        if options.json:
            print(json.dumps(vars(started)), flush=True)
        else:
            print_started(started, report)

    serve(options.request(), report=report, on_started=on_started)


def print_started(started: Started, report: Reporter) -> None:
    """Print the address, and what runs the network."""
    report.say(f"engine: {started.engine} ({started.reason})")
    report.say(f"{started.num_images} images; clients must {'send the token' if started.needs_token else 'be local'}")
    report.say(f"serving at {started.url} (Ctrl-C ends it)")
