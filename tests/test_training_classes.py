"""Classes from clip table and attributes."""

import pandas as pd
import pytest
import torch

from asdlib.base import InputError
from asdlib.training.augment import NoiseSources
from asdlib.training.classes import N_VERSIONS, class_table, learnt_clips


def make_clips(rows: list[tuple[str, str, str | None, str | None]]) -> pd.DataFrame:
    """Clip table from (machine, split, domain, supplemental kind)."""
    return pd.DataFrame(
        {
            "clip_id": [f"{m}/{s}/{i:03d}.wav" for i, (m, s, _, _) in enumerate(rows)],
            "machine_type": [m for m, _, _, _ in rows],
            "section": "00",
            "domain": pd.array([d for _, _, d, _ in rows], dtype="string"),
            "split": [s for _, s, _, _ in rows],
            "supplemental_kind": pd.array([k for _, _, _, k in rows], dtype="string"),
        }
    )


ROWS = [
    ("fan", "train", "source", None),
    ("fan", "train", "target", None),
    ("fan", "test", "target", None),
    ("fan", "supplemental", "source", "clean"),
    ("valve", "train", "source", None),
    ("valve", "train", "source", None),
    ("valve", "supplemental", None, "noise"),
]


def make_attributes(clips: pd.DataFrame, values: list[str | None]) -> pd.DataFrame:
    train = clips.loc[clips["split"] == "train", "clip_id"]
    return pd.DataFrame({"clip_id": train, "attribute": pd.array(values, dtype="string")})


def test_every_combination_is_a_class() -> None:
    clips = make_clips(ROWS)
    table = class_table(clips, make_attributes(clips, ["m_1", "m_2", "pat_1", None]))
    assert table.names == (
        "fan|00|source|m_1",
        "fan|00|target|m_2",
        "valve|00|source|",
        "valve|00|source|pat_1",
    )
    assert table.clips["class_index"].tolist() == [0, 1, 3, 2]
    assert not table.is_made_up
    assert table.counts()["n_clips"].tolist() == [1, 1, 1, 1]


def test_supplemental_clips_are_classes_of_their_own_when_asked() -> None:
    clips = make_clips(ROWS)
    attributes = make_attributes(clips, [None] * 4)
    assert class_table(clips, attributes).names == (
        "fan|00|source|",
        "fan|00|target|",
        "valve|00|source|",
    )
    table = class_table(clips, attributes, use_supplemental=True)
    assert {"fan|00||clean", "valve|00||noise"} < set(table.names)
    assert len(table.clips) == 6


def test_row_order_does_not_matter() -> None:
    clips = make_clips(ROWS)
    attributes = make_attributes(clips, ["a", "b", "c", "d"])
    table = class_table(clips, attributes)
    shuffled = class_table(
        clips.sample(frac=1, random_state=1), attributes.sample(frac=1, random_state=2)
    )
    assert shuffled.names == table.names
    assert shuffled.key == table.key
    pd.testing.assert_frame_equal(shuffled.clips, table.clips)


def test_key_follows_the_labels() -> None:
    clips = make_clips(ROWS)
    one = class_table(clips, make_attributes(clips, ["a", "b", "c", "d"]))
    other = class_table(clips, make_attributes(clips, ["a", "b", "d", "c"]))
    assert one.names == other.names
    assert one.key != other.key


def test_one_class_is_split_into_versions() -> None:
    clips = make_clips([("fan", "train", "source", None)] * 3)
    table = class_table(clips, make_attributes(clips, [None] * 3))
    assert table.is_made_up
    assert table.names == tuple(f"fan|00|source|@{version}" for version in range(N_VERSIONS))
    assert len(table.clips) == 3 * N_VERSIONS
    assert (table.clips["class_index"] == table.clips["version"]).all()


def test_missing_and_repeated_rows_are_refused() -> None:
    clips = make_clips(ROWS)
    attributes = make_attributes(clips, [None] * 4)
    with pytest.raises(InputError, match=r"no row for 1 training clips, the first is fan/train"):
        class_table(clips, attributes.iloc[1:])
    with pytest.raises(InputError, match=r"several rows for fan/train/000.wav"):
        class_table(clips, pd.concat([attributes, attributes.iloc[:1]]))
    with pytest.raises(InputError, match="no training clips"):
        class_table(clips[clips["split"] == "test"], attributes)


