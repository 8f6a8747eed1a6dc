"""Checks before an evaluation: the data set has queries and a gallery, and a query can match under the protocol."""

from __future__ import annotations

from collections import Counter

from spcl.data.image_key import image_keys
from spcl.errors import InputError
from spcl.records import UNKNOWN, ReIDDataset, cameras_of, identities_of


def can_evaluate(dataset: ReIDDataset) -> bool:
    """Whether a data set, or one that it was combined from, has queries and a gallery."""
    return bool(dataset.evaluated)


def check_queries(dataset: ReIDDataset, protocol: str) -> int:
    """Count the queries that can match under a protocol; those without an identity cannot.

    Raises:
        InputError: If no query can match; the message gives the reason.
    """
    if not (dataset.query and dataset.gallery):
        raise InputError(
            f"{dataset.name} cannot be evaluated: it has {len(dataset.query)} queries and {len(dataset.gallery)} "
            "gallery images; both are needed (column split of a table, or query and gallery folders)",
            code="no-queries",
        )
    query, gallery = identities_of(dataset.query), identities_of(dataset.gallery)
    if not (query != UNKNOWN).any():
        raise InputError(f"no query of {dataset.name} has an identity; an evaluation needs them", code="no-identities")
    # A gallery image without an identity matches no query, and a query without one is left out.
    gallery[gallery == UNKNOWN] = UNKNOWN - 1
    if protocol == "market1501":
        query_cameras, gallery_cameras = cameras_of(dataset.query), cameras_of(dataset.gallery)
        if (query_cameras == UNKNOWN).any() or (gallery_cameras == UNKNOWN).any():
            raise InputError(
                f"{dataset.name} has images of unknown camera, and the protocol market1501 compares cameras; "
                "use --protocol no-camera",
                code="no-cameras",
            )
        # A query can match if another camera has an image of its identity.
        seen = set(zip(gallery.tolist(), gallery_cameras.tolist(), strict=True))
        cameras_seen: dict[int, set[int]] = {}
        for identity, camera in seen:
            cameras_seen.setdefault(identity, set()).add(camera)
        valid = sum(
            bool(cameras_seen.get(identity, set()) - {camera})
            for identity, camera in zip(query.tolist(), query_cameras.tolist(), strict=True)
        )
    else:
        # A query's own image in the gallery is no match.
        keys = image_keys([record.path for record in dataset.gallery])
        held = Counter(gallery.tolist())
        own = Counter(zip(keys, gallery.tolist(), strict=True))
        of_queries = zip(image_keys([record.path for record in dataset.query]), query.tolist(), strict=True)
        valid = sum(held[identity] > own[key, identity] for key, identity in of_queries)
    if valid == 0:
        raise InputError(
            f"no query of {dataset.name} can match under the protocol {protocol}: "
            + (
                "no identity is in the gallery in another camera; use --protocol no-camera if that is meant"
                if protocol == "market1501"
                else "no identity of a query is in the gallery on another image"
            ),
            code="no-matches",
        )
    return valid
