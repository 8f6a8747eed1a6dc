"""Which epoch of a run is kept as the best, and when a run that no longer gets better stops.

Both are functions of the scores of the epochs so far, so that a resumed run decides as an uninterrupted one. The score
of an epoch is its mAP on the target's queries (``evaluation``), or the coherence of the pseudo labels that it was
trained on (``label-free``, ``training/label_score.py``). The second needs no identities and no further pass over the
images. It rates the encoder before the epoch: damage that an epoch does is seen in the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from spcl.reporting.epoch_report import EpochReport

Selection = Literal["auto", "evaluation", "label-free", "last"]
"""The setting: ``auto`` is ``evaluation`` where the target has queries and a gallery, otherwise ``label-free``."""

Criterion = Literal["evaluation", "label-free", "last"]
"""What the epochs of a run are compared by; ``last``: they are not compared."""


def criterion_of(selection: Selection, *, can_evaluate: bool) -> Criterion:
    """Give what the epochs of a run are compared by."""
    if selection == "auto":
        return "evaluation" if can_evaluate else "label-free"
    return selection


def score_of(report: EpochReport, criterion: Criterion) -> float | None:
    """Give the score of an epoch, high is good; None: it has none."""
    if criterion == "last":
        return None
    return report.mean_ap if criterion == "evaluation" else report.label_score


def best_of(scores: Sequence[float | None]) -> int | None:
    """Give the index of the highest score, the first of equal ones; None if there is no score."""
    rated = [at for at, score in enumerate(scores) if score is not None]
    return max(rated, key=lambda at: scores[at] or 0.0) if rated else None


def no_longer_improves(scores: Sequence[float | None], patience: int) -> bool:
    """Whether the last epoch has a score, and the best epoch lies ``patience`` epochs before it, or more.

    Args:
        scores: Score of each epoch so far; None: not rated.
        patience: Number of epochs; 0: never.

    Examples:
        >>> no_longer_improves([0.2, 0.5, 0.4, 0.3], 2), no_longer_improves([0.2, 0.5, None, None], 2)
        (True, False)
    """
    best = best_of(scores)
    if not patience or best is None or scores[-1] is None:
        return False
    return len(scores) - 1 - best >= patience


def stop_message(history: Sequence[EpochReport], criterion: Criterion, num_epochs: int) -> str:
    """Describe why a run stopped before its last epoch, and which epoch is the best."""
    scores = [score_of(report, criterion) for report in history]
    best = best_of(scores)
    if best is None:
        raise RuntimeError("a run without scores does not stop early")
    score = scores[best] or 0.0
    what = f"mAP ({100 * score:.1f}%)" if criterion == "evaluation" else f"label-free score ({score:.3f})"
    return (
        f"stopped after epoch {len(history)} of {num_epochs}: {len(history) - 1 - best} epochs without a better {what} "
        f"than that of epoch {best + 1}, which is kept"
    )
