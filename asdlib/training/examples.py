"""Training examples: the class of every clip, and features as augmented batches on a device.

"For classification, the total number of classes encompasses all unique combinations of
machine IDs, domain labels, and attribute labels present in the dataset." (report, section
2.3)

"To further diversify the categories, we curated clean machine data or noise-only data from
supplemental dataset and combined them with DCASE Task2 data for training." (same section)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from asdlib.data.store import content_key
from asdlib.errors import InputError
from asdlib.training import augment
from asdlib.training.augment import N_VERSIONS
from asdlib.training.settings import TrainSettings

if TYPE_CHECKING:
    from asdlib.training.embed import FeatureBatches

#: Share of a domain's recordings that no training sees.
_SHARE_ASIDE = 0.1
#: With fewer recordings, or clips, none can be spared.
_FEWEST = 9


@dataclass(frozen=True)
class ClassTable:
    """Classes of the training clips.

    Attributes
    ----------
    names : tuple of str
        ``"machine|section|domain|attribute"``, sorted; a part that is unknown is empty.
        Supplemental clips have no domain and the attribute ``clean`` or ``noise``.
        Where the task is made up (see `class_table`), ``@`` and a number stand behind.
    clips : DataFrame
        ``clip_id``, ``class_index`` (int64, into ``names``) and ``version`` (int64; 0 for the
        clip itself, see `asdlib.training.augment.transform`), sorted by ``clip_id``.
    """

    names: tuple[str, ...]
    clips: pd.DataFrame

    @property
    def key(self) -> str:
        """Hash of all classes and of which clip belongs to which."""
        return content_key(
            {
                "names": list(self.names),
                "clips": self.clips["clip_id"].tolist(),
                "class_index": self.clips["class_index"].tolist(),
                "version": self.clips["version"].tolist(),
            }
        )

    @property
    def is_made_up(self) -> bool:
        """Whether the classes are versions of the clips, because the data has only one class."""
        return bool(self.clips["version"].any())

    def counts(self) -> pd.DataFrame:
        """Training clips per class: ``class_name, n_clips``, in the order of ``names``."""
        n_clips = np.bincount(self.clips["class_index"], minlength=len(self.names))
        return pd.DataFrame({"class_name": self.names, "n_clips": n_clips})


def learnt_clips(clips: pd.DataFrame) -> pd.DataFrame:
    """Select the training clips that network and autoencoder learn from: about nine in ten.

    A trained system knows the clips that it was trained on, and new normal clips score higher
    than those. Every domain of a machine keeps one in ten recordings aside, evenly spaced, at
    least three in the source domain, so that `asdlib.scoring` can tell what is usual from clips
    that were not learnt from. Fewer than nine recordings are taken as their clips; fewer than
    nine clips are all learnt from.

    Parameters
    ----------
    clips : DataFrame
        Clip table (`asdlib.data.read_clips`).

    Returns
    -------
    DataFrame
        Its rows, index kept.
    """
    train = clips[clips["split"] == "train"]
    kept = pd.Series(True, train.index)
    for (_, domain), own in train.groupby(["machine_type", train["domain"].fillna("")]):
        recording = own.get("recording", own["clip_id"])
        unit = recording if recording.nunique() >= _FEWEST else own["clip_id"]
        names = unit.unique()
        if len(names) < _FEWEST:
            continue
        n_aside = max(math.ceil(len(names) * _SHARE_ASIDE), 1 if domain == "target" else 3)
        places = ((np.arange(n_aside) + 0.5) * len(names) / n_aside).astype(int)
        kept[own.index[unit.isin(names[places])]] = False
    return train[kept]


def class_table(
    clips: pd.DataFrame, attributes: pd.DataFrame, *, use_supplemental: bool = False
) -> ClassTable:
    """Give every training clip that is learnt from (`learnt_clips`) its class.

    With two classes or more, a clip is one training example. A single machine without
    attributes and without a target domain gives one class, from which nothing can be learnt:
    each clip then counts ``N_VERSIONS`` times, its mel bands rolled by 0 to 3 quarters, and the
    versions are the classes.

    Parameters
    ----------
    clips : DataFrame
        Clip table (`asdlib.data.read_clips`).
    attributes : DataFrame
        ``clip_id, attribute`` for every training clip; NA or empty for no attribute. Rows of
        clips that are not in ``clips`` are not used.
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
    labels = pd.DataFrame(
        {
            "clip_id": train["clip_id"].to_numpy(),
            "class_name": _join(train, domain=_text(train["domain"]), attribute=attribute),
        }
    )
    if use_supplemental:
        extra = clips[clips["split"] == "supplemental"]
        names = _join(extra, domain=[""] * len(extra), attribute=_text(extra["supplemental_kind"]))
        extra_labels = pd.DataFrame({"clip_id": extra["clip_id"].to_numpy(), "class_name": names})
        labels = pd.concat([labels, extra_labels], ignore_index=True)
    labels = labels.sort_values("clip_id", ignore_index=True)
    labels["version"] = 0
    if len(labels["class_name"].unique()) == 1:
        labels = _made_up(labels)
    names = sorted(labels["class_name"].unique())
    index = pd.Index(names).get_indexer(pd.Index(labels["class_name"])).astype(np.int64)
    table = labels[["clip_id"]].assign(class_index=index, version=labels["version"])
    return ClassTable(tuple(names), table)


