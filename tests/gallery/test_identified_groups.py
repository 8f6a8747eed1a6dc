"""Images of a next month: known ones named, unknown ones grouped, corrected together, and enrolled."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import spcl
from spcl.cli.main import main
from spcl.corrections.corrected_groups import read_groups
from tests.cli.test_commands import refused
from tests.fakes import draw
from tests.input_errors import input_error
from tests.verification.test_calibrate import write_checkpoint

NUM_ENROLLED = 24
STRANGERS = (70, 71)


@pytest.fixture(scope="module")
def first_month(tmp_path_factory):
    """A gallery of 24 identities, made with the names of groups; and images of the next month."""
    folder = tmp_path_factory.mktemp("year")
    write_checkpoint(folder / "c.pth.tar")
    for identity in range(NUM_ENROLLED):
        for shot in range(3):
            draw(folder / f"january/{identity:02d}/{shot}.png", identity, shot)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        main(["embed", "c.pth.tar", "january", "--gallery", "g", "--identity-from", "folder", "--device", "cpu"])
    return folder


@pytest.fixture
def folder(first_month, tmp_path, monkeypatch):
    """A copy of it, with a folder of the next month: 3 known objects, 2 strangers, and one image of a third."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(first_month, tmp_path, dirs_exist_ok=True)
    month(tmp_path / "february", known=(3, 4, 5), strangers=STRANGERS, singles=(80,))
    return tmp_path


def month(where: Path, *, known=(), strangers=(), singles=(), first=20) -> None:
    """Images named ``OBJECT_SHOT.png``: five of an object, one of a single."""
    shots = [(identity, shot) for identity in (*known, *strangers) for shot in range(first, first + 5)]
    for identity, shot in [*shots, *((single, first) for single in singles)]:
        draw(where / f"{identity:02d}_{shot}.png", identity, shot)


def identified(images="february", out="groups", **settings) -> spcl.IdentificationResult:
    grouping = spcl.UnknownGrouping(out, **({"eps": 0.5, "k1": 5} | settings))
    return spcl.identify_images(spcl.IdentificationRequest("g", images, false_match_rate=0.05, groups=grouping))


def enrolled(images, groups, gallery="g") -> spcl.EmbeddingResult:
    return spcl.embed_images(spcl.EmbeddingRequest(images, gallery=gallery, groups=groups))


def names_in(groups) -> dict[str, set[str]]:
    """The objects of each group, by its name."""
    table = read_groups(groups).table
    found: dict[str, set[str]] = {}
    for path, number in zip(table.paths, table.group.tolist(), strict=True):
        found.setdefault(table.names.get(number, "" if number < 0 else str(number)), set()).add(path.stem[:2])
    return found


def group_of(groups, image) -> int:
    found = read_groups(groups).references
    return int(found.table.group[found.image(image)])


def identities_in(gallery="g") -> dict[str, str | None]:
    opened = spcl.Gallery.open(gallery)
    rows = [part.columns for part in opened.read(["path", "identity"])]
    return {
        Path(path).stem: identity
        for columns in rows
        for path, identity in zip(columns["path"], columns["identity"], strict=True)
        if "january" not in path
    }


def test_known_ones_are_named_and_unknown_ones_grouped(folder):
    found = identified().groups
    assert (found.num_named, found.num_grouped, found.num_single) == (15, 10, 1)
    assert found.named == {"03": 5, "04": 5, "05": 5}
    assert [(group.name, group.num_images) for group in found.new] == [("new-1", 5), ("new-2", 5)]
    assert names_in("groups") == {
        "03": {"03"},
        "04": {"04"},
        "05": {"05"},
        "new-1": {"70"},
        "new-2": {"71"},
        "": {"80"},
    }
    summary = json.loads(Path("groups/summary.json").read_text())
    assert summary["identified"]["new_groups"][0]["name"] == "new-1"
    assert Path("groups/groups.png").stat().st_size


def test_unknown_images_can_be_none_or_all(folder, capsys):
    month(folder / "march", known=(3,))
    found = identified("march", "march_groups").groups
    assert (found.num_named, found.new, found.num_single) == (5, (), 0)
    assert json.loads(Path("march_groups/summary.json").read_text())["eps"] is None
    month(folder / "april", strangers=STRANGERS)
    main(["identify", "g", "april", "--groups", "april_groups", "--false-match-rate", "0.05", "--json"])
    printed = json.loads(capsys.readouterr().out)["groups"]
    assert (printed["named_images"], printed["grouped_images"], printed["single_images"]) == (0, 10, 0)
    assert printed["named"] == {} and [group["probability"] for group in printed["new_groups"]] == [None, None]


def test_corrected_groups_grow_the_gallery(folder, capsys):
    identified()
    spcl.correct("groups", "name", ["new-2", "Zoe"])
    spcl.correct("groups", "move", ["70_24.png", "none"])
    done = enrolled("february", "groups")
    assert done.gallery.added == 26
    held = identities_in()
    assert {held[f"70_{shot}"] for shot in range(20, 24)} == {"new-1"}
    assert held["70_24"] is None and held["71_20"] == "Zoe" and held["03_20"] == "03"
    # A later correction counts at the next enrolment, also where it takes a name away.
    spcl.correct("groups", "move", ["71_24.png", "none"])
    main(["embed", "february", "--gallery", "g", "--groups", "groups"])
    assert "1 images of the gallery lost a name" in " ".join(capsys.readouterr().out.split())
    assert identities_in()["71_24"] is None and identities_in()["71_23"] == "Zoe"
    # The third month: what was new is known, and the numbers go on.
    month(folder / "march", known=(3,), strangers=(*STRANGERS, 72), first=30)
    found = identified("march", "march_groups").groups
    assert found.named == {"03": 5, "Zoe": 5, "new-1": 5}
    assert [group.name for group in found.new] == ["new-2"]


