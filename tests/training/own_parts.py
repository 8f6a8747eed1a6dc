"""A loss, a memory and a labeller that the package does not know: what a user would write."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from spcl import PseudoLabels


@dataclass(frozen=True)
class CameraLoss:
    """Pulls an image towards its class, and farther for odd cameras."""

    name: str = "camera"
    weight: float = 0.5
    margin: float = 0.1

    def __call__(self, step):
        means = step.memory.class_means[step.memory.labels[step.slots]]
        distance = 1 - (step.features.float() * means).sum(dim=1)
        return F.relu(distance - self.margin) * (1 + step.cameras % 2)


class ClusterMemory(torch.nn.Module):
    """One row a class, moved by momentum; the rows of the images stay as they were filled."""

    def __init__(self, num_slots, dim, momentum):
        super().__init__()
        self.momentum = momentum
        self.register_buffer("features", torch.zeros(num_slots, dim))
        self.register_buffer("labels", torch.arange(num_slots))
        self.register_buffer("class_means", torch.zeros(0, dim))
        self.register_buffer("class_sizes", torch.zeros(0, dtype=torch.int64))

    def put(self, start, features):
        self.features[start : start + len(features)] = F.normalize(features, dim=1)

    def rows(self):
        return self.features

    def relabel(self, labels):
        self.labels, self.class_sizes = labels, torch.bincount(labels)
        sums = torch.zeros(len(self.class_sizes), self.features.shape[1]).index_add_(0, labels, self.features)
        self.class_means = F.normalize(sums, dim=1)

    def update(self, features, slots):
        for feature, slot in zip(features, slots, strict=True):
            self.features[slot] = feature
            label = self.labels[slot]
            moved = self.momentum * self.class_means[label] + (1 - self.momentum) * feature
            self.class_means[label] = F.normalize(moved, dim=0)

    def load_state_dict(self, state):
        for name, value in state.items():
            setattr(self, name, value.clone())


@dataclass(frozen=True)
class ClusterMemorySettings:
    momentum: float = 0.3

    def build(self, context):
        return ClusterMemory(len(context.slots), context.feature_dim, self.momentum).to(context.runtime.device)


@dataclass
class NearestOfOtherCamera:
    """Pairs each image with its most similar one of another camera; counts its epochs, and alternates by them."""

    least: float = 0.2

    def __post_init__(self):
        self.epochs = 0

    def label(self, features, target):
        self.epochs += 1
        assert target.num_images == len(features) and not hasattr(target, "identities")
        similarity = (features @ features.T).cpu().numpy()
        similarity[target.cameras[:, None] == target.cameras[None, :]] = -1
        labels = np.full(len(features), -1)
        for row in np.argsort(-similarity.max(axis=1), kind="stable"):
            other = similarity[row].argmax()
            if similarity[row, other] > self.least and labels[row] == labels[other] == -1:
                labels[row] = labels[other] = min(row, other)
        if self.epochs % 2 == 0:
            labels[: len(labels) // 4] = -1
        return PseudoLabels.from_labels(labels)

    def state_dict(self):
        return {"epochs": self.epochs}

    def load_state_dict(self, state):
        self.epochs = state["epochs"]