def _attribute_of(clip_ids: pd.Series, attributes: pd.DataFrame) -> list[str]:
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
    return _text(used.set_index("clip_id")["attribute"].reindex(clip_ids))


def _text(column: pd.Series) -> list[str]:
    return ["" if pd.isna(value) else str(value) for value in column]


def _join(clips: pd.DataFrame, *, domain: list[str], attribute: list[str]) -> list[str]:
    parts = zip(clips["machine_type"], clips["section"], domain, attribute, strict=True)
    return ["|".join(part) for part in parts]


def _made_up(labels: pd.DataFrame) -> pd.DataFrame:
    versions = [
        labels.assign(class_name=labels["class_name"] + f"@{version}", version=version)
        for version in range(N_VERSIONS)
    ]
    return pd.concat(versions, ignore_index=True)


@dataclass(frozen=True)
class NoiseSources:
    """Noise-only clips that may be mixed into each training example.

    A training clip gets noise of its own machine: it was recorded in that noise. A clean clip gets
    noise of its own machine where there is some, else of all machines: with noise it is a simulated
    training clip. Noise-only clips get none. What a clip is called does not change.
    """

    groups: tuple[Tensor, ...]  # numbers of noise-only examples, a group per machine, one for all
    group_of_example: Tensor  # group of every example, shape (n_examples,); -1 for none

    @classmethod
    def of(cls, classes: ClassTable) -> NoiseSources:
        """Find the noise for every row of ``classes.clips``."""
        machine = classes.clips["clip_id"].str.split("/").str[0]
        is_extra = classes.clips["clip_id"].str.split("/").str[1] == "supplemental"
        kind = classes.clips["class_index"].map(lambda index: classes.names[index].split("|")[-1])
        is_noise = is_extra & (kind == "noise")
        noisy_machines = sorted(machine[is_noise].unique())
        members = [is_noise & (machine == name) for name in noisy_machines]
        if noisy_machines:
            members.append(is_noise)
        group = pd.Series(pd.Index(noisy_machines).get_indexer(machine), index=machine.index)
        group[is_extra & (kind == "clean") & (group < 0)] = len(members) - 1
        group[is_noise] = -1
        return cls(
            tuple(torch.from_numpy(np.flatnonzero(member)) for member in members),
            torch.from_numpy(group.to_numpy(np.int64, copy=True)),
        )

    @property
    def n_examples(self) -> int:
        """How many examples there is noise for."""
        return int((self.group_of_example >= 0).sum())

    def draw(self, examples: Tensor, *, generator: torch.Generator) -> Tensor:
        """Draw a noise-only example for each of some examples; -1 where there is none."""
        place = torch.rand(len(examples), generator=generator)
        drawn = torch.full_like(examples, -1)
        group = self.group_of_example[examples]
        for number, members in enumerate(self.groups):
            rows = (group == number).nonzero().squeeze(1)
            drawn[rows] = members[(place[rows] * len(members)).long()]
        return drawn


