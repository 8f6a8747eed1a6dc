"""Times are read in the forms that are promised; everything else is an error."""

from __future__ import annotations

from datetime import date, datetime

import numpy as np
import pandas as pd
import pytest

from spcl.data.time_parsing import as_time, times_of
from tests.input_errors import input_error


def times(values, form=""):
    return times_of(values, lambda row: f"line {row + 2}", form)


NOON = datetime(2026, 3, 1, 12)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-03-01", datetime(2026, 3, 1)),
        (" 2026-03-01 12:00 ", NOON),
        ("2026-03-01T12:00:00", NOON),
        ("2026-03-01T12:00:00.25Z", NOON.replace(microsecond=250_000)),
        ("2026-03-01 12:00:00,123456789", NOON.replace(microsecond=123_456)),
        ("2026-03-01T13:30:00+01:30", NOON),
        ("2026-03-01 07:00:00-0500", NOON),
        ("2026-03-01 13:00+01", NOON),
        ("2026-03-01 12:00 UTC", NOON),
        ("20260301T120000Z", NOON),
        ("2026:03:01 12:00:00", NOON),
        ("2026:03:01 13:00:00.500+01:00", NOON.replace(microsecond=500_000)),
        ("2026:03:01", datetime(2026, 3, 1)),
        (NOON, NOON),
        (date(2026, 3, 1), datetime(2026, 3, 1)),
        (np.datetime64("2026-03-01T12:00:00.000000001"), NOON),
        (np.datetime64("2026-03-01"), datetime(2026, 3, 1)),
        (pd.Timestamp("2026-03-01 13:00:00.000000001", tz="Europe/Berlin"), NOON),
        *((unknown, None) for unknown in (None, "", " ", "n/a", "NaT", "-", pd.NaT, pd.NA, np.datetime64("NaT"))),
        ("0000:00:00 00:00:00", None),
        ("    :  :     :  :  ", None),
    ],
)
def test_a_time(value, expected):
    assert as_time(value) == expected
    assert times([value]) == [expected]


@pytest.mark.parametrize(
    "value",
    [
        "01.03.2026",
        "13.03.2026",
        "3/1/2026",
        "2026/03/01",
        "2026-3-1",
        "2026-13-01",
        "2026-02-30",
        "2026-03-01 25:00",
        "2026-03",
        "March",
        "March 2026",
        "now",
        "today",
        "12:00",
        "2026-W10-1",
        "20260301",
        20260301,
        20260301120000,
        0,
        1.5,
        "1767225600x",
        True,
    ],
)
def test_what_is_no_time_is_named_with_its_place_and_the_flag(value):
    with pytest.raises(ValueError):
        as_time(value)
    with input_error("not-a-time", "in line 3", "ISO 8601", "--time-format '%d") as error:
        times([None, value])
    assert str(value) in str(error.value)


def test_unix_times_where_the_whole_column_is_numeric():
    moment = 1_772_366_400
    assert times([moment, None, str(moment), "n/a"]) == [NOON, None, NOON, None]
    assert times([np.int64(moment), float(moment) + 0.5]) == [NOON, NOON.replace(microsecond=500_000)]
    assert times([moment * 1000, str(moment * 1000 + 1)]) == [NOON, NOON.replace(microsecond=1000)]
    for column, wrong in ([moment, "2026-03-01"], 0), ([moment, moment * 1000], 1), ([moment * 1000, 7], 1):
        with input_error("not-a-time", f"{column[wrong]!r} in line {wrong + 2}"):
            times(column)
    with input_error("not-a-time", "in line 2", "'2026-03-01' in line 3"):
        times([moment, "2026-03-01"])


def test_a_form_of_the_users_own():
    assert times(["01.03.2026 12:00", "", "13.03.2026 00:00"], "%d.%m.%Y %H:%M")[::2] == [NOON, datetime(2026, 3, 13)]
    assert times([20260301, "20260301"], "%Y%m%d") == [datetime(2026, 3, 1)] * 2
    assert times(["01.03.2026 13:00 +0100", NOON], "%d.%m.%Y %H:%M %z") == [NOON, NOON]
    with input_error("not-a-time", "'2026-03-01' in line 3", "'%d.%m.%Y'"):
        times(["01.03.2026", "2026-03-01"], "%d.%m.%Y")


def test_times_with_and_without_a_zone_in_one_column_are_named():
    with input_error("mixed-time-zones", "'2026-03-01 12:00' in line 3", "'2026-03-01T12:00:00+01:00' in line 2"):
        times(["2026-03-01T12:00:00+01:00", "2026-03-01 12:00"])
    with input_error("mixed-time-zones", "in line 2", "in line 4"):
        times(["20260301T120000", None, "2026:03:01 12:00:00Z"])
    assert times(["2026-03-01T12:00:00Z", "2026-03-01", "n/a"]) == [NOON, datetime(2026, 3, 1), None]


def test_numbers_of_the_users_own_form_that_pandas_wrote_with_decimals():
    assert times([20260301.0, "20260301.0", None], "%Y%m%d") == [datetime(2026, 3, 1)] * 2 + [None]
    assert times(["20260301120000.0"], "%Y%m%d%H%M%S.%f") == [NOON]
