"""Self-paced contrastive learning with hybrid memory: re-identification without identity labels.

The names below are the stable ones; each is documented where it is defined. They are loaded when they are first used,
so that ``spcl --help`` does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from spcl._version import __version__
from spcl.threads import prepare_libraries

# Here, for compiled libraries read how many threads they may use when they are loaded, by whichever module it is.
prepare_libraries()

if TYPE_CHECKING:
    from spcl.adaptation.adapt import AdaptationRequest, adapt, adapt_encoder
    from spcl.adaptation.result import Adaptation
    from spcl.adaptation.settings import AdaptationSettings
    from spcl.config import Recipe, load_recipe
    from spcl.corrections.corrected_groups import CorrectedGroups, CorrectionResult, correct, read_groups
    from spcl.data.catalogue import load_dataset
    from spcl.data.registered_datasets import KnownDatasets, describe_datasets
    from spcl.data.source_options import SourceOptions
    from spcl.demo.run_demo import DemoRequest, DemoResult, run_demo
    from spcl.errors import InputError
    from spcl.experiments.sweep import SweepOptions, SweepResult, sweep
    from spcl.experiments.table import RunsTable, runs
    from spcl.export.export_encoder import ExportRequest, ExportResult, export_encoder
    from spcl.export.onnx_file import export_onnx
    from spcl.export.weights import export_weights
    from spcl.footage.cut_crops import CropsRequest, CropsResult, cut_crops
    from spcl.gallery.embed_images import EmbeddingRequest, EmbeddingResult, embed_images
    from spcl.gallery.gallery import Gallery
    from spcl.gallery.identify_images import IdentificationRequest, IdentificationResult, identify_images
    from spcl.gallery.search_images import ImageSearchResult, SearchRequest, search_images
    from spcl.gallery.unknown_grouping import UnknownGrouping
    from spcl.grouping.eps_choice import Suggestion, suggest
    from spcl.grouping.estimator import SelfPacedClustering
    from spcl.grouping.group_images import GroupingRequest, GroupingResult, group_images
    from spcl.grouping.groups import Groups, cluster
    from spcl.grouping.suggest_settings import SettingsRequest, SuggestedSettings, suggest_settings
    from spcl.inference.encode_options import EncodeOptions, EncoderChoice
    from spcl.inference.encoder import Encoder, load_encoder
    from spcl.inference.evaluate_checkpoint import evaluate
    from spcl.inference.evaluate_dataset import DatasetEvaluation, evaluate_dataset
    from spcl.inference.evaluation import EvaluationResult
    from spcl.inference.evaluation_request import EvaluationOptions, EvaluationRequest
    from spcl.linking.link_tracks import LinkRequest, LinkResult, link_tracks
    from spcl.pages.write_report import ReportRequest, ReportResult, write_report
    from spcl.pairs.pair_options import PairOptions
    from spcl.partitioned.label_parts import pseudo_labels_out_of_core
    from spcl.partitioned.label_request import PartitionedLabelRequest, PartitionedLabels
    from spcl.records import Record, ReIDDataset
    from spcl.retrieval.jaccard import jaccard_distance
    from spcl.retrieval.ranking import RankingResult, rank_metrics
    from spcl.retrieval.rerank import rerank
    from spcl.selfpaced.contrastive_loss import contrastive_loss
    from spcl.selfpaced.hybrid_memory import HybridMemory
    from spcl.selfpaced.pseudo_labels import PseudoLabels, pseudo_labels
    from spcl.tracking.trackers import ExperimentTracker
    from spcl.training_run.train import TrainingResult, train
    from spcl.verification.calibrate import calibrate
    from spcl.verification.calibrate_images import CalibrationRequest, CalibrationResult, calibrate_images
    from spcl.verification.compare import Comparison, compare
    from spcl.verification.compare_images import ComparisonRequest, compare_images

_HOMES = {
    "Adaptation": "spcl.adaptation.result",
    "AdaptationRequest": "spcl.adaptation.adapt",
    "AdaptationSettings": "spcl.adaptation.settings",
    "CalibrationRequest": "spcl.verification.calibrate_images",
    "CalibrationResult": "spcl.verification.calibrate_images",
    "Comparison": "spcl.verification.compare",
    "ComparisonRequest": "spcl.verification.compare_images",
    "CorrectedGroups": "spcl.corrections.corrected_groups",
    "CorrectionResult": "spcl.corrections.corrected_groups",
    "CropsRequest": "spcl.footage.cut_crops",
    "CropsResult": "spcl.footage.cut_crops",
    "DatasetEvaluation": "spcl.inference.evaluate_dataset",
    "DemoRequest": "spcl.demo.run_demo",
    "DemoResult": "spcl.demo.run_demo",
    "EmbeddingRequest": "spcl.gallery.embed_images",
    "EmbeddingResult": "spcl.gallery.embed_images",
    "EncodeOptions": "spcl.inference.encode_options",
    "Encoder": "spcl.inference.encoder",
    "EncoderChoice": "spcl.inference.encode_options",
    "EvaluationOptions": "spcl.inference.evaluation_request",
    "EvaluationRequest": "spcl.inference.evaluation_request",
    "EvaluationResult": "spcl.inference.evaluation",
    "ExperimentTracker": "spcl.tracking.trackers",
    "ExportRequest": "spcl.export.export_encoder",
    "ExportResult": "spcl.export.export_encoder",
    "Gallery": "spcl.gallery.gallery",
    "GroupingRequest": "spcl.grouping.group_images",
    "GroupingResult": "spcl.grouping.group_images",
    "Groups": "spcl.grouping.groups",
    "HybridMemory": "spcl.selfpaced.hybrid_memory",
    "IdentificationRequest": "spcl.gallery.identify_images",
    "IdentificationResult": "spcl.gallery.identify_images",
    "ImageSearchResult": "spcl.gallery.search_images",
    "InputError": "spcl.errors",
    "KnownDatasets": "spcl.data.registered_datasets",
    "LinkRequest": "spcl.linking.link_tracks",
    "LinkResult": "spcl.linking.link_tracks",
    "PairOptions": "spcl.pairs.pair_options",
    "PartitionedLabelRequest": "spcl.partitioned.label_request",
    "PartitionedLabels": "spcl.partitioned.label_request",
    "PseudoLabels": "spcl.selfpaced.pseudo_labels",
    "RankingResult": "spcl.retrieval.ranking",
    "ReIDDataset": "spcl.records",
    "Recipe": "spcl.config",
    "Record": "spcl.records",
    "ReportRequest": "spcl.pages.write_report",
    "ReportResult": "spcl.pages.write_report",
    "RunsTable": "spcl.experiments.table",
    "SearchRequest": "spcl.gallery.search_images",
    "SelfPacedClustering": "spcl.grouping.estimator",
    "SettingsRequest": "spcl.grouping.suggest_settings",
    "SourceOptions": "spcl.data.source_options",
    "SuggestedSettings": "spcl.grouping.suggest_settings",
    "Suggestion": "spcl.grouping.eps_choice",
    "SweepOptions": "spcl.experiments.sweep",
    "SweepResult": "spcl.experiments.sweep",
    "TrainingResult": "spcl.training_run.train",
    "UnknownGrouping": "spcl.gallery.unknown_grouping",
    "adapt": "spcl.adaptation.adapt",
    "adapt_encoder": "spcl.adaptation.adapt",
    "calibrate": "spcl.verification.calibrate",
    "calibrate_images": "spcl.verification.calibrate_images",
    "cluster": "spcl.grouping.groups",
    "compare": "spcl.verification.compare",
    "compare_images": "spcl.verification.compare_images",
    "contrastive_loss": "spcl.selfpaced.contrastive_loss",
    "correct": "spcl.corrections.corrected_groups",
    "cut_crops": "spcl.footage.cut_crops",
    "describe_datasets": "spcl.data.registered_datasets",
    "embed_images": "spcl.gallery.embed_images",
    "evaluate": "spcl.inference.evaluate_checkpoint",
    "evaluate_dataset": "spcl.inference.evaluate_dataset",
    "export_encoder": "spcl.export.export_encoder",
    "export_onnx": "spcl.export.onnx_file",
    "export_weights": "spcl.export.weights",
    "group_images": "spcl.grouping.group_images",
    "identify_images": "spcl.gallery.identify_images",
    "jaccard_distance": "spcl.retrieval.jaccard",
    "link_tracks": "spcl.linking.link_tracks",
    "load_dataset": "spcl.data.catalogue",
    "load_encoder": "spcl.inference.encoder",
    "load_recipe": "spcl.config",
    "pseudo_labels": "spcl.selfpaced.pseudo_labels",
    "pseudo_labels_out_of_core": "spcl.partitioned.label_parts",
    "rank_metrics": "spcl.retrieval.ranking",
    "read_groups": "spcl.corrections.corrected_groups",
    "rerank": "spcl.retrieval.rerank",
    "run_demo": "spcl.demo.run_demo",
    "runs": "spcl.experiments.table",
    "search_images": "spcl.gallery.search_images",
    "suggest": "spcl.grouping.eps_choice",
    "suggest_settings": "spcl.grouping.suggest_settings",
    "sweep": "spcl.experiments.sweep",
    "train": "spcl.training_run.train",
    "write_report": "spcl.pages.write_report",
}

__all__ = [
    "Adaptation",
    "AdaptationRequest",
    "AdaptationSettings",
    "CalibrationRequest",
    "CalibrationResult",
    "Comparison",
    "ComparisonRequest",
    "CorrectedGroups",
    "CorrectionResult",
    "CropsRequest",
    "CropsResult",
    "DatasetEvaluation",
    "DemoRequest",
    "DemoResult",
    "EmbeddingRequest",
    "EmbeddingResult",
    "EncodeOptions",
    "Encoder",
    "EncoderChoice",
    "EvaluationOptions",
    "EvaluationRequest",
    "EvaluationResult",
    "ExperimentTracker",
    "ExportRequest",
    "ExportResult",
    "Gallery",
    "GroupingRequest",
    "GroupingResult",
    "Groups",
    "HybridMemory",
    "IdentificationRequest",
    "IdentificationResult",
    "ImageSearchResult",
    "InputError",
    "KnownDatasets",
    "LinkRequest",
    "LinkResult",
    "PairOptions",
    "PartitionedLabelRequest",
    "PartitionedLabels",
    "PseudoLabels",
    "RankingResult",
    "ReIDDataset",
    "Recipe",
    "Record",
    "ReportRequest",
    "ReportResult",
    "RunsTable",
    "SearchRequest",
    "SelfPacedClustering",
    "SettingsRequest",
    "SourceOptions",
    "SuggestedSettings",
    "Suggestion",
    "SweepOptions",
    "SweepResult",
    "TrainingResult",
    "UnknownGrouping",
    "__version__",
    "adapt",
    "adapt_encoder",
    "calibrate",
    "calibrate_images",
    "cluster",
    "compare",
    "compare_images",
    "contrastive_loss",
    "correct",
    "cut_crops",
    "describe_datasets",
    "embed_images",
    "evaluate",
    "evaluate_dataset",
    "export_encoder",
    "export_onnx",
    "export_weights",
    "group_images",
    "identify_images",
    "jaccard_distance",
    "link_tracks",
    "load_dataset",
    "load_encoder",
    "load_recipe",
    "pseudo_labels",
    "pseudo_labels_out_of_core",
    "rank_metrics",
    "read_groups",
    "rerank",
    "run_demo",
    "runs",
    "search_images",
    "suggest",
    "suggest_settings",
    "sweep",
    "train",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'spcl' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
