"""The file of a sweep: what is compared with what, read and checked before anything runs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from asdlib.errors import InputError
from asdlib.workbook.notebooks import PROFILES, Notebook, read_parameters
from asdlib.workbook.parameters import read_whole

#: Name of the variant that the others are compared with.
REFERENCE = "reference"
#: What a sweep judges unless told otherwise: the report's system of ``scores.csv``.
DEFAULT_SYSTEM = "knn"
_TOP_KEYS = ("reference", "seeds", "system", "variants", "grid")
_REFERENCE_KEYS = ("profile", "data", "machines")
_VARIANT_KEYS = ("group", "system", "seeds")
_SET_ELSEWHERE = {
    "data_dir": "say data under reference",
    "out_dir": "use --out",
    "run_name": "use --name",
    "workers": "it is the threads of a Dask worker (OMP_NUM_THREADS)",
}

#: Seeds of one execution: one seed, or those of an ensemble.
Seeds = tuple[int, ...]


@dataclass(frozen=True)
class Variant:
    """One row of the sweep's table."""

    name: str
    group: str  # a heading in table and figure; may be empty
    system: str  # which system of ``scores.csv`` is judged
    changes: dict[str, Any]  # parameters that differ from the reference's
    seeds: tuple[Seeds, ...]  # executions, as they are paired with the reference's


@dataclass(frozen=True)
class SweepFile:
    """What a sweep file says."""

    path: Path
    profile: str
    data: Path | None  # recordings; None for the simulated corpus of the profile
    machines: list[str]  # empty for all
    parameters: dict[str, Any]  # the reference's, where they differ from the profile's
    variants: list[Variant]  # the reference first


def read_sweep_file(
    path: Path, notebooks: list[Notebook], *, profile: str | None = None
) -> SweepFile:
    """Read a sweep file (examples in ``sweeps/``); ``profile`` overrules the file's.

    Variants have names of their own, and as many seeds as the reference.
    """
    content = _read_yaml(path)
    _refuse_unknown(content, _TOP_KEYS, f"{path}:")
    reference = _mapping(content.get("reference"), f"{path}: reference")
    own = {name: value for name, value in reference.items() if name not in _REFERENCE_KEYS}
    seeds = _seeds(content.get("seeds", ["0"]), f"{path}: seeds")
    system = str(content.get("system", DEFAULT_SYSTEM))
    variants = [Variant(REFERENCE, "", system, {}, seeds)]
    for name, group, entry in _listed(content, path):
        where = f"{path}: {name}:"
        changes = {key: value for key, value in entry.items() if key not in _VARIANT_KEYS}
        variants.append(
            Variant(
                name=name,
                group=group,
                system=str(entry.get("system", system)),
                changes=_parameters(changes, notebooks, where),
                seeds=_seeds(entry["seeds"], where) if "seeds" in entry else seeds,
            )
        )
    _check(variants, path)
    machines = reference.get("machines") or []
    if not isinstance(machines, list):
        raise InputError(f"{path}: machines = {machines!r}: expected a list of machine types.")
    data = reference.get("data")
    return SweepFile(
        path=path,
        profile=_profile(profile or reference.get("profile", "demo"), path),
        data=None if data is None else path.parent / str(data),
        machines=[str(machine) for machine in machines],
        parameters=_parameters(own, notebooks, f"{path}: reference:"),
        variants=variants,
    )


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        # As text alone: what is a number is said by the parameters' declaration, not by YAML.
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}). Name a sweep file.") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: is no YAML: {error}") from error
    return _mapping(content, str(path))


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if value in (None, ""):
        return {}
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected entries of the form 'name: value', found {value!r}.")
    return {str(name): entry for name, entry in value.items()}


def _listed(content: Mapping[str, Any], path: Path) -> list[tuple[str, str, dict[str, Any]]]:
    """Give name, group and entry of the named variants, then of those of the grids."""
    named = _mapping(content.get("variants"), f"{path}: variants")
    entries = {name: _mapping(entry, f"{path}: {name}") for name, entry in named.items()}
    listed = [(name, str(entry.get("group", "")), entry) for name, entry in entries.items()]
    grids = content.get("grid") or []
    for grid in grids if isinstance(grids, list) else [grids]:
        axes = _mapping(grid, f"{path}: grid")
        for name, values in axes.items():
            if not isinstance(values, list) or not values:
                raise InputError(f"{path}: grid: {name} = {values}: expected a list of values.")
        for chosen in itertools.product(*axes.values()):
            entry = dict(zip(axes, chosen, strict=True))
            name = ", ".join(f"{key} = {value}" for key, value in entry.items())
            listed.append((name, " × ".join(axes), entry))
    return listed


def _parameters(values: Mapping[str, Any], notebooks: list[Notebook], where: str) -> dict[str, Any]:
    for name, instead in {**_SET_ELSEWHERE, "seeds": "say seeds beside variants"}.items():
        if name in values:
            raise InputError(f"{where} {name}: is no parameter of a sweep; {instead}.")
    for name in ("machines", "profile", "data"):
        if name in values:
            raise InputError(f"{where} {name}: is the same for all variants; say it of reference.")
    return read_parameters(values, notebooks, where=f"{where} ")


def _profile(name: Any, path: Path) -> str:
    if name not in PROFILES:
        raise InputError(f"{path}: profile {name!r}: there are {', '.join(PROFILES)}.")
    return str(name)


def _seeds(value: Any, where: str) -> tuple[Seeds, ...]:
    """Read ``[0, 1]`` as two executions, ``[[0, 1], [2, 3]]`` as two of two seeds each."""
    entries = value if isinstance(value, list) else [value]
    seeds = tuple(
        tuple(map(read_whole, entry if isinstance(entry, list) else [entry])) for entry in entries
    )
    is_whole = all(type(number) is int for entry in seeds for number in entry)
    if not is_whole or not all(seeds) or len(set(seeds)) != len(seeds) or not seeds:
        raise InputError(f"{where} {value!r}: expected different whole numbers, such as [0, 1, 2].")
    return seeds


def _check(variants: list[Variant], path: Path) -> None:
    names = [variant.name for variant in variants]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        taken = " (the name of the reference itself)" if doubled[0] == REFERENCE else ""
        raise InputError(f"{path}: two variants are called {doubled[0]!r}{taken}. Rename one.")
    expected = len(variants[0].seeds)
    for variant in variants:
        if len(variant.seeds) != expected:
            raise InputError(
                f"{path}: {variant.name}: has {len(variant.seeds)} seeds, the reference "
                f"{expected}. Give it as many, so that each has a partner."
            )


def _refuse_unknown(content: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    unknown = sorted(set(content) - set(known))
    if unknown:
        raise InputError(f"{where} {', '.join(unknown)}: unknown. There are: {', '.join(known)}.")
