"""Kills of one job: at every change of the disk, at random times, and what is checked after each."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.trust.jobs import INPUTS, Job, prepared, split, without_resume
from tests.trust.normal_form import files_of, is_temporary, state_of, temporary_in
from tests.trust.zygote import Ended, Zygote

_DONE = "[already-exists]", "[folder-not-empty]"


@dataclass
class Kills:
    """Kills of one job.

    Attributes:
        job: The job.
        zygote: Runs programs.
        folder: Folder for the tries.
        faults: What was wrong, a line each.
        num_kills: Number of kills.
        num_states: Number of different states that they left.
        num_points: Number of changes of the disk of the whole job.
    """

    job: Job
    zygote: Zygote
    folder: Path
    faults: list[str] = field(default_factory=list)
    num_kills: int = 0
    num_points: int = 0
    _seen: set[object] = field(default_factory=set)
    _kept: list[tuple[str, Path]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Run the job once without a kill, which gives what must be there in the end."""
        self.template, self.work = self.folder / "template/work", self.folder / "work"
        prepared(self.job, self.template, self._run_whole)
        self.before = self._results(self.template)
        self._begin()
        whole = self.zygote.run(split(self.job.words), self.work, listed=True)
        assert set(whole.followed.codes) == {0}, whole.output
        self.changes = whole.followed.changes
        self.num_points = len(self.changes)
        self.after = self._results(self.work)
        # An index changes files, and no row.
        assert self.changes, "the job writes nothing"

    @property
    def num_held(self) -> int:
        """Number of kills after which nothing was wrong."""
        return self.num_kills - len({fault.partition(": ")[0] for fault in self.faults})

    @property
    def note(self) -> str:
        """How the kills were chosen, for the tallies."""
        return f"{self.num_points} changes of the disk; {len(self._seen)} different states were continued"

    def all(self, number: int, seed: int) -> None:
        """Kill ``number`` times: before each change of the disk (or some of them), the rest at random times.

        Each state that was left is continued once; the same state again would give the same.
        """
        drawn = random.Random(seed)
        points = list(range(self.num_points))
        if len(points) > number * 3 // 4:
            points = sorted(drawn.sample(points, number * 3 // 4))
        stops = not self.job.is_native and isinstance(self.job.words, str)
        if stops:
            self._begin()
            stops = self.zygote.stop_before_first_change(self.job.words.split(), self.work)
        run = self.zygote.go_on if stops else self._run
        try:
            self._begin()
            whole = run(listed=False).followed
            if stops and whole.codes != [0]:
                # It holds something open of the folder that was there before: each kill begins it anew.
                self.zygote.end_stopped()
                stops, run = False, self._run
                self._begin()
                whole = run(listed=False).followed
            assert set(whole.codes) == {0}
            for point in points:
                self._one(run, kill_before=point)
            for _ in range(2 * number):
                if self.num_kills >= number:
                    break
                self._one(run, kill_after=drawn.uniform(0, whole.seconds))
        finally:
            if stops:
                self.zygote.end_stopped()
        for where, kept in self._kept:
            shutil.rmtree(self.work, ignore_errors=True)
            kept.rename(self.work)
            self._add(where, self._again())

    def _run(self, **how: Any) -> Ended:
        some = self._who_dies()
        return self.zygote.run(split(self.job.words), self.work, killed=some, **how)

    def _one(self, run: Callable[..., Ended], **when: float) -> None:
        """Kill once, and check what is left; a new state is continued, now or at the end."""
        self._begin()
        ended = run(listed="kill_before" in when, **when)
        if not ended.followed.killed:
            return
        self.num_kills += 1
        where = f"{when} {ended.followed.changes[-1]}" if "kill_before" in when else str(when)
        self._add(where, self._harm(self._results(self.work)))
        state = state_of(self.work, left_out=INPUTS)
        if state not in self._seen:
            self._seen.add(state)
            kept = self.folder / f"left{self.num_kills}"
            self.work.rename(kept)
            self._kept.append((where, kept))

    def _add(self, where: str, faults: Iterable[str]) -> None:
        self.faults += [f"{where}: {fault}" for fault in faults]

    def _who_dies(self) -> list[int] | None:
        """Every third time, only one of two processes."""
        return [self.num_kills // 3 % 2] if isinstance(self.job.words, tuple) and self.num_kills % 3 == 2 else None

    def _begin(self) -> None:
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.template, self.work, symlinks=True)

    def _results(self, folder: Path) -> dict[str, str]:
        return files_of(folder, left_out=INPUTS)

    def _harm(self, left: dict[str, str]) -> list[str]:
        """What is wrong before the command is given again."""
        if self.job.is_native or self.job.adds:
            # The last line of the metrics may be cut; the next run mends it.
            damaged = {
                name: what for name, what in left.items() if what.startswith("damaged") and "metrics" not in name
            }
            return [f"{name} is {what}" for name, what in damaged.items()]
        if self.job.is_whole:
            if left in (self.before, self.after):
                return []
            return [f"neither the old results nor the new: {_difference(left, self.before, self.after)}"]
        return [
            f"{name} is neither the old nor the new"
            for name, what in left.items()
            if what not in (self.before.get(name), self.after.get(name))
        ]

    def _again(self) -> list[str]:
        ended = self._continued()
        done = self._results(self.work)
        if any(mark in ended.output for mark in _DONE) and ended.code == 2 and done == self.after:
            return [] if not _own_leftovers(self.work) else [f"left: {_own_leftovers(self.work)}"]
        if set(ended.followed.codes) != {0}:
            return [f"the same command then ends with {ended.followed.codes}: {ended.output[-500:]}"]
        if done != self.after:
            return [f"the same command then gives something else: {_difference(done, self.after)}"]
        if left := _own_leftovers(self.work):
            return [f"still there after the next command: {left}"]
        return []

    def _continued(self) -> Ended:
        words = self.job.again or self.job.words
        ended = self.zygote.run(split(words), self.work, listed=False)
        if ended.code == 2 and "[no-such-run]" in ended.output:
            ended = self.zygote.run(without_resume(words), self.work, listed=False)
        if self.job.if_kept and ended.code == 2:
            ended = self.zygote.run(self.job.if_kept.split(), self.work, listed=False)
        return ended

    def _run_whole(self, words: list[str], folder: Path) -> None:
        ended = self.zygote.run(words, folder, listed=False)
        assert ended.code == 0, ended.output


def _own_leftovers(folder: Path) -> list[str]:
    return [name for name in temporary_in(folder) if is_temporary(name)][:4]


def _difference(found: dict[str, str], *wanted: dict[str, str]) -> str:
    lines = []
    for each in wanted:
        lacks = sorted(set(each) - set(found))[:4]
        more = sorted(set(found) - set(each))[:4]
        other = sorted(f"{name}: {found[name]}" for name in set(found) & set(each) if found[name] != each[name])[:4]
        lines.append(f"lacks {lacks}, has besides {more}, other content {other}")
    return " | ".join(lines)
