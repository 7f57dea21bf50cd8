import numpy as np
import pandas as pd
import pytest

from asdlib.annotation import agreement, fixed_clusters, shuffled
from asdlib.data import open_or_build
from asdlib.errors import InputError


@pytest.fixture
def machine(tmp_path, rng):
    """Twenty clips whose mean spectra lie in two groups far apart."""
    truth = np.repeat([0, 1], 10)
    ids = [f"fan/train/{i:02d}.wav" for i in range(20)]
    rows = rng.standard_normal((20, 8, 5)) + 30.0 * truth[:, None, None]

    def fill(first, last, out):
        out[:] = rows[first:last].reshape(-1, 5)

    store = open_or_build(
        tmp_path, settings={}, ids=ids, lengths=np.full(20, 8), row_shape=(5,), dtype=np.float16,
        fill=fill, block_rows=4, workers=1,
    )  # fmt: skip
    clips = pd.DataFrame({"clip_id": ids, "machine_type": "fan"})
    return clips, store, truth


def test_two_groups_are_found_with_two_clusters(machine):
    clips, store, truth = machine
    table = fixed_clusters(clips, store, n_clusters=2)
    assert table["clip_id"].tolist() == clips["clip_id"].tolist()
    assert agreement(table["attribute"], truth)["nmi"] == pytest.approx(1.0)


def test_more_clusters_than_clips(machine):
    clips, store, _ = machine
    table = fixed_clusters(clips.head(3), store, n_clusters=8)
    assert table["attribute"].nunique() == 3


def test_no_clusters_are_refused(machine):
    with pytest.raises(InputError, match="n_clusters = 0"):
        fixed_clusters(*machine[:2], n_clusters=0)


def test_a_shuffle_keeps_the_labels_and_loses_their_meaning(machine):
    clips, _, truth = machine
    attributes = clips[["clip_id"]].assign(attribute=truth.astype(str))
    mixed = shuffled(attributes, clips, seed=1)
    assert sorted(mixed["attribute"]) == sorted(attributes["attribute"])
    assert agreement(mixed["attribute"], truth)["nmi"] < 0.5
