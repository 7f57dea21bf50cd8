"""Spectra: log-mel and its store, statistics over clips, high-pass, envelope spectrum."""

from importlib import import_module
from typing import Any

from asdlib.spectra.bands import band_information
from asdlib.spectra.features import (
    fit_length,
    fitted_samples,
    open_log_mel,
    stored_settings,
)
from asdlib.spectra.frames import OFFICIAL_LOG_MEL, open_frames
from asdlib.spectra.highpass import HighpassChoice, choose_highpass
from asdlib.spectra.logmel import log_mel, spectrogram
from asdlib.spectra.mel import LogMelSettings, band_centres_hz
from asdlib.spectra.spectrum import clip_spectrum, open_spectrum
from asdlib.spectra.statistics import average_spectra, open_average_spectra

__all__ = [
    "OFFICIAL_LOG_MEL",
    "CycleTime",
    "FrequencyFamily",
    "HighpassChoice",
    "LogMelSettings",
    "PROFILES",
    "TonalFamily",
    "average_spectra",
    "band_centres_hz",
    "band_information",
    "characteristic_frequencies",
    "choose_band",
    "choose_highpass",
    "clip_spectrum",
    "cycle_time",
    "envelope_spectrum",
    "fit_length",
    "fitted_samples",
    "kurtogram",
    "log_mel",
    "open_average_spectra",
    "open_frames",
    "open_log_mel",
    "open_profiles",
    "open_spectrum",
    "spectral_kurtosis",
    "spectrogram",
    "stored_settings",
    "tonal_families",
]

# Imported on first use: these modules need scipy, which training does without.
_LAZY = {
    "PROFILES": "asdlib.spectra.profiles",
    "open_profiles": "asdlib.spectra.profiles",
    "CycleTime": "asdlib.spectra.cycles",
    "FrequencyFamily": "asdlib.spectra.characteristic",
    "TonalFamily": "asdlib.spectra.tones",
    "characteristic_frequencies": "asdlib.spectra.characteristic",
    "choose_band": "asdlib.spectra.kurtogram",
    "cycle_time": "asdlib.spectra.cycles",
    "envelope_spectrum": "asdlib.spectra.envelope",
    "kurtogram": "asdlib.spectra.kurtogram",
    "spectral_kurtosis": "asdlib.spectra.kurtogram",
    "tonal_families": "asdlib.spectra.tones",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
