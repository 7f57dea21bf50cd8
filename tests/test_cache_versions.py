"""The output of every kind of cache, on a small fixed sound, against what its version gave.

A fingerprint is a few dozen of the values with their mean and spread, compared with tolerances
that processors stay within. After a version was raised on purpose,
``PYTHONPATH=. python tests/test_cache_versions.py`` writes the new fingerprints.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from corpus import write_wav
from training_task import autoencoder_settings, run, tone_task

from asdlib import scoring, spectra, training
from asdlib.annotation.frequencies import track_frequencies
from asdlib.base import InputError
from asdlib.data import cache, map_clips, open_waveforms, read_clips

GOLDEN = Path(__file__).parent / "golden" / "cache_versions.json"
N_VALUES, N_MOMENTS = 40, 3
#: Shares of the spread by which single values and means may differ: float16 rounds, and what is
#: trained multiplies the rounding of many steps.
TOLERANCES, TRAINED_TOLERANCES = (5e-3, 1e-4), (3e-2, 1e-2)
TRAINED = ("checkpoint", "embeddings", "residuals")
SR, SECONDS = 16000, 1.5
NAMES = [f"fan/train/section_00_source_train_normal_{i:04d}_noAttribute.wav" for i in range(6)]


def sound(number):
    """Impacts that ring at 3 kHz, tones and coloured noise; integer arithmetic has no doubt."""
    rng = np.random.default_rng(number)
    t = np.arange(int(SR * SECONDS)) / SR
    rate_hz = 23.0 + 8 * (number % 2)
    impacts = np.exp(-60 * (t % (1 / rate_hz))) * np.sin(2 * np.pi * 3000 * t)
    tones = sum(np.sin(2 * np.pi * k * 187.0 * t) / k for k in (1, 2, 3))
    noise = np.cumsum(rng.integers(-9, 10, len(t)) - 0.02 * number) % 40
    return np.round(6000 * impacts + 1500 * tones + 40 * noise).astype(np.int16)


def make_outputs(folder):
    """Give the output of every kind, computed through the openers that keep it."""
    torch.set_num_threads(1)
    for number, name in enumerate(NAMES):
        write_wav(folder / "data" / name, sound(number))
    clips = read_clips(folder / "data")
    options = {"cache_dir": folder / "cache", "workers": 1}
    waveforms = open_waveforms(clips, **options)
    settings = spectra.LogMelSettings()
    features = spectra.open_log_mel(
        waveforms, clips, settings=settings, highpass_hz={"fan": 900.0}, duration_s=2.0, **options
    )
    frames = spectra.open_frames(
        waveforms, clips, settings=spectra.OFFICIAL_LOG_MEL, min_frames=5, **options
    )
    stores = {
        "waveforms": waveforms,
        "log_mel": features,
        "frames": frames,
        "spectrum": spectra.open_spectrum(waveforms, features, pool_bins=8, **options),
        "average_spectra": spectra.open_average_spectra(waveforms, clips, **options),
    }
    for kind in spectra.PROFILES:
        stores[f"profile_{kind}"] = spectra.open_profiles(waveforms, clips, kind=kind, **options)
    plan = spectra.plan_rehearsal(clips, scoring.held_out_part(clips), n_clips=1, duration_s=10.0)
    stores["injected"] = spectra.open_rehearsal(waveforms, plan, **options)
    outputs = {kind: store.flat for kind, store in stores.items()}
    for kind in ("log_mel", "spectrum"):  # what a high-pass took away would outweigh the rest
        outputs[kind] = np.maximum(outputs[kind], -120)
    families = track_frequencies(clips["clip_id"].tolist(), waveforms, sr=SR, seed=0, **options)
    strongest = families.families[families.families["rank"] <= 2]
    outputs["families"] = strongest[["frequency_hz", "significance"]].to_numpy()
    model = run(folder / "checkpoints")
    outputs["checkpoint"] = model.history[["loss"]].to_numpy()
    tones, _ = tone_task(30)
    described = training.embed(model, tones, np.arange(8), device="cpu")
    outputs["embeddings"] = described.ravel()
    residuals = training.open_reconstructions(
        frames, clips, autoencoder_settings(epochs=2, batch_size=16),
        folder=folder, cache_dir=folder, device="cpu", workers=1,
    )["fan"]  # fmt: skip
    outputs["residuals"] = np.concatenate(
        [np.asarray(residuals[name], np.float64).ravel() for name in ("mse", "mean_residual")]
    )
    rows = stores["profile_spectrum"].fixed()
    reason = spectra.find_reason(
        "spectrum", row=rows[0], normal_rows=rows[1:], samples=sound(0), sample_rate=SR
    )
    outputs["reasons"] = np.append(reason.picture.clip, reason.band_hz)
    points = np.random.default_rng(0).standard_normal((8, 3))
    outputs["maps"] = scoring.embedding_map(points)
    return outputs


def fingerprint(output):
    """Number of values, three means, and values evenly spread over the output."""
    values = np.asarray(output, np.float64).ravel()
    chosen = values[np.linspace(0, len(values) - 1, min(N_VALUES, len(values))).astype(int)]
    means = [values.std(), values.mean(), np.mean(values * np.cos(np.arange(len(values))))]
    return [len(values), *(float(f"{value:.8g}") for value in [*means, *chosen])]


def is_same(kind, found, kept):
    value, mean = TRAINED_TOLERANCES if kind in TRAINED else TOLERANCES
    if found[0] != kept[0]:
        return False
    difference = np.abs(np.subtract(found[1:], kept[1:])) / kept[1]
    return bool((difference[:N_MOMENTS] < mean).all() and (difference[N_MOMENTS:] < value).all())


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    before = torch.get_num_threads()
    yield make_outputs(tmp_path_factory.mktemp("versions"))
    torch.set_num_threads(before)


@pytest.mark.parametrize("kind", cache.VERSIONS)
def test_the_output_of_a_version_stays(kind, outputs):
    version, kept = json.loads(GOLDEN.read_text())[kind]
    assert version == cache.VERSIONS[kind], f"{kind} has a new version: see how to keep it above"
    is_kept = is_same(kind, fingerprint(outputs[kind]), kept)
    assert is_kept, f"the output of {kind} changed: raise its version in asdlib/data/cache.py"


def test_a_changed_output_is_noticed(outputs):
    """Half a decibel in a quarter of one clip's bands is no rounding."""
    changed = outputs["log_mel"].astype(np.float64)
    kept = fingerprint(changed)
    changed[:32] += 0.5
    assert not is_same("log_mel", fingerprint(changed), kept)


