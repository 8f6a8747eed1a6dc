"""``spcl.evaluate_dataset``: from an encoder and a data set to mAP and top-k, and to the results of single queries.

The functions import torch, so that a wrong value is reported before it is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spcl.errors import InputError
from spcl.inference.evaluation_request import EvaluationRequest
from spcl.reporting.console import Reporter, WarningsKept
from spcl.short_repr import with_short_repr

if TYPE_CHECKING:
    from spcl.inference.evaluation import EvaluationResult
    from spcl.inference.per_query import QueryResult
    from spcl.nn.encoder_network import EncoderNetwork
    from spcl.records import ReIDDataset

WORST_IN_A_PICTURE = 20


@with_short_repr
@dataclass(frozen=True)
class DatasetEvaluation:
    """The evaluation of an encoder on a data set.

    Attributes:
        name: Name of the data set.
        figures: mAP and top-k, as fractions; ``figures.plain.mean_ap`` is by cosine distance.
        queries: Result of each query, in the data set's order; empty if ``num_hits`` is 0, and in every process except
            the main one.
        image_size: Height and width in pixels of the images that the encoder sees.
        notes: Remarks about the data set, in sentences.
        warnings: Warnings, in sentences.
    """

    name: str
    figures: EvaluationResult
    queries: tuple[QueryResult, ...]
    image_size: tuple[int, int]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def worst(self, count: int) -> list[QueryResult]:
        """Give the queries of lowest average precision, the lowest first; queries without a match are left out."""
        from spcl.inference.per_query import worst

        return worst(self.queries, count)

    def to_dict(self, *, num_worst: int = 0) -> dict[str, Any]:
        """Plain values, for JSON: figures as fractions, ``warnings`` only if there are any.

        Args:
            num_worst: Number of queries with the lowest average precision to add as ``worst``.
        """
        plain = self.figures.to_row()
        plain |= {"num_queries": self.figures.num_queries, "num_gallery": self.figures.num_gallery}
        if num_worst:
            plain["worst"] = [query.to_row() for query in self.worst(num_worst)]
        plain |= {"broken": list(self.figures.broken), "notes": list(self.notes)}
        return plain | ({"warnings": list(self.warnings)} if self.warnings else {})

    def write_queries(self, path: str | Path) -> None:
        """Write a CSV file with a line for each query.

        Args:
            path: Path of the file; an existing file is replaced.

        Raises:
            InputError: If it cannot be written.
        """
        from spcl.inference.per_query import write_query_table

        write_query_table(Path(path), self.queries)

    def save_picture(self, path: str | Path, *, count: int = WORST_IN_A_PICTURE) -> None:
        """Draw the queries with the lowest average precision and their first hits.

        Args:
            path: A path that ends in ``.png``; an existing file is replaced.
            count: Number of queries, at most 50.

        Raises:
            InputError: If it cannot be written.
        """
        from spcl.inference.per_query import worst_picture

        worst_picture(Path(path), self.queries, count, self.image_size)


def evaluate_dataset(request: EvaluationRequest, *, report: Reporter | None = None) -> DatasetEvaluation:
    """Evaluate an encoder on the queries and the gallery of a data set, as ``spcl evaluate`` does.

    ``spcl.evaluate`` is a shorter form that gives only the figures, and also takes a loaded encoder.

    Args:
        request: The encoder, the data and the options.
        report: Receives progress and warnings; None: nothing is shown.

    Returns:
        DatasetEvaluation: the figures, and the results of single queries if requested.

    Raises:
        InputError: If the encoder or the data cannot be used, before any image is encoded.

    Cost: one pass over the images, and queries x gallery similarities.

    Example::

        choice = spcl.EncoderChoice(checkpoint="runs/mine/checkpoint.pth.tar")
        encoding = spcl.EncodeOptions(encoder=choice)
        rated = spcl.evaluate_dataset(spcl.EvaluationRequest("market1501", num_hits=10, encoding=encoding))
        print(rated.figures.plain.mean_ap, [query.path for query in rated.worst(5)])
    """
    from spcl.inference.evaluate_checkpoint import evaluate_network

    kept = WarningsKept(report)
    runtime = request.encoding.runtime()
    dataset, network = runtime.together(lambda: _inputs(request, kept))
    folded = network.folded(request.encoding.encoder.domain)
    figures = evaluate_network(folded, dataset, request, runtime, kept)
    if request.by == "track":
        from spcl.inference.dataset_tracks import dataset_tracks

        # From here on a query and a hit are tracks.
        dataset = dataset_tracks(dataset).dataset
    return DatasetEvaluation(
        name=dataset.name,
        figures=figures,
        queries=_query_results(figures, dataset, request) if request.num_hits and runtime.is_main else (),
        image_size=(network.settings.height, network.settings.width),
        notes=tuple(dataset.notes),
        warnings=tuple(kept.warnings),
    )


def _inputs(request: EvaluationRequest, report: Reporter) -> tuple[ReIDDataset, EncoderNetwork]:
    """Read and check the data set and the encoder."""
    from spcl.inference.encoder_choice import chosen_encoder
    from spcl.inference.evaluate_checkpoint import dataset_to_evaluate

    dataset = dataset_to_evaluate(request)
    if request.num_hits and (request.protocol or dataset.protocol) == "vehicleid":
        raise InputError(
            "the protocol vehicleid draws ten galleries, so that no query has one ranking; --per-query, --worst and "
            "--save-picture need --protocol no-camera",
            code="option-does-not-apply",
        )
    if not request.encoding.encoder.checkpoint:
        images = (*dataset.query, *dataset.gallery)
        return dataset, chosen_encoder(request.encoding.encoder, lambda: images, report=report).network
    return dataset, _network(request)


def _network(request: EvaluationRequest) -> EncoderNetwork:
    """Load the checkpoint's network with all its domains, and check what the request expects of it."""
    from spcl.inference.checkpoint import load_network

    choice, expected = request.encoding.encoder, request.expected
    checkpoint = Path(choice.checkpoint)
    network = load_network(checkpoint, arch=choice.arch or None, size=expected.size, features=expected.features)
    if expected.domains and len(network.domains) < 2:
        raise InputError(
            f"{checkpoint} has one batch norm, not one per domain; leave --dsbn out", code="checkpoint-mismatch"
        )
    if expected.domains is False and len(network.domains) > 1:
        raise InputError(f"{checkpoint} has a batch norm per domain; add --dsbn", code="checkpoint-mismatch")
    if choice.domain not in network.domains:
        raise InputError(
            f"{checkpoint} has no domain {choice.domain!r}; it has {', '.join(network.domains)}", code="no-such-domain"
        )
    return network


def _query_results(
    figures: EvaluationResult, dataset: ReIDDataset, request: EvaluationRequest
) -> tuple[QueryResult, ...]:
    from spcl.inference.per_query import names_in_source, query_results

    identities, cameras = names_in_source(str(request.data), dataset, request.source)
    return tuple(query_results(figures, dataset, identities=identities, cameras=cameras))
