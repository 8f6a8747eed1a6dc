"""Our training step's parts against a baseline that works as the official code does, in one run.

python benchmarks/official_style.py            (all three comparisons; --only memory|images|step)

The baseline, written from the paper and the method: images are opened, resized and augmented one by one with Pillow in
worker processes; the memory is called twice a step, once for each domain, each time multiplies a batch with all K rows,
averages the products into classes, exponentiates, and moves its rows in a Python loop. Best of ``--repeat``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from measuring import shortest, tiny_numbers_as_zero
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms import v2
from training_step import TrainingStepSettings, measure

from spcl.data.augment import TrainAugmentation
from spcl.data.image_store import ImageStore
from spcl.data.synthetic import SyntheticSpec, render_image
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from spcl.records import Record
from spcl.reporting.console import SilentReporter
from spcl.selfpaced.contrastive_loss import contrastive_loss
from spcl.selfpaced.hybrid_memory import HybridMemory

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class _AllRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx, inputs, slots, features, momentum):
        ctx.save_for_backward(inputs, slots)
        ctx.features, ctx.momentum = features, momentum
        return inputs.mm(features.t())

    @staticmethod
    def backward(ctx, outputs):
        inputs, slots = ctx.saved_tensors
        gradient = outputs.mm(ctx.features)
        for row, slot in zip(inputs, slots, strict=True):
            moved = ctx.momentum * ctx.features[slot] + (1.0 - ctx.momentum) * row
            ctx.features[slot] = moved / moved.norm()
        return gradient, None, None, None


class BaselineMemory(nn.Module):
    """All rows for every input, classes by averaging the products."""

    def __init__(self, features: torch.Tensor, labels: torch.Tensor) -> None:
        super().__init__()
        self.features, self.labels = features.clone(), labels.clone()

    def forward(self, inputs: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
        products = _AllRows.apply(inputs, slots, self.features, 0.2) / 0.05
        num_classes = int(self.labels.max()) + 1
        sums = torch.zeros(num_classes, len(inputs)).index_add_(0, self.labels, products.t().contiguous())
        counts = torch.zeros(num_classes, 1).index_add_(0, self.labels, torch.ones(len(self.labels), 1))
        present = (counts > 0).float()
        means = (sums / (present * counts + (1 - present))).t()
        exponentials = torch.exp(means) * present.t()
        shares = exponentials / (exponentials.sum(dim=1, keepdim=True) + 1e-6)
        return F.nll_loss(torch.log(shares + 1e-6), self.labels[slots])


def random_classes(rng: np.random.Generator, num_slots: int) -> torch.Tensor:
    """A class for each row, about twelve rows to a class."""
    drawn = rng.integers(0, num_slots // 12, num_slots)
    return torch.from_numpy(np.unique(drawn, return_inverse=True)[1].reshape(-1))


def compare_memory(num_slots: int, dim: int, batch: int, repeat: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    rows = F.normalize(torch.from_numpy(rng.standard_normal((num_slots, dim), dtype=np.float32)), dim=1)
    labels = random_classes(rng, num_slots)
    inputs = F.normalize(torch.from_numpy(rng.standard_normal((2 * batch, dim), dtype=np.float32)), dim=1)
    slots = torch.from_numpy(rng.choice(num_slots, 2 * batch, replace=False))
    ours, theirs = HybridMemory.from_rows(rows, labels), BaselineMemory(rows, labels)

    def our_step() -> None:
        wanted = inputs.clone().requires_grad_()
        contrastive_loss(wanted, slots, ours).mean().backward()
        ours.update(wanted, slots)

    def their_step() -> None:
        wanted = inputs.clone().requires_grad_()
        (theirs(wanted[:batch], slots[:batch]) + theirs(wanted[batch:], slots[batch:])).backward()

    our_step(), their_step()
    fast, _ = shortest(our_step, 3 * repeat)
    slow, _ = shortest(their_step, repeat)
    return {"ours_ms": 1000 * fast, "baseline_ms": 1000 * slow, "times_faster": slow / fast}


class PillowImages(Dataset):
    def __init__(self, paths: list[Path], height: int, width: int) -> None:
        self.paths = paths
        self.transform = transforms.Compose(
            [
                transforms.Resize((height, width), interpolation=transforms.InterpolationMode.BICUBIC),
                transforms.RandomHorizontalFlip(0.5),
                transforms.Pad(10),
                transforms.RandomCrop((height, width)),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
                transforms.RandomErasing(0.5, scale=(0.02, 0.4), ratio=(0.3, 3.3)),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> torch.Tensor:
        return self.transform(Image.open(self.paths[row]).convert("RGB"))


def library_transforms(height: int, width: int) -> v2.Compose:
    """The library's own transforms. They draw once a call, so that each cached image needs a call of its own."""
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(0.5),
            v2.RandomCrop((height, width), padding=10),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
            v2.RandomErasing(0.5, scale=(0.02, 0.4), ratio=(0.3, 3.3), value=list(MEAN)),
        ]
    )


