"""``spcl live``: a page in the browser that follows running trainings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import tyro

from spcl.cli.computing import ComputingOptions
from spcl.cli.options import parsed


@dataclass(frozen=True)
class Live(ComputingOptions):
    """Follow running trainings in a browser: the curves of one run, or of several laid over each other.

    The page reads the files in the folders of the runs every few seconds; the training does not wait for it. It is
    reached from this machine only, unless --host names another address; a token is then required, as for spcl serve.
    """

    usage: ClassVar[str] = "RUN ... [options]"
    example: ClassVar[str] = "spcl live runs/mine"

    runs: tyro.conf.Positional[tuple[str, ...]] = ()
    """Folders of runs (spcl train --logs-dir), finished or not."""
    host: str = "127.0.0.1"
    """Address to listen at. Only programs of this machine reach 127.0.0.1; 0.0.0.0: all addresses of this machine."""
    port: int = 8001
    """Port to listen at; 0: a free one, which is printed."""
    token_file: str = ""
    """File that holds the token which browsers must give. Without it: the environment variable SPCL_TOKEN."""
    json: bool = False
    """Print the address as one line of JSON."""


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl live`` with these words."""
    options = parsed(Live, arguments, "spcl live")

    from spcl.serve.live import LiveRequest, live

    request = LiveRequest(options.runs, host=options.host, port=options.port, token_file=options.token_file)

    def on_started(url: str) -> None:
        print(json.dumps({"url": url}) if options.json else f"serving at {url} (Ctrl-C ends it)", flush=True)

    live(request, on_started=on_started)
