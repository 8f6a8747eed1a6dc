import json

import track_fusion


def test_each_way_is_measured_and_wrong_images_cost_the_mean_most(capsys):
    track_fusion.main(
        [
            "--identities",
            "8",
            "--cameras",
            "2",
            "--images",
            "4",
            "--height",
            "32",
            "--width",
            "16",
            "--seeds",
            "2",
            "--json",
        ]
    )
    found = json.loads(capsys.readouterr().out)
    assert found["tracks"]["number"] == 16
    assert set(found["4 images, 0 wrong"]) == set(track_fusion.WAYS)
    assert all(0 < value <= 100 for value in found["4 images, 1 wrong"].values())
