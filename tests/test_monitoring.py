"""Alarms, the log of verdicts, and a rehearsed fault that grows."""

import json

import numpy as np
import pandas as pd
import pytest

from asdlib import monitoring, spectra
from asdlib.base import InputError
from asdlib.data import open_waveforms, read_clips
from asdlib.monitoring.bundle import LOG_COLUMNS, append_verdicts
from asdlib.spectra.injection import INJECTIONS
from asdlib.workbook import check as workbook_check


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
    assert table.index.tolist() == ["1 % promised", "5 % promised"]


def test_days_count_from_the_onset():
    flags = np.zeros(20, bool)
    flags[[2, 3, 12, 15, 16, 17]] = True
    growth = pd.DataFrame({"day": np.arange(1, 21), "is_anomalous": flags})
    found = monitoring.days_to_alarm(growth, onset_day=11, k=2, n=2)
    assert found == {"first_flag": 2.0, "alarm": 6.0, "false_alarms": 1.0, "rang_before": 0.0}
    calm = growth.assign(is_anomalous=False)
    assert np.isnan(monitoring.days_to_alarm(calm, onset_day=11, k=2, n=2)["alarm"])
    # An alarm that lasts already is no answer to the fault; the next that begins is.
    growth.loc[8:10, "is_anomalous"] = True
    found = monitoring.days_to_alarm(growth, onset_day=11, k=2, n=2)
    assert found == {"first_flag": 0.0, "alarm": 6.0, "false_alarms": 2.0, "rang_before": 1.0}


@pytest.fixture(scope="module")
def listening(simulated_smoke, tmp_path_factory):
    """A detector of one simulated machine that hears by three views, and its waveforms."""
    cache = tmp_path_factory.mktemp("cache")
    clips = read_clips(simulated_smoke, machines=["fanSim"])
    bank = clips[clips["split"].eq("train")].reset_index(drop=True).assign(is_learnt=False)
    waveforms = open_waveforms(bank, cache_dir=cache)
    views = ("spectrum", "lines", "envelope")
    stores = {view: spectra.open_profiles(waveforms, bank, kind=view, cache_dir=cache)
              for view in views}  # fmt: skip
    settings = {"views": list(views), "neighbours": 2, "false_alarm_rate": 0.1}
    rows = {view: np.asarray(store.fixed()) for view, store in stores.items()}
    return monitoring.Detector(settings, bank, rows, {}, None), waveforms, cache


def rehearsed(listening, kind):
    """Thirty days of two recordings each, the fault from day 11 on."""
    detector, waveforms, cache = listening
    plan = monitoring.plan_growth(detector, "fanSim", kind=kind, days=30, onset_day=11, per_day=2)
    return plan, *monitoring.rehearse_growth(detector, waveforms, plan, cache_dir=cache)


def test_a_growing_fault_raises_an_alarm_at_one_false_alarm_a_year(listening):
    assert monitoring.machine_to_rehearse(listening[0]) == "fanSim"
    _, growth, _ = rehearsed(listening, "impacts")
    k = monitoring.choose_k(0.1, n=10, per_day=2, alarms_a_year=1.0)
    found = monitoring.days_to_alarm(growth, onset_day=11, k=k, n=10)
    assert found["false_alarms"] == 0
    assert 0 < found["first_flag"] <= found["alarm"] < 20


def test_the_change_grows_as_planned(listening):
    plan, growth, level_db = rehearsed(listening, "level")
    assert plan["strength"].isna().sum() == growth["strength"].isna().sum() == 20
    before = plan["made_from"].tolist().index(plan["made_from"].iloc[-1])
    louder_db = np.median(level_db[-1] - level_db[before])
    assert louder_db == pytest.approx(plan["strength"].iloc[-1], abs=0.1)
    assert plan["strength"].iloc[-1] == max(INJECTIONS["level"].strengths)


def test_too_few_clips_rehearse_nothing(listening):
    detector, _, _ = listening
    few = detector.without(detector.clips["clip_id"].tolist()[5:])
    assert monitoring.machine_to_rehearse(few) == ""
    with pytest.raises(InputError, match="six are needed"):
        monitoring.plan_growth(few, "fanSim", kind="level", days=3, onset_day=1, per_day=1)
    with pytest.raises(InputError, match="onset_day=9"):
        monitoring.plan_growth(detector, "fanSim", kind="level", days=3, onset_day=9, per_day=1)


def test_watching_hears_every_new_file_once_it_has_stopped_growing(tmp_path, monkeypatch, capfd):
    heard, polls = [], iter(range(6))
    (tmp_path / "old.wav").write_bytes(b"x")
    (tmp_path / "early.wav").write_bytes(b"x")  # came while the first ones were heard

    def wait(_):
        """Let a recording grow, and another file appear that cannot be used."""
        poll = next(polls, None)
        if poll is None:
            raise KeyboardInterrupt
        if poll < 3:
            with (tmp_path / "new.wav").open("ab") as file:
                file.write(b"xx")
        if poll == 3:
            (tmp_path / "bad.wav").write_bytes(b"x")

    def check(_, paths):
        heard.extend(path.name for path in paths)
        if paths[-1].name == "bad.wav":
            raise InputError("bad.wav: is no recording.")

    monkeypatch.setattr(workbook_check.time, "sleep", wait)
    monkeypatch.setattr(workbook_check.Checker, "check", check)
    checker = object.__new__(workbook_check.Checker)
    with pytest.raises(KeyboardInterrupt):
        checker.watch([tmp_path], known=[tmp_path / "old.wav"])
    assert heard == ["early.wav", "new.wav", "bad.wav"]
    assert "passed over: bad.wav: is no recording." in capfd.readouterr().err
