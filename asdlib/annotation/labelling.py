"""The attributes of all training clips of a corpus, machine by machine.

"For non-attributed machines, we primarily employ two methodologies for automatic attribute
annotation: one based on unsupervised clustering of acoustic features, and the other
leveraging characteristic frequencies." (report, section 2.1)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from asdlib.annotation import choice
from asdlib.annotation.clustering import (
    MIN_CLIPS,
    Clustering,
    Labels,
    by_size,
    clip_statistics,
    find_clusters,
    join_nearest,
    reduce_dimensions,
    sample_of,
    unstructured,
)
from asdlib.annotation.frequencies import FrequencyTrack, track_frequencies
from asdlib.annotation.levels import gather, support_of_levels
from asdlib.base import InputError, refuse_unknown
from asdlib.data.store import ArrayStore
from asdlib.spectra.envelope import Array

METHODS = ("auto", "none", "clusters", "frequencies", "both", "true")
#: One in this share of noise recordings, two at least, is of the surroundings.
FOREIGN_SHARE = 0.2
#: Why a machine has its true attributes.
ORACLE = "oracle: the true attributes, which no annotation can know"


@dataclass(frozen=True)
class Annotation:
    """Attributes of all training clips, and why they are what they are."""

    #: ``clip_id, attribute, method, confidence``, a row per training clip in the clip table's
    #: order: given, none, clusters, frequencies, both or true (an oracle); confidence 0 to 1.
    attributes: pd.DataFrame
    #: A row per machine and section: method, reason in words, the quantities the rule looks at.
    evidence: pd.DataFrame
    machines: dict[tuple[str, str], choice.MachineEvidence]  # details by machine and section


def annotate(
    clips: pd.DataFrame,
    waveforms: ArrayStore,
    log_mel: ArrayStore,
    *,
    method: str | Mapping[str, str] = "auto",
    truth: pd.DataFrame | None = None,
    seed: int = 0,
    cache_dir: Path | None = None,
    workers: int | None = None,
    on_progress: Callable[[int], object] = lambda clips: None,
    on_clustered: Callable[[int], object] = lambda clips: None,
) -> Annotation:
    """Give every training clip an attribute.

    Parameters
    ----------
    clips : DataFrame
        Clip table; training and supplemental clips are read, test clips never.
    waveforms, log_mel : ArrayStore
        int16 samples of these clips; their high-passed log-mel spectrograms.
    method : str or mapping of machine type to str
        "auto" follows the rule of `asdlib.annotation.choice`; the others overrule it for
        machines without attributes. "true", an oracle, takes them from ``truth``.
    truth : DataFrame, optional
        ``clip_id, attribute``; read for machines of method "true" alone.
    cache_dir : Path, optional
        Folder of the caches, for the frequencies of clips that were looked at before.
    workers, on_progress, on_clustered
        Threads of the envelope analysis; called with the number of training clips just heard, and
        just clustered, which begins when all clips of a machine are heard.

    Raises
    ------
    InputError
        For an unknown method or machine, clips that the stores do not hold, or method "true"
        where the truth of a clip is not known.
    """
    train = clips[clips["split"] == "train"]
    chosen = _methods(method, sorted(train["machine_type"].unique()))
    track_families = partial(
        track_frequencies, waveforms=waveforms, sr=waveforms.settings["sample_rate"], seed=seed,
        cache_dir=cache_dir, workers=workers,
    )  # fmt: skip
    tables, evidence, machines = [], [], {}
    for (machine, section), group in train.groupby(["machine_type", "section"], sort=True):
        key = (str(machine), str(section))
        asked = "given" if group["attribute"].notna().all() else chosen[key[0]]
        labels: pd.Series[str] | npt.NDArray[np.object_] | str = group["attribute"]
        confidence: Array | float = 1.0
        used, reason, found = asked, asked, {}
        if asked == "true":
            reason, labels = ORACLE, _true_attributes(key[0], group, truth)
        if asked == "given" or len(group) < MIN_CLIPS:
            on_progress(len(group))
            on_clustered(len(group))
            if asked not in ("given", "true"):
                used, reason = "none", f"too little to tell: {len(group)} clips, {MIN_CLIPS} needed"
                labels = "none"
        else:
            extra = clips[(clips["machine_type"] == machine) & (clips["split"] == "supplemental")]
            noise_ids = extra.loc[extra["supplemental_kind"] == "noise", "clip_id"].tolist()
            details, splits = _listen(
                key, group, noise_ids, log_mel, track_families, seed=seed,
                on_progress=on_progress, on_clustered=on_clustered,
            )  # fmt: skip
            machines[key], found = details, choice.judge(details, splits)
            if asked != "true":
                used, reason = (
                    choice.choose_method(found) if asked == "auto" else (asked, "asked for")
                )
                labels, confidence = choice.label_clips(details, used, splits)
                if len(set(labels)) < 2:
                    labels, confidence = "none", 1.0
                    if used != "none":
                        used, reason = "none", f"{reason}, but {used} give one class only"
        table = group[["clip_id"]].assign(attribute=labels, method=used, confidence=confidence)
        tables.append(table.astype({"attribute": "string"}))
        row = {"machine_type": key[0], "section": key[1], "n_clips": len(group), "method": used}
        n_classes = table["attribute"].nunique()
        evidence.append({**row, "reason": reason, **found, "n_classes": n_classes})
    attributes = pd.concat(tables).loc[train.index].reset_index(drop=True)
    return Annotation(attributes, pd.DataFrame(evidence), machines)


def _methods(method: str | Mapping[str, str], machines: list[str]) -> dict[str, str]:
    given = dict.fromkeys(machines, method) if isinstance(method, str) else dict(method)
    refuse_unknown(given, machines, "method: no machine")
    refuse_unknown(given.values(), METHODS, "no method")
    return {machine: given.get(machine, "auto") for machine in machines}


def _true_attributes(
    machine: str, group: pd.DataFrame, truth: pd.DataFrame | None
) -> pd.Series[str]:
    known = pd.Series(pd.NA, group.index, dtype="string")
    if truth is not None and not truth.empty:
        known = group["clip_id"].map(truth.set_index("clip_id")["attribute"]).astype("string")
    lacking = group.loc[known.isna(), "clip_id"]
    if len(lacking):
        raise InputError(
            f"method 'true' of {machine}: the true attributes of {len(lacking)} of its "
            f"{len(group)} training clips are not known, {lacking.iloc[0]} first. Expected lists "
            "of true attributes beside the recordings; choose another method where there are none."
        )
    return known


def _listen(
    key: tuple[str, str],
    group: pd.DataFrame,
    noise_ids: list[str],
    log_mel: ArrayStore,
    track_families: Callable[..., FrequencyTrack],
    *,
    seed: int,
    on_progress: Callable[[int], object],
    on_clustered: Callable[[int], object],
) -> tuple[choice.MachineEvidence, dict[int, Clustering]]:
    """Gather what the annotation of one machine rests on, and the clusters within its levels."""
    clip_ids = group["clip_id"].tolist()
    domains = group["domain"].fillna("").astype(str).tolist()
    points = reduce_dimensions(clip_statistics(log_mel, clip_ids, noise_ids), seed=seed)
    track = track_families(clip_ids, on_progress=on_progress)
    foreign = track_families(noise_ids, bands_hz=track.bands_hz)
    levels = choice.find_levels(
        track.families, clip_ids, domains=domains, seed=seed,
        exclude_hz=_common_frequencies(foreign.families, len(noise_ids)),
    )  # fmt: skip
    counted: list[int] = []  # a quarter of the clips waits for the clusters within levels

    def count(clips: int) -> None:
        counted.append(3 * clips // 4)
        on_clustered(counted[-1])

    clustering = find_clusters_by_domain(points, domains, seed=seed, on_progress=count)
    details = choice.MachineEvidence(*key, clip_ids, points, clustering, track, levels)
    splits = choice.split_levels(details, seed=seed)
    on_clustered(len(group) - sum(counted))
    return details, splits


def _common_frequencies(track: pd.DataFrame, n_clips: int) -> list[float]:
    """Frequencies [Hz] found in at least a fifth of some clips, such as noise alone."""
    if track.empty:
        return []
    points = gather(track)
    support, centres_hz = support_of_levels(points, pd.Index(points["clip_id"].unique()))
    is_common = (support > 0).sum(axis=0) >= max(2.0, FOREIGN_SHARE * n_clips)
    return [float(hz) for hz in centres_hz[is_common]]


def find_clusters_by_domain(
    points: Array,
    domains: Sequence[str],
    *,
    seed: int,
    on_progress: Callable[[int], object] = lambda clips: None,
) -> Clustering:
    """Cluster the largest domain, the others by themselves: another microphone is no attribute.

    Clips of the others (ten target clips) are joined (average linkage) up to 1.5 times the median
    distance within the largest domain's clusters.
    """
    from scipy.spatial.distance import pdist
    from sklearn.cluster import AgglomerativeClustering

    names, domain = np.unique(np.asarray(domains, dtype=str), return_inverse=True)
    largest = int(np.bincount(domain).argmax())
    inside = domain == largest
    main = find_clusters(points[inside], seed=seed, on_progress=on_progress)
    on_progress(int((~inside).sum()))
    if len(names) == 1:
        return main
    if main.n_clusters == 1:
        return unstructured(len(points), main.criterion)
    judged = sample_of(np.arange(len(main.labels)), seed)
    known, their = points[inside][judged], main.labels[judged]
    distances = np.concatenate([pdist(known[their == label]) for label in np.unique(their)])
    model = AgglomerativeClustering(
        n_clusters=None, distance_threshold=1.5 * float(np.median(distances)), linkage="average"
    )
    both = unstructured(len(points), main.criterion)
    both.labels[inside], both.is_outlier[inside] = main.labels, main.is_outlier
    both.confidence[inside] = main.confidence
    both.confidence[~inside] = 0.5  # too few clips for the criteria above
    count = main.n_clusters
    for number in [n for n in range(len(names)) if n != largest]:
        own = points[domain == number]
        joined = sample_of(np.arange(len(own)), seed)
        own_labels: Labels = np.zeros(len(joined), np.int64)
        if len(joined) > 1:
            own_labels = by_size(np.asarray(model.fit_predict(own[joined]), dtype=np.int64))
        both.labels[domain == number] = count + join_nearest(own, joined, own_labels)
        count += int(own_labels.max()) + 1
    return replace(both, n_clusters=count, stability=main.stability, silhouette=main.silhouette)
