"""The kinds of each part of a training run that come with the package, and where settings of 0.1.0 are now.

Other kinds are given as ``module:Name``. A module is imported when its kind is chosen.
"""

from __future__ import annotations

KINDS: dict[str, dict[str, str]] = {
    "labels": {
        "self-paced": "spcl.training.self_paced_labels:SelfPacedLabelSettings",
        "average-linkage": "spcl.training.average_linkage_labels:AverageLinkageSettings",
        "self-paced-each-epoch": "spcl.training.labels_each_epoch:LabelsEachEpochSettings",
    },
    "label_features": {
        "memory": "spcl.training.memory_rows:MemoryRowsSettings",
        "extracted": "spcl.training.extracted_features:ExtractedFeaturesSettings",
        "views": "spcl.training.view_features:ViewFeaturesSettings",
        "extracted-into-memory": "spcl.training.refreshed_memory:RefreshedMemorySettings",
    },
    "memory": {
        "hybrid": "spcl.training.hybrid_memory:HybridMemorySettings",
        "cluster": "spcl.training.cluster_memory:ClusterMemorySettings",
    },
    "losses": {
        "contrastive": "spcl.training.contrastive:ContrastiveSettings",
        "normalised-centroids": "spcl.training.normalised_centroids:NormalisedCentroidsSettings",
        "several-positives": "spcl.training.several_positives:SeveralPositivesSettings",
        "two-views": "spcl.training.two_views:TwoViewsSettings",
        "camera-proxies": "spcl.training.camera_proxies:CameraProxiesSettings",
        "camera-entropy": "spcl.training.camera_entropy:CameraEntropySettings",
        "cluster-consensus": "spcl.training.cluster_consensus:ClusterConsensusSettings",
    },
    "teacher": {"ema": "spcl.training.ema_teacher:EmaTeacherSettings"},
    "augmentation": {
        "paper": "spcl.training.paper_augmentation:PaperAugmentationSettings",
        "affine": "spcl.training.affine_augmentation:AffineAugmentationSettings",
    },
    "sampler": {
        "identity": "spcl.training.identity_sampling:IdentitySamplerSettings",
        "two-views": "spcl.training.two_view_sampling:TwoViewSamplerSettings",
    },
    "optimiser": {
        "adam": "spcl.training.adam:AdamSettings",
        "adamw": "spcl.training.adamw:AdamWSettings",
        "sgd": "spcl.training.sgd:SgdSettings",
    },
}
"""The kinds of each section of a recipe, and the class of their settings as ``module:Name``."""

MOVED: dict[tuple[str, str], tuple[str, str]] = {
    ("memory", "temperature"): ("losses", "temperature"),
    ("schedule", "num_instances"): ("sampler", "num_instances"),
    ("schedule", "lr"): ("optimiser", "lr"),
    ("schedule", "weight_decay"): ("optimiser", "weight_decay"),
    ("schedule", "step_size"): ("optimiser", "step_size"),
    ("run", "memory"): ("memory", "placement"),
}
"""Where settings of version 0.1.0 are now; the old places are read as well."""
