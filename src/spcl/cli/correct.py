"""``spcl correct``: corrections by hand of the groups of ``spcl cluster``, as commands on a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import tyro

from spcl.cli.computing import ComputingOptions
from spcl.cli.options import parsed
from spcl.cli.text_table import aligned
from spcl.corrections.answers import take_answers
from spcl.corrections.corrected_groups import CorrectedGroups, CorrectionResult, correct, read_groups
from spcl.corrections.edited_table import take_table
from spcl.errors import InputError
from spcl.reporting.console import ConsoleReporter, Reporter, SilentReporter

_CORRECTIONS = ("merge", "split", "move", "confirm", "name", "deny", "undo")
_ACTIONS = (*_CORRECTIONS, "answers", "table", "apply", "show", "log")


@dataclass(frozen=True)
class Correct(ComputingOptions):
    """Correct the groups of spcl cluster by hand: an action adds a line to corrections.csv and writes groups.csv again.

    merge GROUP GROUP ...: these groups show one object. split GROUP IMAGE ...: these images of the group are another
    object. move IMAGE ... GROUP|none|new: these images belong to another group. confirm GROUP ...: all images of the
    group show one object. name GROUP NAME: so does this, and the object has a name. deny FIRST SECOND: two groups, or
    two images, are not one object. undo [NUMBER]: take back the last correction, or that of a number.

    show [GROUP]: print the groups, or the images of one; log: print the corrections. answers FILE: take the answers to
    the questions of spcl ask. table FILE: take the groups of an edited table. apply: write table and picture again. A
    group is given by its number or its name, an image by its path or its file name.
    """

    usage: ClassVar[str] = "FOLDER ACTION [WORDS ...] [options]"
    example: ClassVar[str] = "spcl correct groups merge 3 7"

    folder: tyro.conf.Positional[str]
    """The folder of spcl cluster."""
    action: tyro.conf.Positional[str] = "show"
    """merge, split, move, confirm, name, deny, undo, answers, table, apply, show or log."""
    words: tyro.conf.Positional[tuple[str, ...]] = ()
    """Groups, images, a name or a number, as the action takes them."""
    who: str = ""
    """Who makes the correction. Without it: the name of the user of the system."""
    json: bool = False
    """Print the result as JSON."""

    def check(self) -> None:
        """Check the shared options, then the action and the number of its words, where it is not a correction."""
        super().check()
        if self.action not in _ACTIONS:
            raise InputError(
                f"there is no action {self.action!r}; expected {', '.join(_ACTIONS)}", code="no-such-correction"
            )
        table, nothing = (1, "one table"), (0, "no word")
        takes = {"answers": table, "table": table, "apply": nothing, "log": nothing, "show": (1, "one group")}
        most, what = takes.get(self.action, (len(self.words), ""))
        if len(self.words) > most:
            raise InputError(f"{self.action} takes {what}, and got {' '.join(self.words)}", code="too-many-arguments")
        if self.action in ("answers", "table") and not self.words:
            raise InputError(f"{self.action} takes one table, and got nothing", code="missing-argument")


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl correct`` with these words."""
    options = parsed(Correct, arguments, "spcl correct")
    report: Reporter = SilentReporter() if options.json else ConsoleReporter()
    if options.action in ("show", "log"):
        groups = read_groups(options.folder)
        _print_plain(options, _shown(options, groups, report))
    elif options.action == "apply":
        from spcl.grouping.corrected_folder import apply_corrections

        groups = apply_corrections(options.folder, report=report)
        _print_usage(groups, report)
        if not groups.has_corrections:
            report.say(f"there is nothing to apply in {groups.folder}: no correction was made; no file is changed")
        _print_plain(options, groups.to_dict())
    else:
        result = _corrected(options)
        print_correction(result, report)
        _print_plain(options, result.to_dict())


def print_correction(result: CorrectionResult, report: Reporter) -> None:
    """Print what a correction changed, and draw the picture of the groups again."""
    from spcl.grouping.corrected_folder import draw_groups, has_folders, is_outdated

    if not result.lines:
        report.say("nothing differs from the groups after corrections; nothing is added")
        return
    first = result.lines[0]
    what = f"undo of {first.argument}" if first.action == "undo" else first.action
    report.say(f"correction {result.number}: {what}")
    changes = result.changes()
    for line in changes:
        report.say(f"  {line}")
    if not changes:
        report.say("  the groups are the same; the next spcl cluster takes it into account")
    _print_usage(result.after, report)
    picture = draw_groups(result.after)
    report.say(f"table: {result.after.folder / 'groups.csv'}" + ("" if picture is None else f", picture: {picture}"))
    if is_outdated(result.after):
        report.say(
            "the number of individuals was estimated for the groups before; "
            f"spcl correct {result.after.folder} apply estimates it again"
        )
    if has_folders(result.after):
        report.say(
            f"the folders of the groups are the old ones; spcl correct {result.after.folder} apply makes them again"
        )


def _corrected(options: Correct) -> CorrectionResult:
    if options.action == "table":
        return take_table(options.folder, options.words[0], who=options.who)
    if options.action == "answers":
        return take_answers(options.folder, options.words[0], who=options.who)
    return correct(options.folder, options.action, options.words, who=options.who)


def _print_usage(groups: CorrectedGroups, report: Reporter) -> None:
    report.say(groups.replayed.usage.words())
    for note in groups.notes:
        report.warn(note)


def _print_plain(options: Correct, plain: dict[str, Any]) -> None:
    if options.json:
        print(json.dumps(plain))


def _shown(options: Correct, groups: CorrectedGroups, report: Reporter) -> dict[str, Any]:
    """Print groups, the images of one, or the corrections; the same as plain values."""
    if options.action == "log":
        rows = [["number", "time", "who", "action", "images", "argument"]]
        undone = groups.log.undone
        for each in groups.log.corrections:
            mark = " (undone)" if each.number in undone else ""
            rows.append(
                [str(each.number), each.time, each.who, each.action + mark, str(len(each.subjects)), each.argument]
            )
        _print_rows(rows, report)
        _print_usage(groups, report)
        lines = [
            dict(zip(("number", "time", "who", "action", "subjects", "argument"), each.cells(), strict=True))
            for each in groups.log.corrections
        ]
        return {"corrections": lines, **groups.counts()}
    if options.words:
        number = groups.references.group(options.words[0])
        members = groups.references.members(number)
        table, by_hand = groups.table, groups.replayed.by_hand
        rows = [["confidence", "by hand", "image"]]
        rows += [
            [f"{table.confidence[row]:.2f}", "yes" if by_hand[row] else "-", str(table.paths[row])] for row in members
        ]
        _print_rows(rows, report)
        return {"group": number, "name": table.names.get(number), "images": [str(table.paths[row]) for row in members]}
    plain = groups.to_dict()
    rows = [["group", "name", "images", "by hand", "surest image"]]
    rows += [
        [str(g["group"]), g["name"] or "-", str(g["images"]), str(g["by_hand"]), Path(g["surest"]).name]
        for g in plain["groups"]
    ]
    _print_rows(rows, report)
    report.say(f"{len(plain['groups'])} groups; {plain['images_without_group']} images are in no group")
    _print_usage(groups, report)
    return plain


def _print_rows(rows: list[list[str]], report: Reporter) -> None:
    for line in aligned(rows):
        report.say(line)
