"""A training of a few steps on rendered images, whose loss must fall; the label stage on features of known groups."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor

from spcl.data.synthetic import SyntheticSpec, render_image
from spcl.doctor.findings import Finding
from spcl.errors import first_line
from spcl.grouping.first_compilation import compile_label_stage
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from spcl.reporting.console import Reporter
from spcl.runtime import Runtime
from spcl.selfpaced.contrastive_loss import contrastive_loss
from spcl.selfpaced.hybrid_memory import HybridMemory
from spcl.selfpaced.pseudo_labels import pseudo_labels

_IDENTITIES, _SHOTS, _HEIGHT, _WIDTH = 6, 4, 32, 16
_STEPS = 24
_LEAST_FALL = 0.2
"""The share of the first loss by which the loss must fall; on machines that work it falls by more than half."""


def small_training(runtime: Runtime, report: Reporter) -> Finding:
    """Train an encoder on 24 rendered images of 6 objects for some steps.

    Args:
        runtime: Device of the training.
        report: Receives progress.
    """
    begun = time.perf_counter()
    try:
        losses = losses_of(runtime, report)
    # Whatever fails here is what the user wants to know.
    except Exception as error:
        text = f"a training of {_STEPS} steps on {runtime.device} ends with {type(error).__name__}: {first_line(error)}"
        return Finding("training", "failed", text, "install torch and torchvision anew, of versions that fit", {})
    first, last = float(np.mean(losses[:3])), float(np.mean(losses[-3:]))
    values = {"first_loss": first, "last_loss": last, "seconds": time.perf_counter() - begun, "steps": len(losses)}
    if not np.isfinite(losses).all() or last > (1 - _LEAST_FALL) * first:
        text = f"the loss of a training of {_STEPS} steps does not fall: {first:.3f} at first, {last:.3f} at the end"
        return Finding("training", "failed", text, "install torch anew, or give --device cpu", values)
    text = f"the loss of a training of {_STEPS} steps on {runtime.device} falls from {first:.2f} to {last:.2f}"
    return Finding("training", "ok", f"{text} in {values['seconds']:.1f} s", "", values)


def losses_of(runtime: Runtime, report: Reporter) -> list[float]:
    """The loss of each step of the training."""
    device = runtime.device
    with report.progress("a small training") as advance, runtime.own_draws():
        torch.manual_seed(0)
        advance(0, _STEPS)
        images = _images().to(device)
        labels = torch.arange(_IDENTITIES).repeat_interleave(_SHOTS)
        settings = EncoderSettings(arch="timm/test_resnet", height=_HEIGHT, width=_WIDTH)
        encoder = EncoderNetwork(settings).to(device)
        with torch.no_grad():
            memory = HybridMemory.from_rows(encoder.eval()(images), labels.to(device))
        optimizer = torch.optim.Adam(encoder.train().parameters(), lr=3e-3)
        slots = torch.arange(len(labels))
        losses = []
        for number in range(_STEPS):
            optimizer.zero_grad()
            features = encoder(images)
            loss = contrastive_loss(features, slots, memory, temperature=0.1).mean()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            memory.update(features.detach(), slots)
            losses.append(float(loss))
            advance(number + 1, _STEPS)
    return losses


def _images() -> Tensor:
    """``[24, 3, H, W]`` rendered images, normalised."""
    spec = SyntheticSpec(height=_HEIGHT, width=_WIDTH)
    drawn = [
        np.asarray(render_image(spec, identity, shot % 2, shot))
        for identity in range(_IDENTITIES)
        for shot in range(_SHOTS)
    ]
    return torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2).float().div_(255).sub_(0.45).div_(0.22)


def label_stage(report: Reporter) -> Finding:
    """Compute pseudo labels of features of eight groups, which they must find."""
    begun = time.perf_counter()
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(8), 12)
    features = (rng.standard_normal((8, 32))[truth] + 0.15 * rng.standard_normal((96, 32))).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    try:
        compile_label_stage(report)
        found = pseudo_labels(features, k1=12, k2=4)
    # Whatever fails here is what the user wants to know.
    except Exception as error:
        text = f"pseudo labels cannot be computed: {type(error).__name__}: {first_line(error)}"
        return Finding("label stage", "failed", text, "install numba anew: pip install --force-reinstall numba", {})
    values = {"num_clusters": found.num_clusters, "seconds": time.perf_counter() - begun}
    if not np.array_equal(np.unique(found.labels, return_inverse=True)[1], truth):
        text = f"pseudo labels are wrong: {found.num_clusters} clusters in features of 8 groups"
        return Finding("label stage", "failed", text, "install numba and numpy anew", values)
    text = f"the compiled loops find the 8 groups of 96 features, in {values['seconds']:.1f} s"
    return Finding("label stage", "ok", text, "", values)
