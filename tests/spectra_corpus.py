"""Small corpora of synthetic clips, held in a waveform store, for the tests of spectra."""

import hashlib

import numpy as np
import pandas as pd

from asdlib.data.store import open_or_build
from asdlib.spectra import open_average_spectra

SR = 16000


def coloured_noise(rng, n_samples, low_hz, high_hz, rms):
    """Gaussian noise in a band, of given root mean square (full scale 1)."""
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    frequencies = np.fft.rfftfreq(n_samples, 1 / SR)
    spectrum[(frequencies < low_hz) | (frequencies >= high_hz)] = 0
    noise = np.fft.irfft(spectrum, n_samples)
    return noise * rms / np.sqrt(np.mean(noise**2))


def clip_row(machine, index, *, split="train", attribute=None, kind=None, domain="source"):
    return {
        "clip_id": f"{machine}/{split}/{index:04d}.wav",
        "machine_type": machine,
        "split": split,
        "domain": domain,
        "attribute": attribute,
        "supplemental_kind": kind,
    }


def stored(folder, rows, signals):
    """Clip table and average spectra of float signals."""
    clips = pd.DataFrame(rows).astype(
        {"attribute": "string", "supplemental_kind": "string", "domain": "string"}
    )
    whole = [np.clip(np.round(32768 * s), -32768, 32767).astype(np.int16) for s in signals]
    waveforms = waveform_store(folder, clips["clip_id"].tolist(), whole)
    return clips, open_average_spectra(waveforms, clips, cache_dir=folder, workers=1)


def waveform_store(folder, ids, rows, *, sample_rate=SR):
    """Waveform store of int16 rows."""
    return array_store(folder / "waveforms", ids, rows, sample_rate=sample_rate)


def array_store(folder, ids, rows, **settings):
    """Store of rows of any length, each of samples or of frames."""
    starts = np.cumsum([0, *map(len, rows)])
    flat = np.concatenate(rows)

    def fill(first, last, out):
        out[:] = flat[starts[first] : starts[last]]

    return open_or_build(
        folder,
        settings={**settings, "content": hashlib.sha256(flat).hexdigest()},
        ids=ids,
        lengths=np.diff(starts),
        row_shape=flat.shape[1:],
        dtype=flat.dtype,
        fill=fill,
        block_rows=50,
        workers=1,
    )
