"""Spectra: log-mel and its store, statistics over clips, high-pass, envelope spectrum."""

from asdlib.spectra.average import average_spectra, band_information, open_average_spectra
from asdlib.spectra.characteristic import characteristic_frequencies
from asdlib.spectra.envelope import envelope_spectrum
from asdlib.spectra.features import open_log_mel
from asdlib.spectra.heard import KnownRates, Picture, Reason, Sound
from asdlib.spectra.highpass_choice import HighpassChoice, choose_highpass
from asdlib.spectra.injection import open_rehearsal, plan_rehearsal
from asdlib.spectra.logmel import LogMelSettings, log_mel
from asdlib.spectra.other_features import OFFICIAL_LOG_MEL, open_frames, open_spectrum, spectrogram
from asdlib.spectra.profiles import PROFILES, band_centres_hz, open_profiles, profile_bands_hz
from asdlib.spectra.reasons import find_reason
