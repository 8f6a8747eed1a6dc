import math

import numpy as np
import pytest

from spcl.linking.travel_times import TravelLimits, read_travel_times
from tests.input_errors import input_error


def read(folder, *lines, header="camera_a,camera_b,min_seconds,max_seconds"):
    (folder / "t.csv").write_text("\n".join([header, *lines]))
    return read_travel_times(folder / "t.csv")


def test_a_row_holds_for_both_directions_unless_the_other_is_given(tmp_path):
    times = read(tmp_path, "gate, yard, 10, 60", "yard,door,,30", "door,yard,5,")
    assert times.limits == {
        ("gate", "yard"): (10, 60),
        ("yard", "gate"): (10, 60),
        ("yard", "door"): (-math.inf, 30),
        ("door", "yard"): (5, math.inf),
    }
    least, most = times.matrices(["yard", "gate", "yard", None])
    assert least[1].tolist() == [10, -math.inf, 10, -math.inf] and most[0, 1] == 60 and most[3, 0] == math.inf
    assert times.unknown_cameras(["gate", "yard"]) == ["door"]


@pytest.mark.parametrize(
    ("lines", "code", "value"),
    [
        ([], "empty-table", "t.csv"),
        (["gate,,1,2"], "malformed-table", "line 2"),
        (["gate,yard,soon,2"], "malformed-table", "'soon'"),
        (["gate,yard,nan,2"], "malformed-table", "'nan'"),
        (["gate,yard,9,2"], "setting-out-of-range", "9"),
        (["gate,yard,1,2", "gate,yard,1,3"], "value-given-twice", "line 3"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, lines, code, value):
    with input_error(code, value):
        read(tmp_path, *lines)


def test_missing_columns_and_files(tmp_path):
    with input_error("no-such-column", "min_seconds"):
        read(tmp_path, "a,b", header="camera_a,camera_b")
    with input_error("no-such-file", "gone.csv"):
        read_travel_times(tmp_path / "gone.csv")


def test_limits_by_hand():
    """Tracks of cameras a, b, a, c; a to b takes 10 to 60 seconds, b to a 10 to 60."""
    starts, ends = np.array([0.0, 25, 200, np.nan]), np.array([20.0, 40, 210, np.nan])
    least, most = np.full((4, 4), -np.inf), np.full((4, 4), np.inf)
    for one, other in ((0, 1), (1, 0), (1, 2), (2, 1)):
        least[one, other], most[one, other] = 10, 60
    limits = TravelLimits(starts, ends, least, most)
    # From the end of 0 to the begin of 1 are 5 seconds.
    assert np.argwhere(limits.too_fast()).tolist() == [[0, 1], [1, 0]]
    # From 1 to 2 are 160 seconds, which is too long, unless another track lies between.
    assert not limits.fits([1], [2])
    assert limits.fits([0], [2]) and limits.fits([0], [3]) and limits.fits([2], [0])
    slower = TravelLimits(np.array([0.0, 35, 90]), np.array([20.0, 40, 110]), least[:3, :3], most[:3, :3])
    assert not slower.too_fast().any() and slower.fits([0, 1], [2])


def test_tables_of_spreadsheets_are_read_and_an_open_quote_is_named(tmp_path):
    (tmp_path / "t.csv").write_bytes("\ufeffcamera_a;camera_b;min_seconds;max_seconds\r\ngate;yard;5;9\r\n".encode())
    assert read_travel_times(tmp_path / "t.csv").limits["gate", "yard"] == (5, 9)
    (tmp_path / "t.csv").write_bytes(b"camera_a\r,camera_b,min_seconds\r\r\ngate,yard,5")
    with input_error("malformed-table", "line 2"):
        read_travel_times(tmp_path / "t.csv")
    with input_error("malformed-table", "line 2"):
        read(tmp_path, '"gate,yard,1,2')
