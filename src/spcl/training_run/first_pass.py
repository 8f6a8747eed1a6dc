"""The first pass of a new run over its images: it fills the memory before the first epoch."""

from __future__ import annotations

import torch

from spcl.inference.extraction import broken_images, extract_in_parts
from spcl.training_run.assemble import Run


def fill_memory(run: Run) -> None:
    """Set the source rows to the class means and the target rows to the features of the images.

    The network is in evaluation mode, and images are not augmented.
    """
    memory, encoder, report = run.parts.memory, run.parts.encoder, run.session.report
    num_classes = run.slots.num_source_classes
    identities = torch.from_numpy(run.source_identities)
    sums = torch.zeros(num_classes, encoder.feature_dim)
    for domain, store in run.stores.items():
        with report.progress(f"features of the {domain}") as advance:
            for rows, features in extract_in_parts(encoder, store, run.runtime, domain=domain, progress=advance):
                if domain == "source":
                    sums.index_add_(0, identities[rows.start : rows.stop], features)
                else:
                    memory.put(num_classes + rows.start, features)
        if store.num_stretched:
            report.say(f"{domain}: {store.pixel_range.words(store.num_stretched, store.num_reduced)}")
        broken = broken_images(store, run.runtime)
        if broken:
            report.warn(
                f"{len(broken)} image(s) of the {domain} could be read at first and cannot be read now: they are "
                "replaced by grey images. Is the disk still there?"
            )
    memory.put(0, sums / torch.bincount(identities, minlength=num_classes).unsqueeze(1))
