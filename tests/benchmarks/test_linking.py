import json
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("motmetrics")

from linking_footage import World, travel_seconds, visits_of

import linking


def test_association_accuracy_by_hand():
    truth = np.array([0, 0, 0, 0, 1, 1])
    assert linking.association_accuracy(truth, truth) == 1
    # Object 0 is cut into 3 + 1 boxes; the one box is with object 1.
    given = np.array([7, 7, 7, 8, 8, 8])
    assert linking.association_accuracy(truth, given) == pytest.approx((3 * 3 / 4 + 1 * 1 / 6 + 2 * 2 / 3) / 6)


def test_the_truth_is_perfect_and_lone_tracks_are_not():
    world = World(people=5, cameras=3, visits=2)
    visits = visits_of(world)
    perfect = linking.figures({(v.camera, v.track): v.person for v in visits}, visits, world)
    assert perfect == {"IDF1": 100, "AssA": 100, "identities": 5}
    alone = linking.figures({(v.camera, v.track): row for row, v in enumerate(visits)}, visits, world)
    assert alone["IDF1"] < 80 and alone["identities"] == len(visits) >= 10


def test_no_pedestrian_is_in_two_places_and_walks_take_their_time():
    world = World(people=8, cameras=3, visits=3, seed=4)
    travel, visits = travel_seconds(world), visits_of(world)
    for person in range(world.people):
        walk = sorted((v for v in visits if v.person == person), key=lambda v: v.frames.start)
        for one, other in pairwise(walk):
            gap = (other.frames.start - one.frames.stop) / world.fps
            assert gap > 0
            if one.camera != other.camera:
                assert gap > 0.7 * travel[one.camera, other.camera]
    assert all(len({v.track for v in visits if v.camera == c}) == sum(v.camera == c for v in visits) for c in range(3))


@pytest.mark.slow
def test_every_way_is_measured(capsys):
    pytest.importorskip("av")
    linking.main(["--people", "4", "--cameras", "2", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert set(found) >= {"spcl link", "spcl link --travel", "plain threshold, best by the truth"}