def compare_images(
    folder: Path, height: int, width: int, batch: int, repeat: int, count: int = 2048
) -> dict[str, float]:
    """Cached, augmented batches against two Pillow workers; the files are JPEGs of 128 x 64, as Market-1501's."""
    spec = SyntheticSpec()
    paths = []
    for row in range(count):
        path = folder / f"{row}.jpg"
        if not path.exists():
            render_image(spec, row // 16, row % 4, row // 4 % 4).save(path, quality=92)
        paths.append(path)
    store = ImageStore([Record(path) for path in paths], size=(height, width), num_threads=2)
    started = time.perf_counter()
    for at in range(0, count, 512):
        store.read(np.arange(at, at + 512))
    first_pass = time.perf_counter() - started
    augmentation = TrainAugmentation(height, width, mean=MEAN, std=STD)
    rng = np.random.default_rng(0)

    def our_pass() -> None:
        for _ in range(count // batch):
            rows = rng.integers(0, count, batch)
            augmentation.apply(torch.from_numpy(store.read(rows)), augmentation.draw(batch, rng))

    on_tensors = library_transforms(height, width)

    def library_pass() -> None:
        for _ in range(count // batch // 4):
            images = torch.from_numpy(store.read(rng.integers(0, count, batch))).permute(0, 3, 1, 2)
            torch.stack([on_tensors(image) for image in images])

    def their_pass() -> None:
        for _ in loader:
            pass

    loader = DataLoader(
        PillowImages(paths, height, width), batch_size=batch, shuffle=True, num_workers=2, persistent_workers=True
    )
    our_pass(), their_pass(), library_pass()
    fast, _ = shortest(our_pass, 2 * repeat)
    slow, _ = shortest(their_pass, repeat)
    middle, _ = shortest(library_pass, repeat)
    return {
        "ours_images_per_second": count / fast,
        "cached_and_torchvision_images_per_second": count // 4 / middle,
        "first_pass_images_per_second": count / first_pass,
        "baseline_images_per_second": count / slow,
        "times_faster": slow / fast,
    }


def compare_step(folder: Path, repeat: int, iters: int = 8, num_slots: int = 20000) -> dict[str, float]:
    """Whole steps: Pillow workers, two memory calls and plain Adam, against the loop of ``training_step.py``."""
    ours = measure(TrainingStepSettings(iters=iters, repeat=repeat, slots=num_slots, device="cpu"), SilentReporter())
    batch = 64
    torch.manual_seed(0)
    settings = EncoderSettings(arch="timm/test_resnet", height=64, width=64, features=512, domains=("source", "target"))
    encoder = EncoderNetwork(settings).train()
    optimizer = torch.optim.Adam([p for p in encoder.parameters() if p.requires_grad], lr=0.00035, weight_decay=5e-4)
    rng = np.random.default_rng(0)
    rows = F.normalize(torch.from_numpy(rng.standard_normal((num_slots, 512), dtype=np.float32)), dim=1)
    labels = random_classes(rng, num_slots)
    memory = BaselineMemory(rows, labels)
    paths = sorted(folder.glob("*.jpg"))
    loader = DataLoader(
        PillowImages(paths, 64, 64), batch_size=2 * batch, shuffle=True, num_workers=2, persistent_workers=True
    )

    def steps() -> None:
        for number, images in enumerate(loader):
            if number == iters:
                break
            slots = torch.from_numpy(rng.choice(num_slots, 2 * batch, replace=False))
            encoded = encoder(images, (batch, batch))
            loss = memory(encoded[:batch], slots[:batch]) + memory(encoded[batch:], slots[batch:])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    # As for ours: images and memory are as random here.
    with tiny_numbers_as_zero():
        steps()
        slow, _ = shortest(steps, repeat)
    return {
        "ours_ms": ours["milliseconds"]["step"],
        "baseline_ms": 1000 * slow / iters,
        "times_faster": 1000 * slow / iters / ours["milliseconds"]["step"],
        "step_by_pure": ours["step_by_pure"],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("memory", "images", "step"))
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        calls: dict[str, Callable[[], dict[str, float]]] = {
            "memory K=13,000": lambda: compare_memory(13_000, 2048, 64, options.repeat),
            "memory K=50,000": lambda: compare_memory(50_000, 2048, 64, options.repeat),
            "images 256 x 128": lambda: compare_images(Path(name), 256, 128, 64, options.repeat),
            "step": lambda: compare_step(Path(name), options.repeat),
        }
        for title, call in calls.items():
            if options.only in (None, title.split()[0]) or (options.only == "step" and title.startswith("images")):
                print(title, json.dumps({key: round(value, 3) for key, value in call().items()}), flush=True)
