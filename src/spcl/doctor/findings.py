"""What was found: one finding for each part that was looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["ok", "note", "failed"]
"""``ok``: works; ``note``: works, with something to know, or an optional part is missing; ``failed``: needed, fails."""


@dataclass(frozen=True)
class Finding:
    """What was found of one part.

    Attributes:
        part: Name of the part.
        status: ``ok``, ``note`` or ``failed``.
        text: What was found, in a sentence.
        next_step: What to do; empty: nothing.
        values: The figures behind the sentence, as plain values.
    """

    part: str
    status: Status
    text: str
    next_step: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "part": self.part,
            "status": self.status,
            "text": self.text,
            "next_step": self.next_step,
            **dict(self.values),
        }


@dataclass(frozen=True)
class Diagnosis:
    """Everything that was found.

    Attributes:
        findings: The findings, in the order in which the parts were looked at.
    """

    findings: tuple[Finding, ...]

    @property
    def failed(self) -> tuple[Finding, ...]:
        """The parts that are needed and do not work."""
        return tuple(finding for finding in self.findings if finding.status == "failed")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"works": not self.failed, "findings": [finding.to_dict() for finding in self.findings]}