@pytest.mark.slow
def test_numbers_go_on_after_the_highest_and_two_folders_do_not_mix(folder):
    month(folder / "march", strangers=(72, 73))
    identified("february", "groups")
    identified("march", "march_groups")  # before the groups of February are in the gallery
    enrolled("february", "groups")
    with input_error("name-taken", "new-1"):
        enrolled("march", "march_groups")
    spcl.correct("march_groups", "name", ["new-1", "Ada"])
    with input_error("name-taken", "new-2"):
        enrolled("march", "march_groups")
    again = identified("march", "march_groups", overwrite=True).groups
    assert [group.name for group in again.new] == ["new-3"] and again.named == {"Ada": 5}
    enrolled("march", "march_groups")
    enrolled("march", "march_groups")  # a second time, the names are its own
    assert {name for name in identities_in().values() if name} >= {"Ada", "new-1", "new-2", "new-3"}


def test_known_pairs_are_honoured(folder):
    lines = ["path_a,path_b,relation", "70_20.png,03_20.png,same", "70_21.png,70_22.png,different"]
    Path("february/pairs.csv").write_text("\n".join(lines))
    found = identified().groups
    assert group_of("groups", "70_20.png") == group_of("groups", "03_20.png") == group_of("groups", "03_21.png")
    first, second = group_of("groups", "70_21.png"), group_of("groups", "70_22.png")
    assert first != second or first < 0
    assert found.num_changed == 1 and found.named["03"] == 6


@pytest.mark.slow
def test_a_track_has_one_name_or_none(folder):
    rows = ["path,camera,track"]
    tracks = {"03": 1, "70": 1, "04": 4, "05": 5, "71": 71, "80": 80}
    rows += [f"{path.name},1,{tracks[path.stem[:2]]}" for path in Path("february").iterdir()]
    Path("february/t.csv").write_text("\n".join(rows))
    request = spcl.IdentificationRequest(
        "g", "february/t.csv", by="track", false_match_rate=0.05, groups=spcl.UnknownGrouping("groups")
    )
    found = spcl.identify_images(request)
    # Track 1 is of two objects by mistake: all its images stay together.
    assert len({group_of("groups", f"{name}_{shot}.png") for name in ("03", "70") for shot in range(20, 25)}) == 1
    assert len(found.answers) == len(found.tracks)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--groups", "january"], "folder-not-empty"),
        (["--groups", "groups"], "already-exists"),
        (["--eps", "0.5"], "option-does-not-apply"),
        (["--no-tracks"], "option-does-not-apply"),
        (["--groups", "new", "--eps", "1.5"], "setting-out-of-range"),
        (["--groups", "new", "--min-samples", "1"], "setting-out-of-range"),
    ],
)
def test_refusals_of_identify(folder, words, code, capsys):
    Path("groups").mkdir()
    Path("groups/summary.json").write_text('{"made_by": "spcl cluster"}')
    assert f"[{code}]" in refused(["identify", "g", "february", *words], capsys)
    assert not Path("new").exists()


@pytest.mark.slow
def test_refusals_of_embed(folder):
    with input_error("no-groups", "february"):
        enrolled("february", "february")
    identified()
    with input_error("other-images", "groups"):
        enrolled("january", "groups")
    with input_error("option-contradiction", "folder"):
        spcl.EmbeddingRequest(
            "february", gallery="g", groups="groups", source=spcl.SourceOptions(identity_from="folder")
        )
    spcl.correct("groups", "confirm", ["new-1"])
    table = Path("groups/groups.csv")
    table.write_text(table.read_text().replace("new-1", "Eve"))
    with input_error("groups-edited", "spcl correct"):
        enrolled("february", "groups")
    main(["cluster", "february", "-o", "plain", "--checkpoint", "c.pth.tar", "--eps", "0.5", "--k1", "5"])
    with input_error("no-identities", "spcl correct plain name 0"):
        enrolled("february", "plain")


def test_a_new_gallery_has_the_encoder_of_the_groups(folder):
    main(["cluster", "february", "-o", "plain", "--checkpoint", "c.pth.tar", "--eps", "0.5", "--k1", "5"])
    spcl.correct("plain", "name", ["0", "Ida"])
    enrolled("february", "plain", gallery="own")
    assert spcl.Gallery.open("own", spcl.load_encoder("c.pth.tar")).count("identity = 'Ida'") >= 4


def test_a_merge_keeps_the_name_of_the_gallery(folder):
    identified()
    after = spcl.correct("groups", "merge", ["new-1", "name:03"]).after
    assert sorted(after.table.names.values()) == ["03", "04", "05", "new-2"]
    assert names_in("groups")["03"] == {"03", "70"}
