"""Which stages of a run in a folder are finished, so that a killed run goes on; the settings that the folder is for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from spcl.atomic_files import written_aside
from spcl.data.image_files import what_is_there
from spcl.errors import InputError, first_line
from spcl.nested_text import json_of
from spcl.partitioned.part_files import NEXT_STEP

NAME = "label_stage.json"


class StageLog:
    """The plan of a run, and what is known of its finished stages.

    Args:
        folder: Folder of the run; it is made.
        plan: Settings and features; plain values.

    Raises:
        InputError: If the folder belongs to another plan, or holds something else.
    """

    def __init__(self, folder: Path, plan: Mapping[str, Any]) -> None:
        self._file = folder / NAME
        self.plan = dict(plan)
        self.stages: dict[str, dict[str, Any]] = {}
        if self._file.is_file():
            self._read(folder)
        elif folder.exists() and (not folder.is_dir() or any(entry.name != ".lock" for entry in folder.iterdir())):
            raise InputError(
                f"{folder} exists already, and is no folder of a label stage: {what_is_there(folder)}. Give another "
                "name",
                code="already-exists",
            )
        else:
            self._write()

    def run(self, stage: str, work: Callable[[], Mapping[str, Any] | None]) -> None:
        """Run a stage unless it is finished; what it returns, plain values, is kept in ``stages``."""
        if stage in self.stages:
            return
        started, of_processor = time.perf_counter(), time.process_time()
        found = dict(work() or {})
        self.stages[stage] = {
            "seconds": time.perf_counter() - started,
            "processor_seconds": time.process_time() - of_processor,
            **found,
        }
        self._write()

    def _read(self, folder: Path) -> None:
        try:
            held = dict(json_of(self._file.read_text(encoding="utf-8")))
            plan, stages = dict(held["plan"]), {str(name): dict(facts) for name, facts in held["stages"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{self._file} cannot be read: {first_line(error)}; give another folder", code="damaged-file"
            ) from error
        other = [name for name in self.plan if name != "rows_each" and plan.get(name) != self.plan[name]]
        if other:
            name = other[0]
            raise InputError(
                f"{folder} belongs to another run: its {name} is {plan.get(name)}, now it is {self.plan[name]}. Give "
                "another folder, or the same features and settings",
                code="other-run",
            )
        # Another amount of free memory must not change the parts that are written already.
        self.plan, self.stages = plan, stages

    def _write(self) -> None:
        with written_aside(self._file, next_step=NEXT_STEP) as aside:
            aside.write_text(json.dumps({"plan": self.plan, "stages": self.stages}, indent=1), encoding="utf-8")
