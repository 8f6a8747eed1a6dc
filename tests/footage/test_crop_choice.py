import numpy as np
from PIL import Image, ImageFilter

from spcl.footage.crop_choice import (
    EMPTY,
    OUTSIDE,
    SMALL,
    UNSURE,
    BestOfParts,
    ChosenCrop,
    CropChoice,
    clipped_boxes,
    covered_shares,
    parts_of_tracks,
    sharpness,
)
from spcl.footage.frame_times import FrameTimes
from tests.input_errors import input_error


def test_boxes_are_cut_at_the_picture_and_unusable_ones_have_a_reason():
    boxes = np.array(
        [
            [10.4, 5, 20, 30],
            [-5, 0, 10, 10],
            [-6, 0, 10, 10],
            [95, 45, 50, 50],
            [300, 0, 10, 10],
            [5, 5, 0, 10],
            [5, 5, 10, -3],
            [5, 5, 3, 30],
            [5, 5, 20, 20],
        ]
    )
    confidences = np.array([np.nan] * 8 + [0.2])
    choice = CropChoice(min_visible=0.5, min_size=4, min_confidence=0.3)
    found = clipped_boxes(boxes, confidences, (100, 50), choice)
    assert found.reasons.tolist() == ["", "", OUTSIDE, OUTSIDE, OUTSIDE, EMPTY, EMPTY, SMALL, UNSURE]
    assert found.edges[:2].tolist() == [[10, 5, 30, 35], [0, 0, 5, 10]]
    np.testing.assert_allclose(found.visible[:4], [1, 0.5, 0.4, 0.01])
    assert (found.edges >= 0).all() and (found.edges <= [100, 50, 100, 50]).all()


def test_covered_share_by_hand():
    edges = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [0, 0, 10, 4], [40, 0, 50, 10], [3, 3, 3, 8]])
    np.testing.assert_allclose(covered_shares(edges), [0.5, 0.5, 1.0, 0, 0])
    assert covered_shares(edges[:1]).tolist() == [0]
    assert covered_shares(edges[:0]).tolist() == []


def test_blur_and_smallness_lower_the_sharpness():
    rng = np.random.default_rng(0)
    blocks = Image.fromarray(rng.integers(0, 255, (32, 16, 3), dtype=np.uint8)).resize((64, 128), Image.Resampling.BOX)
    blurred = blocks.filter(ImageFilter.GaussianBlur(2))
    small = blocks.resize((16, 32), Image.Resampling.BOX)
    values = [sharpness(np.asarray(image)) for image in (blocks, small, blurred)]
    assert values[0] > values[1] > 0 and values[0] > 5 * values[2]
    assert sharpness(np.full((40, 2, 3), 9, dtype=np.uint8)) == 0


def test_parts_have_equal_lengths_and_unusable_boxes_none():
    tracks = ["a"] * 7 + ["b"] * 2
    usable = np.array([True, True, False, True, True, True, True, True, True])
    assert parts_of_tracks(tracks, usable, 3).tolist() == [0, 0, -1, 1, 1, 2, 2, 0, 1]
    assert parts_of_tracks(tracks, usable, 0).tolist() == [0, 1, -1, 2, 3, 4, 5, 0, 1]
    assert parts_of_tracks([], usable[:0], 3).tolist() == []


def test_the_best_of_each_part_is_given_when_the_part_ends():
    best = BestOfParts()
    crop = lambda row, quality: ChosenCrop(row, np.zeros((2, 2, 3), np.uint8), quality, row, None)  # noqa: E731
    ended = [
        best.take(track, part, crop(row, quality))
        for row, (track, part, quality) in enumerate(
            [("a", 0, 1.0), ("b", 0, 5.0), ("a", 0, 3.0), ("a", 0, 2.0), ("a", 1, 0.1), ("b", 0, 4.0)]
        )
    ]
    assert [None if one is None else one.row for one in ended] == [None, None, None, None, 2, None]
    assert [one.row for one in best.rest()] == [4, 1]


def test_values_out_of_range():
    for wrong in ({"best": -1}, {"min_visible": 0}, {"min_visible": 1.1}, {"min_size": 1}):
        with input_error("setting-out-of-range", next(iter(wrong))):
            CropChoice(**wrong)


def test_times_of_frames(tmp_path):
    even, variable, unknown = FrameTimes(), FrameTimes(), FrameTimes()
    for number in range(5):
        even.add(number * 0.033 + 0.0005 * (number % 2))
        variable.add([0, 0.04, 0.08, 0.5, 0.5][number])
        unknown.add(None)
    assert even.notes(tmp_path) == ()
    (rate, backwards) = variable.notes(tmp_path)
    assert "variable frame rate" in rate and "40 to 420 ms" in rate and "1 frame(s)" in backwards
    assert "5 of 5 frames have no time" in unknown.notes(tmp_path)[0]
