"""The challenge's real data: what was published, fetching it, what a run may see of it, truth."""

from asdlib.challenge.catalogue import EDITIONS, SUBSETS, Edition, edition, eval_list, fetch_truth
from asdlib.challenge.fetching import fetch
from asdlib.challenge.folders import Source, lay_out, read_facts
from asdlib.challenge.transfer import Job
from asdlib.data.lists import reveal, truth_of_names
