"""What the review page reads and writes: the groups of a folder, and corrections that spcl correct could have made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

import spcl
from spcl.corrections.group_table import GroupTable, read_group_table, write_group_table
from spcl.inference.encode_options import EncodeOptions, EncoderChoice
from spcl.reporting.console import SilentReporter
from spcl.review.app import make_review_app
from spcl.review.asked import Asked
from spcl.review.session import NUM_SHOWN, ReviewSession
from tests.fakes import draw
from tests.input_errors import input_error

HOSTILE = "<img src=x onerror=alert(1)>\"'&.png"


def write_groups(folder: Path, group: list[int]) -> list[Path]:
    names = [f"{number:02}.png" for number in range(len(group) - 1)] + [HOSTILE]
    paths = [draw(folder / "crops" / name, number % 3, number, size=(20, 30)) for number, name in enumerate(names)]
    confidence = np.linspace(0.9, 0.2, len(group)).round(3)
    write_group_table(
        folder / "out/groups.csv", GroupTable(tuple(paths), np.array(group), np.where(confidence, confidence, 0), {})
    )
    (folder / "out/summary.json").write_text("{}")
    return paths


def app_of(session: ReviewSession):
    # Random weights: questions by colours and shapes are enough here.
    encoding = EncodeOptions(encoder=EncoderChoice(arch="timm/test_resnet", pretrained="none"))
    return make_review_app(session, Asked(session, encoding, SilentReporter()))


@pytest.fixture
def out(tmp_path):
    write_groups(tmp_path, [0] * 10 + [1, 1, 1, 2, 2, -1])
    return tmp_path / "out"


@pytest.fixture
def client(out):
    with TestClient(app_of(ReviewSession(out, "Anna")), base_url="http://127.0.0.1") as client:
        yield client


def by_number(answer):
    return {group["number"]: group for group in answer["groups"]}


def test_groups_with_their_surest_images(client):
    answer = client.get("/api/groups").json()
    groups = by_number(answer)
    assert {number: group["size"] for number, group in groups.items()} == {0: 10, 1: 3, 2: 2}
    assert groups[0]["rows"] == list(range(NUM_SHOWN))
    assert (answer["images"], answer["ungrouped"], answer["can_undo"]) == (16, 1, False)
    members = client.get("/api/groups/1").json()
    assert [image["row"] for image in members["images"]] == [10, 11, 12]
    assert [image["file"] for image in client.get("/api/groups/-1").json()["images"]] == [HOSTILE]


def test_corrections_are_those_of_spcl_correct(client, out, tmp_path):
    def correct(action, *words):
        answer = client.post("/api/corrections", json={"action": action, "words": words})
        assert answer.status_code == 200, answer.text
        return answer.json()

    merged = correct("merge", {"group": 1}, {"group": 2})
    assert merged["removed"] == [2]
    assert [(group["number"], group["size"]) for group in merged["changed"]] == [(1, 5)]
    split = correct("split", {"group": 0}, {"row": 0}, {"row": 1})
    assert sorted(group["size"] for group in split["changed"]) == [2, 8]
    correct("move", {"row": 15}, {"group": 1})
    correct("name", {"group": 1}, {"text": HOSTILE})
    correct("confirm", {"group": 0})
    undone = correct("undo")
    assert undone["corrections"] == {"used": 4, "undone": 1, "missing": 0}
    groups = spcl.read_groups(out)
    assert groups.table.names == {1: HOSTILE}
    assert {each.who for each in groups.log.corrections} == {"Anna"}
    assert by_number(client.get("/api/groups").json()) == {
        each["number"]: each for each in ReviewSession(out).overview()["groups"]
    }
    # The same words on the command line give the same groups.
    paths = write_groups(tmp_path / "again", [0] * 10 + [1, 1, 1, 2, 2, -1])
    again = tmp_path / "again/out"
    for action, *words in (
        ("merge", "1", "2"),
        ("split", "0", str(paths[0]), str(paths[1])),
        ("move", str(paths[15]), "1"),
        ("name", "1", HOSTILE),
    ):
        spcl.correct(again, action, words)
    assert np.array_equal(spcl.read_groups(again).table.group, groups.table.group)


def test_other_programs_may_correct_too(client, out):
    spcl.correct(out, "merge", ["1", "2"])
    assert 2 not in by_number(client.get("/api/groups").json())
    refused = client.post("/api/corrections", json={"action": "merge", "words": [{"group": 0}, {"group": 2}]})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "no-such-group")
    assert len(spcl.read_groups(out).log.corrections) == 1


def test_images_grouped_again(client, out, tmp_path):
    write_groups(tmp_path, [0, 0, 1, 1])
    refused = client.get("/api/groups")
    assert refused.json()["error"]["code"] == "grouped-again"
    # Loading the page takes the new groups.
    assert client.get("/").status_code == 200
    assert client.get("/api/groups").json()["images"] == 4


@pytest.mark.parametrize(
    "body",
    [
        {"action": "merge", "words": [{"group": 0}, {"group": 99}]},
        {"action": "fly", "words": []},
        {"action": "split", "words": [{"group": 0}, {"row": 99}]},
        {"action": "split", "words": [{"group": 0}, {"row": -1}]},
        {"action": "split", "words": [{"group": "0; x"}, {"row": "a"}]},
        {"action": "merge", "words": "0"},
        {"action": "merge"},
        [],
    ],
)
def test_wrong_requests_change_nothing(client, out, body):
    answer = client.post("/api/corrections", json=body)
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]["message"]
    assert not (out / "corrections.csv").exists()


def test_only_the_images_of_the_groups_are_served(client, out, tmp_path):
    (tmp_path / "secret.png").write_bytes((tmp_path / "crops/00.png").read_bytes())
    image = client.get("/images/0?size=16")
    assert image.headers["content-type"] == "image/jpeg"
    assert image.content[:3] == b"\xff\xd8\xff"
    for path in ("/images/99", "/images/-1", "/images/..%2f..%2fsecret.png", "/static/..%2fsession.py", "/static/x.js"):
        assert client.get(path).status_code in (404, 422), path
    assert client.get("/images/0?size=100000").status_code == 422


def test_other_sites_are_kept_out(client):
    assert client.get("/api/groups", headers={"Host": "evil.example"}).status_code == 421
    refused = client.post(
        "/api/corrections", json={"action": "undo", "words": []}, headers={"Origin": "http://evil.example"}
    )
    assert refused.status_code == 403
    page = client.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    # Nothing comes from elsewhere, and no script stands in the page.
    assert "http" not in page.text
    assert "<script>" not in page.text


def test_a_folder_without_groups(tmp_path):
    with input_error("no-groups", str(tmp_path)):
        ReviewSession(tmp_path)


def write_divided_groups(tmp_path: Path) -> Path:
    """Four objects of twelve images each; every one is in two groups."""
    paths = [
        draw(tmp_path / f"crops/{identity}_{number:02}.png", identity, 100 * identity + number, size=(20, 30))
        for identity in range(4)
        for number in range(12)
    ]
    group = np.array([2 * identity + (number >= 6) for identity in range(4) for number in range(12)])
    write_group_table(tmp_path / "out/groups.csv", GroupTable(tuple(paths), group, np.full(48, 0.5), {}))
    (tmp_path / "out/summary.json").write_text("{}")
    return tmp_path / "out"


def test_questions_and_answers(tmp_path):
    twelve = write_divided_groups(tmp_path)
    with TestClient(app_of(ReviewSession(twelve)), base_url="http://127.0.0.1") as client:
        questions = client.get("/api/questions?num=4").json()["questions"]
        assert questions
        group = spcl.read_groups(twelve).table.group
        for question in questions:
            assert group[question["first"]] != group[question["second"]]
            assert 0 <= question["probability"] <= 1
        seen = [(question["first"], question["second"]) for question in questions]

        def answer(question, text):
            first, second = question["first"], question["second"]
            return client.post("/api/answers", json={"first": first, "second": second, "answer": text})

        unsure = answer(questions[0], "unsure")
        assert unsure.json() == {"changes": []}
        again = client.get("/api/questions?num=4").json()["questions"]
        assert seen[0] not in [(question["first"], question["second"]) for question in again]
        same = answer(questions[1], "same").json()
        assert len(same["removed"]) == 1
        different = answer(questions[2], "different").json()
        assert different["changes"] == []
        after = spcl.read_groups(twelve)
        assert [each.action for each in after.log.corrections] == ["merge", "deny"]
        assert after.table.group[questions[1]["first"]] == after.table.group[questions[1]["second"]]
        asked = client.get("/api/questions?num=20").json()["questions"]
        assert not {frozenset(pair) for pair in seen[:3]} & {frozenset((q["first"], q["second"])) for q in asked}
        assert answer(questions[3 % len(questions)], "perhaps").status_code == 422
        wrong = client.post("/api/answers", json={"first": 0, "second": 999, "answer": "same"})
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (404, "no-such-image")


def test_a_question_about_the_parts_of_a_group_divides_it(tmp_path):
    out = write_divided_groups(tmp_path)
    table = read_group_table(out / "groups.csv")
    group = np.array([(0, 0, 2, 3)[row // 12] for row in range(48)])
    write_group_table(out / "groups.csv", GroupTable(table.paths, group, table.confidence, {}))
    with TestClient(app_of(ReviewSession(out)), base_url="http://127.0.0.1") as client:
        questions = client.get("/api/questions?num=20").json()["questions"]
        (inside,) = [one for one in questions if group[one["first"]] == group[one["second"]]]
        assert {inside["first_label"], inside["second_label"]} == {"group 0, one part", "group 0, the rest"}
        assert {row // 12 for row in inside["first_rows"]} == {inside["first"] // 12}
        body = {"first": inside["first"], "second": inside["second"], "answer": "different"}
        changed = client.post("/api/answers", json=body).json()
        assert len(changed["changes"]) == 2
    after = spcl.read_groups(out)
    assert sorted(after.references.sizes.values()) == [12] * 4
    assert [each.action for each in after.log.corrections] == ["divide"]


def test_groups_that_may_be_one_come_by_probability(tmp_path):
    """Each object is in two groups: the four pairs of one object come first, and answers change what is left."""
    out = write_divided_groups(tmp_path)
    with TestClient(app_of(ReviewSession(out)), base_url="http://127.0.0.1") as client:
        merges = client.get("/api/merges?num=4").json()["merges"]
        assert {(each["first"], each["second"]) for each in merges} == {(0, 1), (2, 3), (4, 5), (6, 7)}
        chances = [each["probability"] for each in merges]
        assert chances == sorted(chances, reverse=True)
        for action, pair in (("merge", merges[0]), ("deny", merges[1])):
            words = [{"group": pair["first"]}, {"group": pair["second"]}]
            assert client.post("/api/corrections", json={"action": action, "words": words}).status_code == 200
        left = client.get("/api/merges?num=200").json()["merges"]
        pairs = {(each["first"], each["second"]) for each in left}
        assert (merges[1]["first"], merges[1]["second"]) not in pairs
        assert merges[0]["second"] not in {number for pair in pairs for number in pair}
        # Seven groups are left: 21 pairs, one of which was kept apart.
        assert len(left) == 20
        for number, name in ((merges[0]["first"], "Ada"), (merges[2]["first"], "Bob")):
            words = [{"group": number}, {"text": name}]
            client.post("/api/corrections", json={"action": "name", "words": words})
        named = tuple(sorted((merges[0]["first"], merges[2]["first"])))
        again = client.get("/api/merges?num=200").json()["merges"]
        assert named in pairs
        assert named not in {(each["first"], each["second"]) for each in again}
