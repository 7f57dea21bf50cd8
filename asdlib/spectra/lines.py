"""Evidence of single lines in squared envelope spectra, against the local noise floor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, signal

from asdlib.spectra.envelope import Band, band_lines, complex_envelope
from asdlib.spectra.floor import line_evidence, noise_floor

Array = npt.NDArray[np.float64]
Spectrum = npt.NDArray[np.complex128]

#: A line under this share of the mean squared envelope is not a modulation but arithmetic
#: (rounding, edges of the clip): noise alone reaches 0.01 in the longest and widest case.
MIN_MODULATION = 2e-3
#: Bands this far under the whole signal's power hold rounding errors only.
MIN_BAND_POWER = 1e-7
#: A clip needs this many lines in a band for its noise floor to be known.
MIN_LINES = 64
#: Share of the clip at either end over which it is faded, against leakage of tones.
_FADE = 0.1
#: A tone counts up to this share of the noise in the narrowest band.
_TONE_LIMIT = 0.05
#: Envelopes are limited to this many medians, so that a bang does not outweigh the clip.
_ENVELOPE_LIMIT = 10.0


@dataclass
class LineSpectra:
    """Evidence of every line in every band, on the common grid of k / duration.

    ``evidence`` is changed while families take their lines away.
    """

    evidence: Array  # (n_bands, n_lines), -ln p; 0 where a band has no such line
    widths: npt.NDArray[np.int64]  # (n_bands, n_lines), over which it is highest
    power: Array  # (n_bands, n_lines), over the floor
    bands_hz: list[Band]
    spectrum: Spectrum  # of the whole signal
    step: float  # of its samples' values
    n_samples: int
    sr: float

    @property
    def spacing_hz(self) -> float:
        """Distance of lines [Hz]."""
        return self.sr / self.n_samples

    @property
    def n_tests(self) -> int:
        """Number of lines that were judged, over all bands."""
        return int(np.count_nonzero(self.power))

    def modulation(self, band: int, lines: Sequence[int]) -> float:
        """Largest of some lines over the mean squared envelope; 0 when it means nothing."""
        first, last = band_lines(self.bands_hz[band], sr=self.sr, n_samples=self.n_samples)
        power = 2 * float(np.sum(np.abs(self.spectrum[first:last]) ** 2)) / self.n_samples**2
        heights = _modulation(self.spectrum, first, last, n_samples=self.n_samples)
        height = float(heights[list(lines)].max())
        return height if height > max(MIN_MODULATION, 2 * self.step / np.sqrt(power)) else 0.0


def line_spectra(
    samples: Array, *, sr: float, bands_hz: Sequence[Band], max_hz: float
) -> LineSpectra | None:
    """Judge every line up to ``max_hz`` in every band; None for silence and short clips."""
    n_samples = samples.shape[-1]
    fade = signal.windows.tukey(n_samples, 2 * _FADE)
    centred = samples - samples.mean()
    power = float(np.mean(centred**2))
    if power <= 1e-20 * max(1.0, float(np.mean(samples**2))):
        return None
    spectrum = fft.rfft(centred * fade)
    step = quantisation_step(samples)
    whitened = spectrum / _floor_amplitude(spectrum, lowest=10 * n_samples * step**2 / 12)
    _limit_tones(whitened, n_narrowest=min(high - low for low, high in bands_hz) * n_samples / sr)
    n_lines = min(n_samples // 2, int(max_hz * n_samples / sr) + 1)
    rows: list[tuple[Array, Array, npt.NDArray[np.int64]]] = []
    used: list[Band] = []
    for band in bands_hz:
        first, last = band_lines(band, sr=sr, n_samples=n_samples)
        band_power = 2 * float(np.sum(np.abs(spectrum[first:last]) ** 2)) / n_samples**2
        rounding = step**2 / 12 * (last - first) / (n_samples / 2)
        if band_power < max(MIN_BAND_POWER * power, 30 * rounding) or last - first < MIN_LINES:
            continue
        modulation = _modulation(whitened, first, last, n_samples=n_samples)
        # The upper part of a band's lines rests on few pairs of bins.
        modulation = modulation[: min(n_lines, max(MIN_LINES, int(0.8 * (last - first))))]
        rows.append(line_evidence(modulation**2))
        used.append(band)
    if not rows:
        return None
    out = LineSpectra(
        evidence=np.zeros((len(rows), n_lines)),
        widths=np.ones((len(rows), n_lines), np.int64),
        power=np.zeros((len(rows), n_lines)),
        bands_hz=used,
        spectrum=spectrum,
        step=step,
        n_samples=n_samples,
        sr=sr,
    )
    for i, (relative, evidence, widths) in enumerate(rows):
        out.power[i, : len(relative)] = relative
        out.evidence[i, : len(evidence)] = evidence
        out.widths[i, : len(widths)] = widths
    return out


def _floor_amplitude(spectrum: Spectrum, *, lowest: float) -> Array:
    """Square root of the running floor of the power spectrum, by which it is made flat.

    Nothing under ``lowest`` is raised: rounding errors of a tone are tones as well.
    """
    floor, _ = noise_floor(np.abs(spectrum) ** 2)
    return np.asarray(np.sqrt(np.maximum(floor, max(lowest, 1e-12 * floor.max()))))


def _limit_tones(whitened: Spectrum, *, n_narrowest: float) -> None:
    """Limit single bins to a twentieth of the noise in the narrowest band.

    A steady tone times the noise around it has steps at the band's edges, which would pass
    for lines. Modulated tones keep their lines: all of their bins stay well above noise.
    """
    power = whitened.real**2 + whitened.imag**2
    limit = max(_TONE_LIMIT * n_narrowest, 10.0)
    high = np.flatnonzero(power > limit)
    whitened[high] *= np.sqrt(limit / power[high])


def _modulation(spectrum: Spectrum, first: int, last: int, *, n_samples: int) -> Array:
    """Squared envelope spectrum of a band over its mean, the envelope's peaks limited."""
    envelope = complex_envelope(spectrum, first, last, n_samples=n_samples)
    squared = envelope.real**2 + envelope.imag**2
    fade = signal.windows.tukey(len(squared), 2 * _FADE) ** 2
    flat = slice(int(_FADE * len(squared)), int((1 - _FADE) * len(squared)))
    np.minimum(squared, _ENVELOPE_LIMIT * np.median(squared[flat]) * fade, out=squared)
    mean = squared.sum() / fade.sum()
    squared -= mean * fade
    return np.asarray(np.abs(fft.rfft(squared)[: last - first]) * (2.0 / (mean * fade.sum())))


def quantisation_step(samples: Array) -> float:
    """Step of an integer recording, as integers or as fractions of full scale; else 0."""
    for step in (1.0, 2.0**-7, 2.0**-15, 2.0**-23):
        counts = samples / step
        if np.array_equal(counts, np.round(counts)):
            return step
    return 0.0
