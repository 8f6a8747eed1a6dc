"""Evaluation as a function: from an encoder and a data set to mAP and top-k, and to the results of single queries.

What computes is imported by the functions: a wrong value is reported before torch is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from spcl.data.source_options import SourceOptions
from spcl.errors import InputError, require
from spcl.inference.encode_options import EncodeOptions
from spcl.reporting.console import Reporter, WarningsKept

if TYPE_CHECKING:
    from spcl.inference.evaluate_checkpoint import EvaluationOptions
    from spcl.inference.evaluation import EvaluationResult
    from spcl.inference.per_query import QueryResult
    from spcl.nn.encoder_network import EncoderNetwork
    from spcl.records import ReIDDataset

WORST_IN_A_PICTURE = 20


@dataclass(frozen=True)
class ExpectedCheckpoint:
    """What a checkpoint must be, where the caller knows; None: whatever it is.

    Attributes:
        size: Height and width of the images that it sees.
        features: Length of its embedding layer; 0: none.
        domains: Whether it has a batch norm for each domain.
    """

    size: tuple[int, int] | None = None
    features: int | None = None
    domains: bool | None = None


@dataclass(frozen=True)
class EvaluationRequest:
    """Which encoder to rate, on which data, and how.

    Attributes:
        data: A registered name or a path; a labelled folder without queries is split into queries and gallery.
        protocol: How matches count: ``market1501``, ``vehicleid`` or ``no-camera``; None: the data set's protocol.
        rerank: Rate a second time after k-reciprocal re-ranking.
        batch_size: Images at a time, at least 1.
        on_broken: What to do with an image that cannot be read: ``error``, or ``skip``: name it and rank it as grey.
        num_hits: First hits of each query in its result; 0: no results of single queries.
        source: How images are found, and what is read about them.
        encoding: Which encoder, and how it encodes; by default a network with ImageNet weights.
        expected: What the checkpoint must be.
    """

    data: str | Path
    protocol: str | None = None
    rerank: bool = False
    batch_size: int = 256
    on_broken: Literal["error", "skip"] = "error"
    num_hits: int = 0
    source: SourceOptions = field(default_factory=SourceOptions)
    encoding: EncodeOptions = field(default_factory=EncodeOptions)
    expected: ExpectedCheckpoint = field(default_factory=ExpectedCheckpoint)

    def __post_init__(self) -> None:
        """Raise an ``InputError`` for a number that is too small."""
        require(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        require(self.num_hits >= 0, "num_hits", self.num_hits, "at least 0")


@dataclass(frozen=True)
class DatasetEvaluation:
    """The evaluation of an encoder on a data set.

    Attributes:
        name: Of the data set.
        figures: mAP and top-k, as fractions; ``figures.plain.mean_ap`` is by cosine distance.
        queries: The result of each query, in the data set's order; empty where ``num_hits`` is 0, and in all processes
            but the main one.
        image_size: Height and width in pixels of the images that the encoder sees.
        notes: What a reader should know of the data set, in sentences.
        warnings: What a reader should look at, in sentences.
    """

    name: str
    figures: EvaluationResult
    queries: tuple[QueryResult, ...]
    image_size: tuple[int, int]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def worst(self, count: int) -> list[QueryResult]:
        """The queries with the lowest average precision, the lowest first; those without a match left out."""
        from spcl.inference.per_query import worst

        return worst(self.queries, count)

    def to_dict(self, *, num_worst: int = 0) -> dict[str, Any]:
        """Plain values, for JSON: figures as fractions, ``warnings`` only where there are any.

        Args:
            num_worst: How many of the queries with the lowest average precision to add as ``worst``.
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
            path: A file that is there is replaced.

        Raises:
            InputError: If it cannot be written.
        """
        from spcl.inference.per_query import write_query_table

        write_query_table(Path(path), self.queries)

    def save_picture(self, path: str | Path, *, count: int = WORST_IN_A_PICTURE) -> None:
        """Draw the queries with the lowest average precision and their first hits.

        Args:
            path: Ends in ``.png``; a file that is there is replaced.
            count: How many queries, 50 at most.

        Raises:
            InputError: If it cannot be written.
        """
        from spcl.inference.per_query import worst_picture

        worst_picture(Path(path), self.queries, count, self.image_size)


def evaluate_dataset(request: EvaluationRequest, *, report: Reporter | None = None) -> DatasetEvaluation:
    """Rate an encoder on the queries and the gallery of a data set, as ``spcl evaluate`` does.

    ``spcl.evaluate`` gives the figures alone, and takes an encoder that is loaded already.

    Args:
        request: Which encoder, on which data, and how.
        report: Shows progress; None: nothing is shown.

    Returns:
        DatasetEvaluation.

    Raises:
        InputError: If the encoder or the data cannot be used, before any image is encoded.

    Cost: one pass over the images, and queries x gallery similarities.

    Example::

        choice = spcl.EncoderChoice(checkpoint="runs/mine/checkpoint.pth.tar")
        encoding = spcl.EncodeOptions(encoder=choice)
        rated = spcl.evaluate_dataset(spcl.EvaluationRequest("market1501", num_hits=10, encoding=encoding))
        print(rated.figures.plain.mean_ap, [query.path for query in rated.worst(5)])
    """
    from spcl.inference.evaluate_checkpoint import EvaluationOptions, rate

    kept = WarningsKept(report)
    encoding = request.encoding
    runtime = encoding.runtime()
    options = EvaluationOptions(
        source=request.source,
        batch_size=request.batch_size,
        flip=encoding.flip,
        workers=encoding.workers,
        device=encoding.device,
        precision=encoding.precision,
        on_broken=request.on_broken,
        num_hits=request.num_hits,
    )
    dataset, network = runtime.together(lambda: _inputs(request, options, kept))
    figures = rate(
        network.folded(encoding.encoder.domain),
        dataset,
        runtime,
        kept,
        options,
        protocol=request.protocol,
        rerank=request.rerank,
    )
    return DatasetEvaluation(
        name=dataset.name,
        figures=figures,
        queries=_query_results(figures, dataset, request) if request.num_hits and runtime.is_main else (),
        image_size=(network.settings.height, network.settings.width),
        notes=tuple(dataset.notes),
        warnings=tuple(kept.warnings),
    )


def _inputs(
    request: EvaluationRequest, options: EvaluationOptions, report: Reporter
) -> tuple[ReIDDataset, EncoderNetwork]:
    """The data set and the encoder, checked."""
    from spcl.inference.encoder_choice import chosen_encoder
    from spcl.inference.evaluate_checkpoint import rated_dataset

    dataset = rated_dataset(str(request.data), request.protocol, options)
    if request.num_hits and (request.protocol or dataset.protocol) == "vehicleid":
        raise InputError(
            "the protocol vehicleid draws ten galleries, so that no query has one ranking; --per-query, --worst and "
            "--save-picture need --protocol no-camera"
        )
    if not request.encoding.encoder.checkpoint:
        images = (*dataset.query, *dataset.gallery)
        return dataset, chosen_encoder(request.encoding.encoder, lambda: images, report=report).network
    return dataset, _network(request)


def _network(request: EvaluationRequest) -> EncoderNetwork:
    """The checkpoint's network, with all its domains."""
    from spcl.inference.checkpoint import load_network

    choice, expected = request.encoding.encoder, request.expected
    checkpoint = Path(choice.checkpoint)
    network = load_network(checkpoint, arch=choice.arch or None, size=expected.size, features=expected.features)
    if expected.domains and len(network.domains) < 2:
        raise InputError(f"{checkpoint} has one batch norm, not one per domain; leave --dsbn out")
    if expected.domains is False and len(network.domains) > 1:
        raise InputError(f"{checkpoint} has a batch norm per domain; add --dsbn")
    if choice.domain not in network.domains:
        raise InputError(f"{checkpoint} has no domain {choice.domain!r}; it has {', '.join(network.domains)}")
    return network


def _query_results(
    figures: EvaluationResult, dataset: ReIDDataset, request: EvaluationRequest
) -> tuple[QueryResult, ...]:
    from spcl.inference.per_query import names_in_source, query_results

    identities, cameras = names_in_source(str(request.data), dataset, request.source)
    return tuple(query_results(figures, dataset, identities=identities, cameras=cameras))
