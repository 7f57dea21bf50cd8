"""Classes of the training clips, and which clips are learnt from at all.

"For classification, the total number of classes encompasses all unique combinations of
machine IDs, domain labels, and attribute labels present in the dataset." (report, section
2.3)

"To further diversify the categories, we curated clean machine data or noise-only data from
supplemental dataset and combined them with DCASE Task2 data for training." (same section)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from asdlib.base import InputError
from asdlib.data.store import content_key

#: Versions of a clip that serve as classes where the data has fewer than two.
N_VERSIONS = 4
#: Share of a domain's recordings that no training sees.
_SHARE_ASIDE = 0.1
#: With fewer recordings, or clips, none can be spared.
_FEWEST = 9
#: Sessions are put aside whole where there are so many, and this share of the clips is enough.
_FEWEST_SESSIONS, _LARGEST_ASIDE = 4, 1 / 3


@dataclass(frozen=True)
class ClassTable:
    """Classes of the training clips.

    A name is ``"machine|section|domain|attribute"``, sorted; a part that is unknown is empty.
    Supplemental clips have no domain and the attribute ``clean`` or ``noise``. Where the task is
    made up (see `class_table`), ``@`` and a number stand behind.
    """

    names: tuple[str, ...]
    #: ``clip_id``, ``class_index`` (int64, into ``names``), ``version`` (int64; 0 for the clip
    #: itself, see `asdlib.training.augment.transform`), sorted by ``clip_id``
    clips: pd.DataFrame

    @property
    def key(self) -> str:
        """Hash of all classes and of which clip belongs to which."""
        columns = {name: self.clips[name].tolist() for name in ("class_index", "version")}
        clips = {"clips": self.clips["clip_id"].tolist()}
        return content_key({"names": list(self.names), **clips, **columns})

    @property
    def is_made_up(self) -> bool:
        """Whether the classes are versions of the clips, because the data has only one class."""
        return bool(self.clips["version"].any())

    def counts(self) -> pd.DataFrame:
        """Training clips per class: ``class_name, n_clips``, in the order of ``names``."""
        n_clips = np.bincount(self.clips["class_index"], minlength=len(self.names))
        return pd.DataFrame({"class_name": self.names, "n_clips": n_clips})


def learnt_clips(clips: pd.DataFrame) -> pd.DataFrame:
    """Select the rows of a clip table that network and autoencoder learn from: about nine in ten.

    A trained system knows the clips that it was trained on, and new normal clips score higher
    than those. Every domain of a machine keeps one in ten sessions aside, where four or more are
    told, else one in ten recordings, at least three in the source domain, evenly spaced, so that
    `asdlib.scoring` can tell what is usual from clips that were not learnt from. Fewer than nine
    recordings are taken as their clips; fewer than nine clips are all learnt from. Keeps the index.
    """
    train = clips[clips["split"] == "train"]
    kept = pd.Series(True, train.index)
    for (_, domain), own in train.groupby(["machine_type", train["domain"].fillna("")]):
        recording = own.get("recording", own["clip_id"])
        session = own.get("session", pd.Series("", own.index)).fillna("")
        aside = _evenly_spaced(session, 1)
        if session.nunique() < _FEWEST_SESSIONS or aside.mean() > _LARGEST_ASIDE:
            unit = recording if recording.nunique() >= _FEWEST else own["clip_id"]
            aside = _evenly_spaced(unit, 1 if domain == "target" else 3)
            aside &= unit.nunique() >= _FEWEST
        kept[own.index[aside]] = False
    return train[kept]


def _evenly_spaced(unit: pd.Series, fewest: int) -> pd.Series:
    """Whether clips belong to one in ten of the units, evenly spaced, at least the fewest."""
    names = unit.unique()
    n_aside = max(math.ceil(len(names) * _SHARE_ASIDE), fewest)
    return unit.isin(names[((np.arange(n_aside) + 0.5) * len(names) / n_aside).astype(int)])


def class_table(
    clips: pd.DataFrame, attributes: pd.DataFrame, *, use_supplemental: bool = False
) -> ClassTable:
    """Give every training clip that is learnt from (`learnt_clips`) its class.

    A single machine without attributes and without a target domain gives one class, from which
    nothing can be learnt: each clip then counts `N_VERSIONS` times, its mel bands rolled by 0 to
    3 quarters, and the versions are the classes.

    Parameters
    ----------
    clips, attributes : DataFrame
        Clip table; ``clip_id, attribute`` for every training clip, NA or empty for none.
    use_supplemental : bool
        Whether clean and noise-only clips form classes of their own.

    Raises
    ------
    InputError
        When there is no training clip, or one has no row or several in ``attributes``.

    Examples
    --------
    >>> clips = pd.DataFrame({"clip_id": ["fan/train/a.wav", "fan/train/b.wav"],
    ...     "machine_type": "fan", "section": "00", "domain": ["source", "target"],
    ...     "split": "train", "supplemental_kind": None})
    >>> attributes = pd.DataFrame({"clip_id": clips["clip_id"], "attribute": ["m_1", None]})
    >>> class_table(clips, attributes).names
    ('fan|00|source|m_1', 'fan|00|target|')
    """
    train = learnt_clips(clips)
    if train.empty:
        raise InputError("The clip table has no training clips: expected clips in 'train' folders.")
    attribute = _attribute_of(train["clip_id"], attributes)
    named = [train.assign(attribute=attribute)]
    if use_supplemental:
        extra = clips[clips["split"] == "supplemental"]
        named.append(extra.assign(domain="", attribute=extra["supplemental_kind"]))
    columns = ["machine_type", "section", "domain", "attribute"]
    parts = pd.concat([table.astype(dict.fromkeys(columns, "string")) for table in named])
    class_name = parts[columns].fillna("").agg("|".join, axis=1)
    labels = parts[["clip_id"]].assign(class_name=class_name, version=0)
    labels = labels.sort_values("clip_id", ignore_index=True)
    if len(labels["class_name"].unique()) == 1:
        versions = [
            labels.assign(class_name=labels["class_name"] + f"@{version}", version=version)
            for version in range(N_VERSIONS)
        ]
        labels = pd.concat(versions, ignore_index=True)
    class_index, names = pd.factorize(labels["class_name"], sort=True)
    table = labels[["clip_id"]].assign(class_index=class_index, version=labels["version"])
    return ClassTable(tuple(names), table)


def _attribute_of(clip_ids: pd.Series, attributes: pd.DataFrame) -> pd.Series:
    """Attributes of clips by the clips' index."""
    used = attributes[attributes["clip_id"].isin(clip_ids)]
    twice = used["clip_id"][used["clip_id"].duplicated()]
    if len(twice):
        raise InputError(
            f"attributes.csv: has several rows for {twice.iloc[0]}. Keep one row per clip."
        )
    missing = clip_ids[~clip_ids.isin(used["clip_id"])]
    if len(missing):
        raise InputError(
            f"attributes.csv: has no row for {len(missing)} training clips, the first is "
            f"{missing.iloc[0]}. Run the annotation on the same data again."
        )
    return clip_ids.map(used.set_index("clip_id")["attribute"])