NOISE_ROWS = [
    ("fan", "train", "source", None),
    ("fan", "supplemental", None, "clean"),
    ("pump", "train", "target", None),
    ("pump", "supplemental", None, "noise"),
    ("pump", "supplemental", None, "noise"),
    ("valve", "train", "source", None),
    ("valve", "supplemental", None, "noise"),
    ("toy", "train", "source", None),
]


def test_noise_comes_from_the_own_machine_and_clean_clips_take_any() -> None:
    clips = make_clips(NOISE_ROWS)
    classes = class_table(clips, make_attributes(clips, [None] * 4), use_supplemental=True)
    sources = NoiseSources.of(classes)
    ids = classes.clips["clip_id"].tolist()
    number = {clip_id: index for index, clip_id in enumerate(ids)}
    drawn: dict[str, set[str]] = {clip_id: set() for clip_id in ids}
    for seed in range(60):
        found = sources.draw(torch.arange(8), generator=torch.Generator().manual_seed(seed))
        for clip_id, noise in zip(ids, found.tolist(), strict=True):
            drawn[clip_id].add("" if noise < 0 else ids[noise])
    pump = {"pump/supplemental/003.wav", "pump/supplemental/004.wav"}
    valve = {"valve/supplemental/006.wav"}
    assert drawn["fan/supplemental/001.wav"] == pump | valve  # a simulated training clip
    assert drawn["pump/train/002.wav"] == pump
    assert drawn["valve/train/005.wav"] == valve
    nothing = {"fan/train/000.wav", "toy/train/007.wav", *pump, *valve}
    assert all(drawn[clip_id] == {""} for clip_id in nothing)
    assert sources.n_examples == 3
    some = torch.tensor([number["valve/train/005.wav"], number["toy/train/007.wav"]])
    assert sources.draw(some, generator=torch.Generator()).tolist() == [
        number["valve/supplemental/006.wav"], -1
    ]  # fmt: skip


def test_without_noise_clips_there_is_no_noise() -> None:
    clips = make_clips([row for row in NOISE_ROWS if row[3] != "noise"])
    classes = class_table(clips, make_attributes(clips, [None] * 4), use_supplemental=True)
    sources = NoiseSources.of(classes)
    assert sources.n_examples == 0
    assert sources.draw(torch.arange(5), generator=torch.Generator()).tolist() == [-1] * 5


def test_an_attribute_called_noise_is_no_noise_clip() -> None:
    clips = make_clips([("fan", "train", "source", None), ("fan", "train", "target", None)])
    classes = class_table(clips, make_attributes(clips, ["noise", "noise"]))
    assert NoiseSources.of(classes).n_examples == 0


def test_one_training_clip_in_ten_is_not_learnt_from() -> None:
    rows = [("fan", "train", "source", None)] * 40 + [("fan", "train", "target", None)] * 10
    rows += [("saw", "train", "source", None)] * 8 + [("fan", "test", "source", None)] * 5
    clips = make_clips(rows)
    learnt = learnt_clips(clips)
    counts = learnt.groupby(["machine_type", "domain"]).size()
    assert counts.to_dict() == {("fan", "source"): 36, ("fan", "target"): 9, ("saw", "source"): 8}
    aside = [row for row in range(50) if row not in learnt.index]
    assert aside == [5, 15, 25, 35, 45]
    table = class_table(clips, make_attributes(clips, [None] * 58))
    assert set(table.clips["clip_id"]) == set(learnt["clip_id"])


def test_a_recording_is_learnt_from_whole_or_not_at_all() -> None:
    clips = make_clips([("fan", "train", "source", None)] * 60)
    clips["recording"] = [f"{row // 5}.wav" for row in range(60)]
    counts = learnt_clips(clips).groupby("recording").size()
    assert len(counts) == 9
    assert counts.eq(5).all()
    clips["recording"] = "one hour.wav"
    assert len(learnt_clips(clips)) == 54


def test_a_told_session_is_learnt_from_whole_or_not_at_all() -> None:
    clips = make_clips([("fan", "train", "source", None)] * 60)
    clips["session"] = [f"day {row % 4}" for row in range(60)]
    assert learnt_clips(clips)["session"].value_counts().to_dict() == dict.fromkeys(
        ["day 0", "day 1", "day 3"], 15
    )
    clips["session"] = [f"day {row % 3}" for row in range(60)]  # too few to do without one
    assert len(learnt_clips(clips)) == 54
    clips["session"] = ["a", "b", *["c"] * 57, "d"]  # nearly all are of one
    assert len(learnt_clips(clips)) == 54
