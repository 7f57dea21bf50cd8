"""Spectra: log-mel and its store, statistics over clips, high-pass, envelope spectrum."""

from asdlib.spectra.average import average_spectra, band_information, open_average_spectra
from asdlib.spectra.characteristic import FrequencyFamily, characteristic_frequencies
from asdlib.spectra.cycles import CycleTime, cycle_time
from asdlib.spectra.envelope import envelope_spectrum
from asdlib.spectra.features import fit_length, open_log_mel
from asdlib.spectra.highpass_choice import HighpassChoice, choose_highpass
from asdlib.spectra.injection import INJECTIONS, inject, open_rehearsal, plan_rehearsal
from asdlib.spectra.logmel import log_mel, spectrogram
from asdlib.spectra.mel import LogMelSettings, band_centres_hz
from asdlib.spectra.profiles import PROFILES, open_profiles
from asdlib.spectra.spectrum import (
    OFFICIAL_LOG_MEL,
    clip_spectrum,
    fitted_samples,
    open_frames,
    open_spectrum,
)
from asdlib.spectra.tones import TonalFamily, tonal_families

__all__ = [
    "INJECTIONS",
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
    "choose_highpass",
    "clip_spectrum",
    "cycle_time",
    "envelope_spectrum",
    "fit_length",
    "fitted_samples",
    "inject",
    "log_mel",
    "open_average_spectra",
    "open_frames",
    "open_log_mel",
    "open_profiles",
    "open_rehearsal",
    "open_spectrum",
    "plan_rehearsal",
    "spectrogram",
    "tonal_families",
]
