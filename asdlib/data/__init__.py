"""Clip names and layout, clip table, waveform store, released truth, simulated corpus."""

from asdlib.data.cache import map_clips
from asdlib.data.clips import count_clips, read_clips, scan_clips
from asdlib.data.lists import read_eval_truth, read_true_attributes
from asdlib.data.names import ClipName, attribute_pairs, format, parse
from asdlib.data.store import ArrayStore, content_key, open_existing, open_or_build
from asdlib.data.waveforms import defects, open_waveforms