@dataclass(frozen=True)
class Batch:
    """What the network and the loss see of some training examples."""

    levels: tuple[Tensor, ...]  # [dB], shape (batch, 1, n_bands, n_frames), one per branch
    labels: Tensor  # weights of the classes, shape (batch, n_classes)
    exchanged_labels: Tensor  # of the classes that StatEx makes of them; without it, the same


class Examples:
    """Augmented batches of the training examples, whose order is that of ``classes.clips``."""

    def __init__(
        self,
        classes: ClassTable,
        batches: tuple[FeatureBatches, ...],
        settings: TrainSettings,
        device: torch.device,
    ) -> None:
        self.batches = batches
        self.settings = settings
        self.device = device
        self._n_classes = len(classes.names)
        self._class_index = torch.from_numpy(classes.clips["class_index"].to_numpy(copy=True))
        self._version = torch.from_numpy(classes.clips["version"].to_numpy(copy=True))
        self._noise = NoiseSources.of(classes)

    def __len__(self) -> int:
        return len(self._class_index)

    def draw(self, clips: Tensor, generator: torch.Generator) -> Batch:
        """Read some examples, by number, and augment them: noise, mixup, StatEx, in that order."""
        settings = self.settings
        levels = self._read(clips, generator)
        if settings.noise_mix_probability > 0:
            levels = self._with_noise(levels, clips, generator)
        version = self._version[clips]
        levels = tuple(augment.transform(level, version) for level in levels)
        class_index = self._class_index[clips].to(self.device)
        labels = nn.functional.one_hot(class_index, self._n_classes).float()
        levels, labels = augment.mixup(
            levels, labels, probability=settings.mixup_probability, generator=generator
        )
        exchanged_labels = labels
        if settings.statex_probability > 0:
            rows, partners = augment.draw_exchange(
                len(clips), probability=settings.statex_probability, generator=generator
            )
            log_mel = augment.exchange_statistics(
                levels[0], rows, partners, axis=settings.statex_axis
            )
            levels = (log_mel, *levels[1:])
            exchanged_labels = augment.exchange_labels(labels, rows, partners)
        return Batch(tuple(level[:, None] for level in levels), labels, exchanged_labels)

    def _read(self, clips: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Features of some examples [dB], the spectrogram cropped."""
        log_mel, *spectrum = (batches.gather(clips.numpy()) for batches in self.batches)
        n_frames = self.settings.crop_frames
        log_mel = augment.crop(log_mel, n_frames=n_frames, generator=generator)
        return tuple(level.float() for level in (log_mel, *spectrum))

    def _with_noise(
        self, levels: tuple[Tensor, ...], clips: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, ...]:
        noise_clips = self._noise.draw(clips, generator=generator)
        is_mixed = torch.rand(len(clips), generator=generator)
        is_mixed = is_mixed < self.settings.noise_mix_probability
        lowest, highest = self.settings.noise_mix_snr_db
        snr_db = lowest + (highest - lowest) * torch.rand(len(clips), generator=generator)
        rows = (is_mixed & (noise_clips >= 0)).nonzero().squeeze(1)
        if len(rows) == 0:
            return levels
        noise = self._read(noise_clips[rows], generator)
        snr_db, rows = snr_db[rows].to(self.device), rows.to(self.device)
        noisy = augment.add_noise([level[rows] for level in levels], noise, snr_db)
        return tuple(
            level.index_copy(0, rows, mixed) for level, mixed in zip(levels, noisy, strict=True)
        )
