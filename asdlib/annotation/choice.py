"""Which annotation a machine gets, by a written rule that sees no true label.

For every machine (and section) without attributes, from its normal training clips alone:

1. Fewer than 20 clips: none; that is too little to tell structure from chance.
2. Frequencies, if their levels are at least two, hold 80 % of the clips, and come out alike
   from halves of the clips (adjusted Rand 0.8).
3. Clusters instead, if an accepted number of clusters exceeds the number of levels and the
   clusters tell the level of a clip (60 % of its entropy): they say the same and more.
4. Both, if the clips of one level fall into clusters by the criteria of
   `asdlib.annotation.clustering`.
5. Clusters, if there is no such frequency but an accepted number of clusters.
6. None otherwise.

Given attributes stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from asdlib.annotation.clustering import (
    MIN_CLIPS,
    Clustering,
    clip_statistics,
    find_clusters,
    find_clusters_by_domain,
    reduce_dimensions,
)
from asdlib.annotation.frequencies import (
    FrequencyLevels,
    FrequencyTrack,
    common_frequencies,
    find_levels,
    track_frequencies,
)
from asdlib.data.store import ArrayStore
from asdlib.errors import InputError

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

METHODS = ("auto", "none", "clusters", "frequencies", "both")
MIN_COVERAGE = 0.8
MIN_STABILITY = 0.8
MIN_TOLD = 0.6
#: Neighbours that lend a clip without a line its level.
_NEIGHBOURS = 5
_N_HALVES = 4


@dataclass(frozen=True)
class MachineEvidence:
    """What one machine's annotation rests on, for figures and for the curious.

    Attributes
    ----------
    machine_type, section : str
    clip_ids : list of str
        Training clips, the order of ``points`` and of the labels.
    points : ndarray of float64, shape (n_clips, n_dimensions)
        Principal components of the log-mel statistics [dB].
    clustering : Clustering
    track : FrequencyTrack
    levels : FrequencyLevels
    """

    machine_type: str
    section: str
    clip_ids: list[str]
    points: Array
    clustering: Clustering
    track: FrequencyTrack
    levels: FrequencyLevels


@dataclass(frozen=True)
class Annotation:
    """Attributes of all training clips, and why they are what they are.

    Attributes
    ----------
    attributes : DataFrame
        ``clip_id, attribute, method, confidence``, one row per training clip in the order of
        the clip table. ``method`` is given, none, clusters, frequencies or both; the
        confidence lies in 0 to 1.
    evidence : DataFrame
        One row per machine and section: the chosen method, the reason in words, and the
        quantities that the rule looks at.
    machines : dict of (str, str) to MachineEvidence
        Details of every annotated machine and section.
    """

    attributes: pd.DataFrame
    evidence: pd.DataFrame
    machines: dict[tuple[str, str], MachineEvidence]


def annotate(
    clips: pd.DataFrame,
    waveforms: ArrayStore,
    log_mel: ArrayStore,
    *,
    method: str | Mapping[str, str] = "auto",
    sr: float = 16000,
    seed: int = 0,
    cache_dir: Path | None = None,
    workers: int | None = None,
    on_progress: Callable[[int], object] = lambda clips: None,
) -> Annotation:
    """Give every training clip an attribute.

    Parameters
    ----------
    clips : DataFrame
        Clip table; training and supplemental clips are read, test clips never.
    waveforms : ArrayStore
        int16 samples of these clips at ``sr``.
    log_mel : ArrayStore
        Log-mel spectrograms of these clips, high-passed as the machine wants it.
    method : str or mapping of machine type to str
        "auto" follows the rule of this module; the others overrule it for machines without
        attributes.
    sr : float
        Sampling rate of the waveforms [Hz].
    seed : int
        Everything random follows from it.
    cache_dir : Path, optional
        Folder of the caches, for the frequencies of clips that were looked at before.
    workers : int, optional
        Threads for the envelope analysis.
    on_progress : callable
        Called with the number of training clips just finished.

    Returns
    -------
    Annotation

    Raises
    ------
    InputError
        For an unknown method or machine, or clips that the stores do not hold.
    """
    train = clips[clips["split"] == "train"]
    chosen = _methods(method, sorted(train["machine_type"].unique()))
    track_families = partial(
        track_frequencies, waveforms=waveforms, sr=sr, seed=seed, cache_dir=cache_dir,
        workers=workers,
    )  # fmt: skip
    tables, evidence, machines = [], [], {}
    for (machine, section), group in train.groupby(["machine_type", "section"], sort=True):
        key = (str(machine), str(section))
        if group["attribute"].notna().all():
            tables.append(_table(group, group["attribute"], "given", 1.0))
            evidence.append({**_names(key, group), "method": "given", "reason": "given"})
            on_progress(len(group))
            continue
        extra = clips[(clips["machine_type"] == machine) & (clips["split"] == "supplemental")]
        noise_ids = extra.loc[extra["supplemental_kind"] == "noise", "clip_id"].tolist()
        table, row, details = _annotate_machine(
            key, group, noise_ids, log_mel, track_families,
            method=chosen[key[0]], seed=seed, on_progress=on_progress,
        )  # fmt: skip
        tables.append(table)
        evidence.append(row)
        if details is not None:
            machines[key] = details
    attributes = pd.concat(tables).loc[train.index].reset_index(drop=True)
    return Annotation(attributes, pd.DataFrame(evidence), machines)


def _methods(method: str | Mapping[str, str], machines: list[str]) -> dict[str, str]:
    given = dict.fromkeys(machines, method) if isinstance(method, str) else dict(method)
    unknown = sorted(set(given) - set(machines))
    if unknown:
        raise InputError(
            f"method names {', '.join(unknown)}: no such machine; there are {', '.join(machines)}."
        )
    for name in given.values():
        if name not in METHODS:
            raise InputError(f"method = {name!r}: expected one of {', '.join(METHODS)}.")
    return {machine: given.get(machine, "auto") for machine in machines}


def _names(key: tuple[str, str], group: pd.DataFrame) -> dict[str, object]:
    return {"machine_type": key[0], "section": key[1], "n_clips": len(group)}


def _table(
    group: pd.DataFrame, attribute: pd.Series | str, method: str, confidence: pd.Series | float
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "clip_id": group["clip_id"],
            "attribute": attribute,
            "method": method,
            "confidence": confidence,
        },
        index=group.index,
    ).astype({"attribute": "string"})


def _annotate_machine(
    key: tuple[str, str],
    group: pd.DataFrame,
    noise_ids: list[str],
    log_mel: ArrayStore,
    track_families: Callable[..., FrequencyTrack],
    *,
    method: str,
    seed: int,
    on_progress: Callable[[int], object],
) -> tuple[pd.DataFrame, dict[str, object], MachineEvidence | None]:
    if len(group) < MIN_CLIPS:
        reason = f"too little to tell: {len(group)} clips, {MIN_CLIPS} needed"
        on_progress(len(group))
        row = {**_names(key, group), "method": "none", "reason": reason}
        return _table(group, "none", "none", 1.0), row, None
    clip_ids = group["clip_id"].tolist()
    domains = group["domain"].fillna("").astype(str).tolist()
    statistics = clip_statistics(log_mel, clip_ids, noise_ids=noise_ids)
    points = reduce_dimensions(statistics, seed=seed)
    track = track_families(clip_ids, on_progress=on_progress)
    foreign = track_families(noise_ids, bands_hz=track.bands_hz)
    foreign_hz = common_frequencies(foreign.families, len(noise_ids))
    levels = find_levels(track.families, clip_ids, domains=domains, exclude_hz=foreign_hz)
    details = MachineEvidence(
        *key, clip_ids, points, find_clusters_by_domain(points, domains, seed=seed), track, levels
    )
    found = _judge(details, domains, foreign_hz, seed=seed)
    final, reason = _rule(found) if method == "auto" else (method, "asked for")
    labels, confidence = _labels(details, final, seed=seed)
    if labels.nunique() < 2:
        labels[:], confidence[:] = "none", 1.0
        if final != "none":
            final, reason = "none", f"{reason}, but {final} give one class only"
    row = {**_names(key, group), "method": final, "reason": reason, **found}
    row["n_classes"] = labels.nunique()
    labels.index = confidence.index = group.index
    return _table(group, labels, final, confidence), row, details


def _judge(
    details: MachineEvidence, domains: list[str], foreign_hz: list[float], *, seed: int
) -> dict[str, object]:
    """Quantities that the rule looks at."""
    from sklearn.metrics import homogeneity_score, normalized_mutual_info_score

    levels, clustering = details.levels, details.clustering
    frequency_labels = np.asarray(levels.labels, dtype=np.int64)
    splits = _splits(details, seed=seed)
    return {
        "n_levels": len(levels.levels_hz),
        "coverage": levels.coverage,
        "level_stability": _level_stability(details, domains, foreign_hz, seed=seed),
        "level_gap": _level_gap(levels),
        "level_predictability": _predictability(details.points, frequency_labels),
        "n_clusters": clustering.n_clusters,
        "cluster_stability": clustering.stability,
        "silhouette": clustering.silhouette,
        "agreement_nmi": float(normalized_mutual_info_score(frequency_labels, clustering.labels)),
        "levels_told_by_clusters": float(homogeneity_score(frequency_labels, clustering.labels)),
        "n_split_levels": len(splits),
    }


def _rule(found: Mapping[str, object]) -> tuple[str, str]:
    """Return method and reason; see the module."""
    value = {name: float(str(number)) for name, number in found.items()}
    if value["n_levels"] < 2:
        frequencies = "no frequency tells clips apart"
    elif value["coverage"] < MIN_COVERAGE:
        frequencies = f"frequency levels hold only {value['coverage']:.0%} of the clips"
    elif value["level_stability"] < MIN_STABILITY:
        frequencies = f"frequency levels are unstable ({value['level_stability']:.2f})"
    else:
        words = f"{value['n_levels']:.0f} levels hold {value['coverage']:.0%} of the clips"
        if value["n_clusters"] > value["n_levels"] and value["levels_told_by_clusters"] >= MIN_TOLD:
            count = value["n_clusters"]
            return "clusters", f"{count:.0f} clusters tell the frequency level, and more"
        if value["n_split_levels"]:
            return "both", f"{words}; {value['n_split_levels']:.0f} fall into clusters"
        return "frequencies", words
    if value["n_clusters"] > 1:
        stability = value["cluster_stability"]
        return "clusters", (
            f"{value['n_clusters']:.0f} clusters, stability {stability:.2f}; {frequencies}"
        )
    return "none", f"{frequencies}; no number of clusters is accepted"


def _level_stability(
    details: MachineEvidence, domains: list[str], foreign_hz: list[float], *, seed: int
) -> float:
    """Mean adjusted Rand index between the levels of halves of the clips and those of all."""
    from sklearn.metrics import adjusted_rand_score

    rng = np.random.default_rng(seed)
    values = []
    for _ in range(_N_HALVES):
        order = rng.permutation(len(details.clip_ids))
        for half in (order[::2], order[1::2]):
            ids = [details.clip_ids[i] for i in half]
            track = details.track.families
            levels = find_levels(
                track[track["clip_id"].isin(ids)],
                ids,
                domains=[domains[i] for i in half],
                exclude_hz=foreign_hz,
            )
            values.append(adjusted_rand_score(details.levels.labels[ids], levels.labels[ids]))
    return float(np.mean(values))


def _level_gap(levels: FrequencyLevels) -> float:
    """Smallest distance of neighbouring levels over the scatter within levels, in log f."""
    if len(levels.levels_hz) < 2:
        return 0.0
    inside = levels.labels >= 0
    centres = levels.levels_hz[levels.labels[inside].to_numpy()]
    scatter = float(np.median(np.abs(np.log(levels.frequency_hz[inside] / centres)))) * 1.48
    return float(np.diff(np.log(levels.levels_hz)).min() / max(scatter, 1e-4))


def _predictability(points: Array, labels: Labels) -> float:
    """Share of clips whose label their nearest other clips in ``points`` tell, above chance.

    0 = no better than the most frequent label, 1 = always.
    """
    inside = labels >= 0
    names, counts = np.unique(labels[inside], return_counts=True)
    if len(names) < 2 or inside.sum() < MIN_CLIPS:
        return 0.0
    told = _neighbour_labels(points[inside], points[inside], labels[inside], skip_first=True)
    chance = counts.max() / counts.sum()
    return float(max(0.0, ((told == labels[inside]).mean() - chance) / (1.0 - chance)))


def _neighbour_labels(
    points: Array, known: Array, labels: Labels, *, skip_first: bool = False
) -> Labels:
    from sklearn.neighbors import NearestNeighbors

    first = int(skip_first)
    count = min(_NEIGHBOURS + first, len(known))
    nearest = NearestNeighbors(n_neighbors=count).fit(known).kneighbors(points)[1][:, first:]
    return np.array([np.bincount(row).argmax() for row in labels[nearest]], dtype=np.int64)


def _splits(details: MachineEvidence, *, seed: int) -> dict[int, Clustering]:
    """Levels whose clips fall into accepted clusters."""
    labels = details.levels.labels.to_numpy()
    found = {}
    for level in range(len(details.levels.levels_hz)):
        inside = labels == level
        if inside.sum() >= MIN_CLIPS:
            clustering = find_clusters(details.points[inside], seed=seed, max_clusters=6)
            if clustering.n_clusters > 1:
                found[level] = clustering
    return found


def _labels(
    details: MachineEvidence, method: str, *, seed: int
) -> tuple[pd.Series[str], pd.Series[float]]:
    """Attribute and confidence of every clip by a method."""
    ids = details.clip_ids
    if method == "none":
        return pd.Series("none", ids, dtype=object), pd.Series(1.0, ids)
    if method == "clusters":
        clustering = details.clustering
        names = [f"cluster_{label + 1}" for label in clustering.labels]
        certainty = np.where(clustering.is_outlier, 0.0, clustering.confidence)
        return pd.Series(names, ids, dtype=object), pd.Series(certainty, ids)
    levels = details.levels
    if len(levels.levels_hz) == 0:
        return pd.Series("none", ids, dtype=object), pd.Series(1.0, ids)
    labels = np.array(levels.labels, dtype=np.int64)
    confidence = np.array(levels.confidence, dtype=np.float64)
    lost = labels < 0
    if lost.any():
        known = details.points[~lost]
        labels[lost] = _neighbour_labels(details.points[lost], known, labels[~lost])
        confidence[lost] = 0.0
    level_names = [f"f_{frequency:.3g}Hz" for frequency in levels.levels_hz]
    attributes = np.array([level_names[label] for label in labels], dtype=object)
    if method == "both":
        for level, clustering in _splits(details, seed=seed).items():
            held = np.flatnonzero(~lost & (labels == level))
            strays = np.flatnonzero(lost & (labels == level))
            known, parts = details.points[held], clustering.labels
            attributes[held] = [f"{level_names[level]}_cluster_{p + 1}" for p in parts]
            confidence[held] *= clustering.confidence
            if len(strays):
                told = _neighbour_labels(details.points[strays], known, parts)
                attributes[strays] = [f"{level_names[level]}_cluster_{p + 1}" for p in told]
    return pd.Series(attributes, ids, dtype=object), pd.Series(confidence, ids)
