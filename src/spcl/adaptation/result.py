"""The result of an adaptation, and the files that it leaves."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spcl.adaptation.settings import AdaptationSettings
from spcl.adaptation.verdict import AdaptationVerdict
from spcl.atomic_files import written_aside
from spcl.config import to_values
from spcl.grouping.label_free_quality import LabelFreeQuality
from spcl.inference.checkpoint import checkpoint_of, load_facts, save_atomically
from spcl.nn.encoder_network import EncoderNetwork
from spcl.short_repr import with_short_repr
from spcl.training_run.assemble import Run

ADAPTED_FILE, REPORT_FILE = "adapted.pth.tar", "adaptation.json"

_ENCODER_FACTS = ("version", "encoder", "mean", "std")
"""The facts that ``checkpoint_of`` writes itself."""


@with_short_repr
@dataclass(frozen=True)
class Adaptation:
    """The result of an adaptation.

    Attributes:
        path: Checkpoint of the encoder that was kept, with one domain; ``load_encoder`` reads it.
        verdict: Which of the two encoders was kept, and why.
        before: Figures of the old encoder on the held-back crops.
        after: Figures of the new encoder on the same crops.
        evaluation: mAP and top-1/5/10 of both encoders on the labelled data, as fractions; None without labelled data.
        num_trained: Crops that were trained on.
        num_rated: Crops that both encoders were rated on.
        num_clusters: Number of clusters in the last epoch.
        held_back: Whether the crops that were rated on were held back from training.
        broken: Path and reason of each crop that could not be read.
        seconds: Duration of the whole adaptation.
        settings: The settings of the adaptation.
        recipe: Name or file of the recipe; empty: that of the run that was continued.
        notes: Remarks about the source of the crops, in sentences.
        warnings: Warnings of the run, in sentences; of a resumed run, those since it was resumed.
    """

    path: Path
    verdict: AdaptationVerdict
    before: LabelFreeQuality
    after: LabelFreeQuality
    evaluation: dict[str, Any] | None
    num_trained: int
    num_rated: int
    num_clusters: int
    held_back: bool
    broken: tuple[tuple[Path, str], ...]
    seconds: float
    settings: AdaptationSettings
    recipe: str = ""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Give the result as plain values, for a JSON file."""
        plain = asdict(self) | {"path": str(self.path), "verdict": self.verdict.to_dict()}
        broken = [[str(path), reason] for path, reason in self.broken]
        return plain | {"broken": broken, "notes": list(self.notes), "warnings": list(self.warnings)}


def write_result(outcome: Adaptation, run: Run, old: EncoderNetwork) -> None:
    """Write the better encoder and the report, each to a temporary file that is then renamed."""
    plain = outcome.to_dict()
    facts = {"config": to_values(run.config), "adaptation": plain}
    if not outcome.verdict.keeps_new:
        # The other facts of the old checkpoint, such as its calibration, are kept: they describe these weights.
        kept = load_facts(Path(run.config.network.from_checkpoint))
        facts = {name: fact for name, fact in kept.items() if name not in _ENCODER_FACTS} | {"adaptation": plain}
    network = run.encoder if outcome.verdict.keeps_new else old
    epoch = run.state.epoch if outcome.verdict.keeps_new else 0
    save_atomically(checkpoint_of(network, epoch=epoch, best_mean_ap=None, facts=facts), outcome.path)
    with written_aside(run.folder / REPORT_FILE, next_step="free some space, then use --resume") as aside:
        aside.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
