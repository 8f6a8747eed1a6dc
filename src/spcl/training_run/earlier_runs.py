"""The saved state of runs of version 0.1.0, which had one memory, one loss and one labeller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spcl.selfpaced.slots import Slots

_STATEFUL = ("encoder", "optimizer", "scheduler", "memory", "runtime")
_EVALUATION = ("mAP", "top1", "top5", "top10", "protocol", "valid_queries", "broken", "reranked")
_CHOSEN = ("eps", "k1", "k2")


def in_parts(saved: Mapping[str, Any], slots: Slots) -> Mapping[str, Any]:
    """Convert the saved state of version 0.1.0 to that of this version; other states are returned unchanged.

    Args:
        saved: Content of ``resume.pt``.
        slots: Layout of the memory; in version 0.1.0 the labels of an epoch were saved in the memory.
    """
    if "parts" in saved:
        return saved
    labeller = {"independence_threshold": saved["independence_threshold"], "chosen": saved.get("label_settings")}
    return {
        "parts": {name: saved[name] for name in _STATEFUL} | {"labeller": labeller},
        "labels": saved["memory"]["labels"][slots.num_source_classes :] - slots.num_source_classes,
        "report": _report(saved["row"]) if saved["row"] else None,
        "history": [_report(row) for row in saved["history"]],
    } | {name: saved[name] for name in ("epoch", "iteration", "best_mean_ap", "best_epoch")}


def _report(row: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a row to the fields of an ``EpochReport``."""
    others = {name: value for name, value in row.items() if name not in (*_EVALUATION, *_CHOSEN)}
    return others | {
        "label_figures": {name: row[name] for name in _CHOSEN if name in row},
        "loss_terms": {"contrastive": dict(row.get("losses", {}))},
        "evaluation": {name: row[name] for name in _EVALUATION if name in row},
    }
