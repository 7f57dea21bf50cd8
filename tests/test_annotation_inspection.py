"""What is shown of a class and of a clip is what was computed."""

import numpy as np
import pandas as pd
import pytest
from spectra_corpus import SR, array_store, coloured_noise, waveform_store

from asdlib.annotation import (
    MachineEvidence,
    average_classes,
    find_exemplars,
    inspect_clip,
    inspect_sound,
)
from asdlib.annotation.frequencies import MAX_HZ
from asdlib.base import InputError
from asdlib.spectra import characteristic_frequencies
from asdlib.spectra.envelope import FALSE_ALARM


def throb(rng, rate_hz, *, seconds=4):
    n = seconds * SR
    t = np.arange(n) / SR
    carrier = coloured_noise(rng, n, 2000, 3000, 0.1)
    return (1 + np.cos(2 * np.pi * rate_hz * t)) * carrier + 0.002 * rng.standard_normal(n)


def test_the_band_is_where_the_sound_throbs(rng):
    seen = inspect_sound(throb(rng, 17.0), sr=SR)
    assert seen.families[0].frequency_hz == pytest.approx(17.0, abs=0.1)
    assert seen.band_hz == seen.families[0].band_hz
    assert min(seen.band_hz[1], 3000) - max(seen.band_hz[0], 2000) > 0
    peak_hz = seen.frequencies_hz[seen.evidence.argmax()]
    assert peak_hz == pytest.approx(17.0, abs=0.3)
    assert seen.evidence.max() > seen.threshold
    assert (seen.evidence_anywhere >= seen.evidence).all()
    assert seen.time_s[-1] == pytest.approx(4.0, abs=0.01)
    assert (seen.envelope >= 0).all()


def test_a_line_is_a_family_from_the_threshold_on(rng):
    """What is shown decides: the families are those of the same bands, lines and threshold."""
    for depth in (0.0, 0.05, 0.1, 0.2, 0.4):
        t = np.arange(4 * SR) / SR
        y = (1 + depth * np.cos(2 * np.pi * 31.0 * t)) * rng.standard_normal(len(t))
        seen = inspect_sound(y, sr=SR)
        assert seen.families == characteristic_frequencies(y, sr=SR, max_hz=MAX_HZ)
        if seen.evidence_anywhere.max() > seen.threshold:
            assert seen.families
        for family in seen.families:
            assert family.significance >= -np.log10(FALSE_ALARM) - 1e-9


def test_silence_has_nothing_to_judge():
    seen = inspect_sound(np.zeros(SR), sr=SR)
    assert (len(seen.evidence), seen.n_bands, seen.families) == (0, 0, [])


def test_without_a_family_the_band_is_the_most_impulsive(rng):
    seen = inspect_sound(rng.standard_normal(2 * SR), sr=SR)
    assert seen.families == []
    best = max(float(level.kurtosis.max()) for level in seen.levels)
    level = next(level for level in seen.levels if level.kurtosis.max() == best)
    centre_hz = (seen.band_hz[0] + seen.band_hz[1]) / 2
    assert centre_hz == pytest.approx(level.centres_hz[level.kurtosis.argmax()])
    with pytest.raises(InputError, match="NaN"):
        inspect_sound(np.full(SR, np.nan), sr=SR)


def test_a_clip_is_inspected_in_the_machines_bands(tmp_path, rng):
    samples = np.round(32768 * throb(rng, 11.0)).astype(np.int16)
    store = waveform_store(tmp_path, ["m/train/0.wav"], [samples])
    seen = inspect_clip("m/train/0.wav", store, bands_hz=[(2000.0, 3000.0)])
    assert seen.band_hz == (2000.0, 3000.0)
    assert seen.families[0].frequency_hz == pytest.approx(11.0, abs=0.1)


def test_exemplars_and_averages_of_classes(tmp_path):
    ids = [f"m/train/{i}.wav" for i in range(7)]
    points = np.array([[0.0], [1.0], [2.2], [10.0], [11.0], [12.1], [50.0]])
    details = MachineEvidence("m", "00", ids, points, None, None, None)
    labels = pd.DataFrame({"clip_id": ids[::-1], "attribute": list("cbbbaaa")})
    assert find_exemplars(details, labels, n_classes=2) == {"a": ids[1], "b": ids[4]}
    levels = np.repeat(np.arange(7, dtype=np.float16), 3 * 2).reshape(7, 3, 2)
    log_mel = array_store(tmp_path, ids, levels)
    averages = average_classes(details, labels, log_mel)
    assert averages.index.tolist() == [("a", 3), ("b", 3), ("c", 1)]
    assert averages.to_numpy().tolist() == [[1.0] * 3, [4.0] * 3, [6.0] * 3]
