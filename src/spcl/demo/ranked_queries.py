"""The encoders of the demonstration, and the picture of what some of them find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spcl.training_run.assemble import Run

ENCODERS = {
    "untrained": "ImageNet weights, untrained",
    "source_only": "studio alone",
    "spcl": "studio + street, recipe spcl (the paper)",
    "spcl_plus": "studio + street, recipe spcl-plus",
    "true_labels": "the same with the street's true labels",
}
"""The encoders that are compared, with their titles."""

_DRAWN = ("untrained", "source_only", "spcl_plus")
"""Encoders whose answers are in the picture."""
_SHOWN_QUERIES, _SHOWN_RANKS = 6, 6


def draw_ranked(path: Path, run: Run, features: Mapping[str, Any], figures: Mapping[str, Mapping[str, Any]]) -> Path:
    """Draw the queries that gained most, and the images that each encoder finds for them.

    Args:
        path: Path of the PNG file to write.
        run: A run whose target has the queries and the gallery.
        features: ``[queries + gallery, D]`` features of each encoder, by its name in ``ENCODERS``.
        figures: Figures of each encoder, with ``mAP``.
    """
    import numpy as np

    from spcl.records import cameras_of, identities_of
    from spcl.report.ranked import Ranking, ShownImage, ranked_picture
    from spcl.retrieval.matches import RankingLabels
    from spcl.retrieval.ranking import rank_features
    from spcl.retrieval.top_gallery import top_gallery
    from spcl.training_run.training_sets import make_store

    query, gallery = run.target.query, run.target.gallery
    labels = RankingLabels.checked(identities_of(query), identities_of(gallery), cameras_of(query), cameras_of(gallery))
    split = {name: (rows[: len(query)], rows[len(query) :]) for name, rows in features.items()}
    precision = {name: rank_features(*rows, labels).per_query_ap for name, rows in split.items()}
    gain = np.nan_to_num(precision["spcl_plus"] - precision["untrained"])
    # One query of each identity: the picture should show different objects.
    best = np.argsort(-gain, kind="stable")
    chosen = best[np.sort(np.unique(labels.query[best], return_index=True)[1])][:_SHOWN_QUERIES]
    store = make_store(run.config, query + gallery)
    of_chosen = replace(labels, query=labels.query[chosen], query_cameras=labels.query_cameras[chosen])
    rankings = []
    for name in _DRAWN:
        rows = top_gallery(
            split[name][0][chosen],
            split[name][1],
            of_chosen,
            k=_SHOWN_RANKS,
        ).rows
        title = f"{ENCODERS[name]} (mAP {100 * figures[name]['mAP']:.0f}%)"
        found = [
            [
                ShownImage(
                    store.read(np.array([len(query) + row]))[0], bool(labels.gallery[row] == labels.query[number])
                )
                for row in nearest
                if row >= 0
            ]
            for number, nearest in zip(chosen, rows, strict=True)
        ]
        rankings.append(Ranking(title, found))
    return ranked_picture(path, [ShownImage(image) for image in store.read(chosen)], rankings)
