"""The challenge's real data: what was published, fetching it, what a run may see of it, truth."""

from asdlib.challenge.catalogue import EDITIONS, SUBSETS, Archive, Edition, edition
from asdlib.challenge.fetching import fetch
from asdlib.challenge.hosts import Hosts, Patience
from asdlib.challenge.job import Job
from asdlib.challenge.truth import eval_list, fetch_truth, reveal, truth_of_names
from asdlib.challenge.view import Source, is_verified, lay_out, read_facts

__all__ = [
    "EDITIONS",
    "SUBSETS",
    "Archive",
    "Edition",
    "Hosts",
    "Job",
    "Patience",
    "Source",
    "edition",
    "eval_list",
    "fetch",
    "fetch_truth",
    "is_verified",
    "lay_out",
    "read_facts",
    "reveal",
    "truth_of_names",
]
