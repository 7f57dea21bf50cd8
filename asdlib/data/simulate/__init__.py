"""A simulated corpus in the layout and names of the challenge: ``README.md`` beside this file."""

from asdlib.data.simulate.bearings import BearingGeometry, bearing_frequencies, bearing_signal
from asdlib.data.simulate.corpus import finished_machines, write_corpus
from asdlib.data.simulate.machines import MACHINES, SIZES
