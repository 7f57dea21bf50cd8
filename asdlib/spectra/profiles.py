"""Profiles: what a clip sounds like in a few hundred numbers, with nothing learnt.

Two keep level and colour, three are blind to them and keep what a mechanic listens for:

``spectrum``
    Mean and scatter over time of the level in every mel band: colour, loudness, restlessness.
``fluctuation``
    Scatter of the change from frame to frame: crackle, rattle, single events.
``lines``
    Fine structure of the stationary spectrum: tones and their neighbours, the colour removed.
``envelope``
    Fast modulation, 2 to 500 Hz, of five octave bands: impacts, bearings, gears, combustion.
``modulation``
    Slow modulation, 0.3 Hz to half the frame rate, of sixteen groups of mel bands: cycles,
    strokes, wobble.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import fft, ndimage, signal
from typing_extensions import Unpack

from asdlib.base import InputError
from asdlib.data.audio import FULL_SCALE
from asdlib.data.cache import ClipFunction, StoreOptions, map_clips
from asdlib.data.store import ArrayStore
from asdlib.spectra.envelope import Array, Band, band_lines, checked_clip, complex_envelope
from asdlib.spectra.logmel import LogMelSettings, LogMelTransform

Samples = npt.NDArray[Any]
PROFILES = ("spectrum", "fluctuation", "lines", "envelope", "modulation")

N_LINES = 1024
_LINE_SEGMENT = 4096
_COLOUR_LINES = 31
#: Added to every line: a silent clip is flat, but it must have a direction to be compared by.
_FLAT_DB = 1e-3
_TINY = 1e-12
#: Octave bands whose envelopes are analysed [Hz].
ENVELOPE_BANDS_HZ = ((250.0, 500.0), (500.0, 1000.0), (1000.0, 2000.0), (2000.0, 4000.0),
                     (4000.0, 7600.0))  # fmt: skip
_ENVELOPE_RATE_HZ = 2000.0
_ENVELOPE_SEGMENT = 4096
ENVELOPE_EDGES_HZ = np.geomspace(2.0, 500.0, 65, dtype=np.float64)
MEL_GROUPS = 16
_MODULATION_FRAMES = 128
_N_MODULATION = 16
_SLOWEST_HZ = 0.3
_LOWEST_MEL_HZ = 50.0


def spectrum_profile(log_mel: npt.ArrayLike) -> Array:
    """Mean and standard deviation over time of every mel band [dB], shape (2 * n_mels,)."""
    level = np.asarray(log_mel, dtype=np.float64)
    return np.concatenate([level.mean(axis=1), level.std(axis=1)])


def profile_bands_hz(sr: float) -> Array:
    """Centres of the mel bands of `spectrum_profile` in the stores of `open_profiles` [Hz]."""
    return band_centres_hz(profile_settings(sr))


def fluctuation_profile(log_mel: npt.ArrayLike) -> Array:
    """Measure how much every mel band changes from frame to frame: standard deviation [dB]."""
    level = np.asarray(log_mel, dtype=np.float64)
    change = np.diff(level, axis=1)
    return np.asarray(change.std(axis=1)) if change.size else np.zeros(len(level))


def line_profile(y: npt.ArrayLike, *, sr: float) -> Array:
    """Level of the averaged spectrum above its own running median [dB], shape (N_LINES,).

    The colour of machine, room and microphone drops out, tones stand.
    """
    samples = checked_clip(y, sr=sr)
    frequencies_hz, power = _averaged_power(samples, sr=sr, segment=_LINE_SEGMENT)
    wanted_hz = np.arange(N_LINES) * (sr / 2 / N_LINES)
    level = 10 * np.log10(np.interp(wanted_hz, frequencies_hz, power) + _TINY)
    colour = ndimage.median_filter(level, size=_COLOUR_LINES, mode="nearest")
    return np.asarray(level - colour + _FLAT_DB)


def envelope_bands(sr: float) -> list[tuple[Band, Array]]:
    """Bands of an envelope profile, each with the edges of its bins, none beyond its width [Hz]."""
    bands = [band for band in ENVELOPE_BANDS_HZ if band[1] <= sr / 2]
    if not bands:
        raise InputError(f"sr = {sr:g} Hz: no band of {ENVELOPE_BANDS_HZ} lies below sr / 2.")
    edges_hz = np.asarray(ENVELOPE_EDGES_HZ, np.float64)
    return [(band, edges_hz[edges_hz <= band[1] - band[0]]) for band in bands]


def envelope_profile(y: npt.ArrayLike, *, sr: float) -> Array:
    """Spectrum of the envelope over its mean in octave bands [dB re 1/Hz], band after band.

    Pooled to 64 bins by the largest value: lines count. None above the band's width.
    """
    samples = checked_clip(y, sr=sr)
    n_samples = len(samples)
    n_resampled = max(round(n_samples / sr * _ENVELOPE_RATE_HZ), 8)
    spectrum = fft.rfft(samples)
    parts = []
    for band, edges_hz in envelope_bands(sr):
        first, last = band_lines(band, sr=sr, n_samples=n_samples)
        envelope = np.abs(complex_envelope(spectrum, first, last, n_samples=n_samples))
        mean = envelope.mean()
        relative = envelope / mean - 1 if mean > 0 else np.zeros_like(envelope)
        frequencies_hz, power = _averaged_power(
            np.asarray(signal.resample(relative, n_resampled)),
            sr=_ENVELOPE_RATE_HZ, segment=_ENVELOPE_SEGMENT,
        )  # fmt: skip
        parts.append(10 * np.log10(_in_bins(power, frequencies_hz, edges_hz, np.max) + _TINY))
    return np.concatenate(parts)


def modulation_profile(log_mel: npt.ArrayLike, *, frame_rate_hz: float) -> Array:
    """Spectrum of the level over time in 16 groups of mel bands [dB re 1 dB²/Hz], shape (256,)."""
    level = np.asarray(log_mel, dtype=np.float64)
    groups = level.reshape(MEL_GROUPS, -1, level.shape[1]).mean(axis=1)
    frequencies_hz, power = _averaged_power(groups, sr=frame_rate_hz, segment=_MODULATION_FRAMES)
    edges_hz = modulation_edges_hz(frame_rate_hz)
    pooled = [_in_bins(np.asarray(row), frequencies_hz, edges_hz, np.mean) for row in power]
    # The floor lies far below the flutter of noise: constant clips stay finite.
    return np.asarray(10 * np.log10(np.stack(pooled) + 1e-3)).ravel()


def modulation_edges_hz(frame_rate_hz: float) -> Array:
    """Edges of the bins of a modulation profile [Hz], shape (17,)."""
    return np.asarray(np.geomspace(_SLOWEST_HZ, frame_rate_hz / 2, _N_MODULATION + 1))


def band_centres_hz(settings: LogMelSettings) -> npt.NDArray[np.float64]:
    """Frequencies at which the mel filters peak, shape (n_mels,) [Hz]."""
    from librosa import mel_frequencies  # importing it is slow

    edges: npt.NDArray[np.float64] = mel_frequencies(
        settings.n_mels + 2, fmin=settings.fmin, fmax=settings.fmax
    )
    return edges[1:-1]


def profile_settings(sample_rate: float) -> LogMelSettings:
    """Log-mel that profiles are made of: all bands from 50 Hz on, no floor."""
    return LogMelSettings(
        sample_rate=round(sample_rate), fmin=_LOWEST_MEL_HZ, fmax=sample_rate / 2, top_db=None
    )


def open_profiles(
    waveforms: ArrayStore,
    clips: pd.DataFrame,
    *,
    kind: str,
    **options: Unpack[StoreOptions],
) -> ArrayStore:
    """Open the store of one kind of `PROFILES` of these clips; compute what of it is missing.

    Arguments are as for `asdlib.spectra.open_log_mel`; clips have their own length, and there is no
    high-pass: what lies below a cut-off fills few values. Rows (n_values,) of float32 [dB].
    """
    if kind not in PROFILES:
        raise InputError(f"kind={kind!r}: expected one of {', '.join(PROFILES)}.")
    sr = float(waveforms.settings.get("sample_rate", LogMelSettings().sample_rate))

    def make_function() -> ClipFunction:
        profile_of = profile_function(kind, sr=sr)
        return lambda index, samples, out: np.copyto(out, profile_of(samples))

    return map_clips(
        waveforms,
        clips["clip_id"].tolist(),
        make_function,
        kind=f"profile_{kind}",
        settings={},
        lengths=len(profile_function(kind, sr=sr)(np.zeros(round(sr), np.int16))),
        **options,
    )


def profile_function(kind: str, *, sr: float) -> Callable[[Samples], Array]:
    """Profile of int16 samples."""
    if kind in ("lines", "envelope"):
        profile = line_profile if kind == "lines" else envelope_profile
        return lambda samples: profile(samples / FULL_SCALE, sr=sr)
    settings = profile_settings(sr)
    transform = LogMelTransform(settings)
    of_log_mel: dict[str, Callable[[Array], Array]] = {
        "spectrum": spectrum_profile,
        "fluctuation": fluctuation_profile,
        "modulation": partial(modulation_profile, frame_rate_hz=sr / settings.hop_length),
    }

    def profile_of(samples: Samples) -> Array:
        level = np.empty((settings.n_mels, settings.n_frames(len(samples))), np.float32)
        transform.write_clip(samples, level)
        return of_log_mel[kind](level.astype(np.float64))

    return profile_of


def _averaged_power(series: Array, *, sr: float, segment: int) -> tuple[Array, Array]:
    """Averaged power spectral density along the last axis (Welch, 1967).

    Unlike scipy's, the last segment ends at the end, so that no part of a clip goes unheard.
    """
    n_samples = series.shape[-1]
    length = min(segment, n_samples)
    count = math.ceil((n_samples - length) / (length / 2)) + 1
    starts = np.linspace(0, n_samples - length, count).round().astype(np.int64)
    pieces = series[..., starts[:, None] + np.arange(length)]
    window = signal.get_window("hann", length)
    lines = fft.rfft((pieces - pieces.mean(axis=-1, keepdims=True)) * window)
    power = (np.abs(lines) ** 2).mean(axis=-2) * 2 / (sr * np.sum(window**2))
    return np.asarray(fft.rfftfreq(length, 1 / sr)), np.asarray(power)


def _in_bins(
    power: Array, frequencies_hz: Array, edges_hz: Array, pool: Callable[[Array], Any]
) -> Array:
    """Pool a spectrum in bins; a bin narrower than the resolution is interpolated."""
    centres_hz = np.sqrt(edges_hz[1:] * edges_hz[:-1])
    pooled = np.interp(centres_hz, frequencies_hz, power)
    bounds = np.searchsorted(frequencies_hz, edges_hz)
    for number, (first, last) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
        if last > first:
            pooled[number] = pool(power[first:last])
    return np.asarray(pooled)
