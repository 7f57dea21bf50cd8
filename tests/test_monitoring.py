"""Alarms, the log of verdicts, and a rehearsed fault that grows."""

import json

import numpy as np
import pandas as pd
import pytest

from asdlib import monitoring
from asdlib.errors import InputError
from asdlib.monitoring.log import LOG_COLUMNS, append_verdicts


@pytest.mark.parametrize(("k", "n"), [(1, 1), (2, 3), (3, 5), (4, 10)])
def test_chance_raises_alarms_as_often_as_the_formula_says(rng, k, n):
    flags = rng.random(400_000) < 0.2
    alarm = monitoring.persistent_alarms(flags, k=k, n=n)
    begins = np.sum(np.diff(alarm.astype(int)) > 0)
    expected = monitoring.alarm_rate(0.2, k=k, n=n) * len(flags)
    assert begins == pytest.approx(expected, abs=5 * np.sqrt(expected))


def test_k_keeps_to_the_alarms_that_are_borne():
    for per_day in (1, 4, 24):
        k = monitoring.choose_k(0.1, n=12, per_day=per_day, alarms_a_year=1.0)
        a_year = 365.25 * per_day
        assert monitoring.alarm_rate(0.1, k=k, n=12) * a_year <= 1.0
        assert monitoring.alarm_rate(0.1, k=k - 1, n=12) * a_year > 1.0
    with pytest.raises(InputError, match="alarm_window"):
        monitoring.choose_k(0.5, n=2, per_day=24)
    with pytest.raises(InputError, match="1 <= k <= n"):
        monitoring.persistent_alarms([True], k=2, n=1)


def verdicts(flags, machine="fan"):
    numbers = range(len(flags))
    table = pd.DataFrame(
        {
            "recording": [f"{number}.wav" for number in numbers],
            "clip_id": [f"{machine}/test/{number}.wav" for number in numbers],
            "machine_type": machine,
            "recorded_at": [f"2026-05-{number + 1:02d}T07:00:00" for number in numbers],
            "content": [f"{machine} {number}" for number in numbers],
            "verdict": ["anomalous" if flag else "normal" for flag in flags],
            "start_s": 0.0, "anomaly_score": 1.25, "threshold": 1.0, "percentile": 99.0,
            "heard": "lines", "reason": "a tone = 100 Hz, \u201cloud\u201d", "path": "",
            "version": "v001", "checked_at": "2026-06-01T00:00:00+00:00",
        }
    )  # fmt: skip
    return table[LOG_COLUMNS]


def test_the_log_gives_back_what_it_was_given(tmp_path):
    path = tmp_path / "log.jsonl"
    first, second = verdicts([True, False]), verdicts([False], machine="axle")
    append_verdicts(path, first)
    append_verdicts(path, second)
    append_verdicts(path, first.assign(verdict="normal"))  # checked again: the last one counts
    log, damaged = monitoring.read_log(path)
    assert damaged == []
    expected = pd.concat([second, first.assign(verdict="normal")], ignore_index=True)
    pd.testing.assert_frame_equal(log, expected, check_dtype=False)
    assert monitoring.read_log(tmp_path / "none.jsonl")[0].empty


def test_a_line_that_a_crash_left_unfinished_costs_that_line_alone(tmp_path):
    path = tmp_path / "log.jsonl"
    append_verdicts(path, verdicts([True, False]))
    whole = path.read_bytes()
    for cut in (1, 30, len(whole) // 2 - 5):
        path.write_bytes(whole[:-cut])
        append_verdicts(path, verdicts([True], machine="axle"))
        log, damaged = monitoring.read_log(path)
        assert log["machine_type"].tolist()[0] == "axle"
        lost = 0 if cut == 1 else 1
        assert (len(log), len(damaged)) == (3 - lost, lost)
        json.loads(path.read_text().splitlines()[-1])


def test_an_alarm_persists_from_the_recording_that_completes_it():
    flags = [False, True, False, True, True, True, False, False, False, False]
    log = verdicts(flags)
    history = monitoring.trend(log, k=3, n=4)
    assert history["is_persistent"].tolist() == [False] * 4 + [True] * 3 + [False] * 3
    assert history["since"].dropna().unique().tolist() == ["2026-05-05T07:00:00"]
    # A long recording is anomalous when one of its windows is.
    windows = verdicts([True, False]).assign(recording="long.wav", content="x", start_s=[0.0, 10.0])
    history = monitoring.trend(windows, k=1, n=1)
    assert history["is_anomalous"].tolist() == [True]


def test_settings_trade_alarms_for_certainty():
    percentile = [50, 96, 50, 50, 96, 96, 96, 96, 50]
    table = monitoring.alarms_by_settings(percentile, rates=(0.01, 0.05), rules=((1, 1), (3, 3)))
    assert table.to_numpy().tolist() == [[0, 0], [2, 1]]
    assert table.index.tolist() == ["1% promised", "5% promised"]


def test_days_count_from_the_onset():
    flags = np.zeros(20, bool)
    flags[[2, 3, 12, 15, 16, 17]] = True
    growth = pd.DataFrame({"day": np.arange(1, 21), "is_anomalous": flags})
    found = monitoring.days_to_alarm(growth, onset_day=11, k=2, n=2)
    assert found == {"first_flag": 2.0, "alarm": 6.0, "false_alarms": 1.0}
    calm = growth.assign(is_anomalous=False)
    assert np.isnan(monitoring.days_to_alarm(calm, onset_day=11, k=2, n=2)["alarm"])
