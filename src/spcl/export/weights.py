"""An encoder's weights as safetensors, under timm's or torchvision's names, with a model card beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from spcl.atomic_files import flush, written_aside
from spcl.errors import InputError
from spcl.export.files import refuse_existing
from spcl.export.model_card import model_card
from spcl.export.shared_facts import shared_facts
from spcl.inference.checkpoint import checkpoint_of
from spcl.inference.embedding import Encoder
from spcl.inference.weights_file import SUFFIX, read_weights_file, write_weights_file
from spcl.leftovers import aside_of, remove


def export_weights(encoder: Encoder, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write an encoder's weights and its model card (the same name, ending in ``.md``).

    ``load_encoder`` reads the file back: the same fingerprint, the same features. Of the
    facts of the checkpoint only those of ``shared_facts`` are in it, because such files are published.

    Args:
        encoder: The encoder.
        path: Path of the weights; ends in ``.safetensors``.
        overwrite: Replace files that are there.

    Returns:
        The path of the card.

    Raises:
        InputError: If the files cannot be written, or exist already.
    """
    path = Path(path)
    if path.suffix.lower() != SUFFIX:
        raise InputError(f"{path} does not end in {SUFFIX}", code="wrong-file-kind")
    card = path.with_suffix(".md")
    if not (overwrite or _is_unfinished(path, card, encoder)):
        for file in (path, card):
            refuse_existing(file, overwrite=False)
    text = model_card(encoder, path.name)
    settings, (height, width) = encoder.network.settings, encoder.size
    header = {
        "arch": settings.arch,
        "size": json.dumps([height, width]),
        "mean": json.dumps(list(encoder.network.mean)),
        "std": json.dumps(list(encoder.network.std)),
        "pooling": settings.pooling,
        "last_stride": str(settings.last_stride),
        "feature_length": str(encoder.feature_dim),
        "domain": encoder.domain,
        "fingerprint": encoder.fingerprint,
    }
    content = checkpoint_of(encoder.network, epoch=0, best_mean_ap=None, facts=shared_facts(encoder.facts))
    with written_aside(card) as aside:
        aside.write_text(text, encoding="utf-8")
        flush(aside)
        # The card takes its place last, and an earlier one goes first: no card lies beside weights of another encoder.
        with _put_away(card) as put_away:
            write_weights_file(content, path, header, before=put_away)
    return card


@contextmanager
def _put_away(card: Path) -> Iterator[Callable[[], None]]:
    """Give a function that renames an earlier card; it gets its name back if its weights were not replaced."""
    former = aside_of(card)

    def put_away() -> None:
        if card.exists():
            card.replace(former)

    try:
        yield put_away
    except BaseException:
        if former.exists():
            former.replace(card)
        raise
    finally:
        remove(former)


def _is_unfinished(path: Path, card: Path, encoder: Encoder) -> bool:
    """Whether a killed export left the weights of this encoder without their card."""
    if card.exists() or not path.is_file():
        return False
    try:
        return read_weights_file(path)[1].get("fingerprint") == encoder.fingerprint
    except InputError:
        return False
