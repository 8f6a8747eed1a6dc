"""Values of the official scripts' flags: which are read as another value, and which are refused, with the reason.

The official parsers check types alone. A value keeps what it means in the official scripts. One with which they fail,
or with which nothing can be learned, is refused before any work. ``docs/cli.md`` has the same table for users.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from spcl.errors import InputError


@dataclass(frozen=True)
class Refusal:
    """Values of a flag that are refused.

    Attributes:
        name: Name of the flag in the options, ``batch_size``.
        accepts: Whether a value is used; NaN must give False.
        reason: What the official script does with other values, and what is expected.
    """

    name: str
    accepts: Callable[[Any], bool]
    reason: str


READ_AS: Mapping[str, Callable[[Any], Any]] = {
    "num_instances": lambda value: max(value, 0),
    "features": lambda value: max(value, 0),
    "dropout": lambda value: max(value, 0.0),
}
"""Values below 0 that the official scripts read as 0: no identity sampler, no embedding layer, no dropout."""

_SIZES = (
    Refusal("workers", lambda value: value == "auto" or value >= 0, "torch's loader fails on it; expected 0 or more"),
    Refusal("height", lambda value: value >= 1, "images cannot be resized to it; expected at least 1 pixel"),
    Refusal("width", lambda value: value >= 1, "images cannot be resized to it; expected at least 1 pixel"),
)
OF_TRAINING = (
    *_SIZES,
    Refusal(
        "batch_size",
        lambda value: value >= 2,
        "batch norm fails in training on fewer than two images of a domain; expected at least 2",
    ),
    Refusal(
        "eps",
        lambda value: 0 < value < 1,
        "DBSCAN fails at 0 or less, and at 1 or more every image is in one cluster; expected above 0 and below 1",
    ),
    Refusal(
        "eps_gap",
        lambda value: 0 <= value < 1,
        "below 0 it exchanges the tight and the loose clustering; expected 0 or more, less than eps and 1 - eps",
    ),
    Refusal("k1", lambda value: value >= 1, "there are no neighbours to search for; expected at least 1"),
    Refusal("k2", lambda value: value >= 1, "the mean of no neighbours is NaN; expected at least 1"),
    Refusal(
        "dropout",
        lambda value: value < 1,
        "at 1 every feature is 0 and nothing is learned, and torch fails above it; expected below 1",
    ),
    Refusal(
        "momentum",
        lambda value: 0 <= value <= 1,
        "a memory row would move away from its image's features; expected a share from 0 to 1",
    ),
    Refusal("lr", lambda value: 0 <= value < inf, "Adam fails on it; expected a finite number, 0 or more"),
    Refusal("weight_decay", lambda value: 0 <= value < inf, "Adam fails on it; expected a finite number, 0 or more"),
    Refusal(
        "epochs",
        lambda value: value >= 1,
        "nothing is trained, and the official script fails for want of model_best.pth.tar; expected at least 1",
    ),
    Refusal(
        "iters",
        lambda value: value >= 1,
        "the official script goes once over the data, in a number of steps that changes with the clusters; here an "
        "epoch has a fixed number of steps: give it, for example images / batch size",
    ),
    Refusal(
        "step_size",
        lambda value: value >= 1,
        "the official script fails after its first epoch (division by zero), or ignores the sign; expected at least 1",
    ),
    Refusal(
        "eval_step",
        lambda value: value >= 1,
        "the official script fails after its first epoch (division by zero), or ignores the sign; expected at least 1",
    ),
    Refusal("seed", lambda value: value >= 0, "NumPy fails on it; expected 0 or more"),
    Refusal(
        "temp",
        lambda value: 0 < value < inf,
        "the loss is NaN at 0, and pushes each image away from its class below; expected a finite number above 0",
    ),
    Refusal("logs_dir", bool, "there is no folder without a name; expected a folder"),
)
OF_TEST = (
    *_SIZES,
    Refusal("batch_size", lambda value: value >= 1, "torch's loader fails on it; expected at least 1"),
)


def refuse_values(values: Mapping[str, Any], refusals: Sequence[Refusal], typed: Callable[[str], str]) -> None:
    """Raise an ``InputError`` for the first value that is refused.

    Args:
        values: Values of the flags by name.
        refusals: Which values are refused.
        typed: Gives the spelling of a flag that the message names.

    Raises:
        InputError: With the flag, the value and the reason.
    """
    for refusal in refusals:
        value = values[refusal.name]
        if not refusal.accepts(value):
            shown = value if isinstance(value, str) and value else repr(value)
            raise InputError(f"{typed(refusal.name)} {shown}: {refusal.reason}", code="setting-out-of-range")
