"""What corrections do to groups, and which pairs follow from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spcl.corrections.correction import Correction
from spcl.corrections.corrections_file import CorrectionLog
from spcl.corrections.replay import Replayed, replay

PATHS = [Path(f"/images/{letter}.jpg") for letter in "abcdefghij"]
GROUP = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, -1])


def log_of(*lines: tuple[str, str] | tuple[str, str, str]) -> CorrectionLog:
    """Corrections by letters of images; the argument of move and split is a letter, too."""
    made = []
    for number, (action, letters, *rest) in enumerate(lines, start=1):
        argument = rest[0] if rest else ""
        if action in ("move", "split", "divide") and argument:
            argument = f"/images/{argument}.jpg"
        made.append(Correction(number, action, tuple(Path(f"/images/{letter}.jpg") for letter in letters), argument))
    return CorrectionLog(tuple(made))


def run(*lines, grouped_with: int = 0) -> Replayed:
    before = GROUP.copy()
    found = replay(log_of(*lines), PATHS, before, grouped_with=grouped_with)
    assert np.array_equal(before, GROUP)
    return found


def pairs(links: np.ndarray) -> set[str]:
    letters = "abcdefghij"
    return {"".join(sorted(letters[row] for row in pair)) for pair in links.tolist()}


def groups(found: Replayed) -> set[str]:
    return {
        "".join(letter for letter, group in zip("abcdefghij", found.group, strict=True) if group == number)
        for number in set(found.group.tolist()) - {-1}
    }


def test_without_corrections_nothing_changes():
    found = run()
    assert found.group.tolist() == GROUP.tolist()
    assert (len(found.must_link), len(found.cannot_link), found.by_hand.any(), found.names) == (0, 0, False, {})
    assert found.usage.words() == "corrections: 0 used, 0 undone"


def test_merge_joins_groups_and_binds_the_named_images():
    found = run(("merge", "ae"))
    assert groups(found) == {"abcdefg", "hi"}
    assert found.group[4] == 0
    assert (pairs(found.must_link), found.must_origin.tolist()) == ({"ae"}, [1])
    assert found.by_hand.nonzero()[0].tolist() == [0, 4]


def test_split_makes_a_group_that_the_rest_is_not_in():
    found = run(("split", "cd", "a"))
    assert groups(found) == {"ab", "cd", "efg", "hi"}
    assert found.group[[2, 3]].tolist() == [3, 3]
    assert pairs(found.must_link) == {"cd"}
    assert pairs(found.cannot_link) == {"ac", "ad"}


def test_move_to_a_group_to_none_and_from_none():
    assert groups(run(("move", "d", "e"))) == {"abc", "defg", "hi"}
    found = run(("move", "d", ""))
    assert (found.group[3], len(found.must_link)) == (-1, 0)
    found = run(("move", "j", "h"))
    assert groups(found) == {"abcd", "efg", "hij"}
    assert pairs(found.must_link) == {"hj"}


def test_confirm_binds_all_and_name_names_them():
    found = run(("confirm", "efg"), ("name", "hi", "Bella"))
    assert groups(found) == groups(run())
    assert pairs(found.must_link) == {"ef", "eg", "hi"}
    assert dict(found.names) == {2: "Bella"}


def test_deny_changes_no_group():
    found = run(("deny", "ab"), ("deny", "he"))
    assert groups(found) == groups(run())
    assert pairs(found.cannot_link) == {"ab", "eh"}
    assert sorted(found.cannot_origin.tolist()) == [1, 2]


def test_two_names_are_two_objects_and_one_name_is_one():
    found = run(("name", "ab", "Bella"), ("name", "ef", "Clara"), ("name", "hi", "Bella"))
    assert pairs(found.cannot_link) == {"ae"}
    assert pairs(found.must_link) == {"ab", "ah", "ai", "ef"}
    assert sorted(found.names.values()) == ["Bella", "Clara"]


def test_a_later_correction_counts():
    found = run(("confirm", "abcd"), ("move", "d", "e"))
    assert pairs(found.must_link) == {"ab", "ac", "de"}
    found = run(("deny", "ae"), ("merge", "ae"))
    assert (pairs(found.must_link), pairs(found.cannot_link)) == ({"ae"}, set())
    assert found.usage.notes == ("correction 2 contradicts correction 1; the later one counts",)
    found = run(("confirm", "abc"), ("deny", "ac"))
    assert (pairs(found.must_link), pairs(found.cannot_link)) == ({"ab"}, {"ac"})
    assert found.usage.notes == ("correction 2 contradicts correction 1; the later one counts",)
    found = run(("name", "ab", "Bella"), ("name", "ef", "Clara"), ("merge", "ae"))
    assert list(found.names.values()) == ["Bella"]
    assert "Clara and Bella are one object now" in found.usage.notes[0]


def test_undone_and_missing_are_counted():
    lines = log_of(("merge", "ae"), ("confirm", "xyh"), ("name", "zq", "Z"), ("merge", "ah"))
    log = CorrectionLog((*lines.corrections, Correction(5, "undo", (), "4")))
    found = replay(log, PATHS, GROUP)
    usage = found.usage
    assert (usage.used, usage.undone, usage.missing) == (2, 1, 2)
    assert [path.stem for path in usage.missing_images] == list("xyzq")
    assert usage.words() == "corrections: 2 used, 1 undone, 2 name images that are not here"


def test_after_a_new_grouping_members_of_former_groups_stay_where_they_are():
    """A merge bound a and e; e was moved out later, and the new grouping has put it with h."""
    new = np.array([0, 0, 0, 0, 2, 1, 1, 2, 2, -1])
    lines = log_of(("merge", "ae"), ("split", "e", "a"), ("name", "hi", "Bella"))
    after = replay(lines, PATHS, new, grouped_with=3)
    assert after.group.tolist() == new.tolist()
    assert dict(after.names) == {2: "Bella"}
    later = replay(
        CorrectionLog((*lines.corrections, *renumbered(log_of(("merge", "af")), 4))), PATHS, new, grouped_with=3
    )
    assert groups(later) == {"abcdfg", "ehi"}


def renumbered(log: CorrectionLog, first: int) -> list[Correction]:
    return [
        Correction(first + at, each.action, each.subjects, each.argument) for at, each in enumerate(log.corrections)
    ]


def test_images_that_no_new_grouping_holds_together_are_a_group_again():
    scattered = np.full(len(PATHS), -1)
    found = replay(log_of(("confirm", "abc"), ("name", "j", "Zora")), PATHS, scattered, grouped_with=2)
    assert groups(found) == {"abc", "j"}
    assert list(found.names.values()) == ["Zora"]


def test_pairs_alone_need_no_groups():
    lines = (("merge", "ae"), ("split", "cd", "a"), ("confirm", "hi"))
    alone, with_groups = replay(log_of(*lines), PATHS), run(*lines)
    assert np.array_equal(alone.must_link, with_groups.must_link)
    assert np.array_equal(alone.cannot_link, with_groups.cannot_link)


def test_divide_parts_a_group_and_binds_the_asked_pair_alone():
    found = run(("divide", "ab", "c"))
    assert groups(found) == {"ab", "cd", "efg", "hi"}
    assert (pairs(found.cannot_link), len(found.must_link), found.by_hand.any()) == ({"ac"}, 0, False)
    assert groups(run(("divide", "ab", "c"), ("divide", "ad", "c"))) == {"ab", "cd", "efg", "hi"}
    later = run(("divide", "ab", "c"), grouped_with=1)
    assert (later.group.tolist(), pairs(later.cannot_link)) == (GROUP.tolist(), {"ac"})
    # The images of two groups are two objects already.
    apart = run(("divide", "ae", "h"))
    assert (apart.group.tolist(), pairs(apart.cannot_link)) == (GROUP.tolist(), {"ah"})
    gone = run(("divide", "ab", "z"))
    assert gone.group.tolist() == GROUP.tolist()


def test_divide_keeps_what_a_person_called_one_object_together():
    assert groups(run(("merge", "bd"), ("divide", "ab", "c"))) == {"a", "bcd", "efg", "hi"}
    assert groups(run(("merge", "ad"), ("divide", "ab", "c"))) == {"abd", "c", "efg", "hi"}


def test_a_division_in_several_lines_is_one():
    lines = [Correction(1, "divide", (PATHS[0], PATHS[at]), str(PATHS[3])) for at in (1, 2)]
    found = replay(CorrectionLog(tuple(lines)), PATHS, GROUP)
    assert groups(found) == {"abc", "d", "efg", "hi"}