def test_flipped_bits_in_kept_arrays_are_refused_or_change_nothing(tmp_path, rng):
    """As for embeddings and residuals, whose files have the checksums of zip."""
    path = tmp_path / "kept.npz"
    names = np.array(["a", "ä"])
    kept = cache.cached(
        path, lambda: {"clip_id": names, "x": rng.random((2, 9))}, kind="embeddings", settings={}
    )
    whole, refused = path.read_bytes(), 0
    for place in rng.integers(len(whole), size=400):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            found = cache.read_arrays(path)
        except InputError:
            refused += 1
        else:
            assert found.keys() == kept.keys()
            assert all(np.array_equal(found[name], kept[name]) for name in kept)
    assert refused > 200


def test_another_version_is_another_store(tmp_path, monkeypatch):
    clips = pd.DataFrame({"clip_id": NAMES})
    for name in NAMES:
        write_wav(tmp_path / "data" / name, sound(0)[:500])
    waveforms = open_waveforms(read_clips(tmp_path / "data"), cache_dir=tmp_path)

    def opened():
        def level(index, samples, out):
            out[:] = np.abs(samples.astype(int)).max() + index

        return map_clips(
            waveforms, clips["clip_id"].tolist(), lambda: level, kind="frames", settings={},
            lengths=1, cache_dir=tmp_path, workers=2,
        )  # fmt: skip

    first = opened()
    assert np.diff(first.flat).tolist() == [1] * 5
    assert opened().directory == first.directory
    monkeypatch.setitem(cache.VERSIONS, "frames", 99)
    assert opened().directory != first.directory


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        made = make_outputs(Path(temporary))
    lines = [
        f"{json.dumps(kind)}: {json.dumps([version, fingerprint(made[kind])])}"
        for kind, version in cache.VERSIONS.items()
    ]
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    sys.stdout.write(f"{GOLDEN}\n")
