"""The file of a sweep, read and checked before anything runs, and the cells that follow from it.

Every variant and seed is a *cell*: one chain of notebooks, whose stages may belong to several.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from asdlib.base import InputError, refuse_unknown
from asdlib.workbook.notebooks import PROFILES, Notebook, read_parameters
from asdlib.workbook.parameters import read_parameter, read_whole
from asdlib.workbook.stages import Stage, code_key, key_of_data, plan_chain

#: Name of the variant that the others are compared with.
REFERENCE = "reference"
_TOP_KEYS = ("reference", "seeds", "system", "variants", "grid")
_OF_ALL = "is the same for all variants; say it of reference"
_SET_ELSEWHERE = {
    "data_dir": "is no parameter of a sweep; say data under reference",
    "out_dir": "is no parameter of a sweep; use --out",
    "run_name": "is no parameter of a sweep; use --name",
    "workers": "is no parameter of a sweep; it is the threads of a Dask worker (OMP_NUM_THREADS)",
    "seeds": "is no parameter of a sweep; say seeds beside variants",
    "machines": _OF_ALL, "profile": _OF_ALL, "data": _OF_ALL,
}  # fmt: skip

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
    try:
        # As text alone: what is a number is said by the parameters' declaration, not by YAML.
        loaded = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}). Name a sweep file.") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: is no YAML: {error}") from error
    content = _mapping(loaded, str(path))
    refuse_unknown(content, _TOP_KEYS, f"{path}: unknown")
    reference = _mapping(content.get("reference"), f"{path}: reference")
    data, machines = reference.pop("data", None), reference.pop("machines", None) or []
    machines = read_parameter("machines", machines, where=f"{path}: ")
    stated = str(reference.pop("profile", "demo"))
    profile = profile or stated
    refuse_unknown([profile], PROFILES, f"{path}: no profile")
    seeds = _seeds(content.get("seeds", ["0"]), f"{path}: seeds")
    variants = [Variant(REFERENCE, "", str(content.get("system", "knn")), {}, seeds)]
    for name, group, entry in _listed(content, path):
        variants.append(_variant(name, group, entry, variants[0], notebooks, f"{path}: {name}:"))
    names = [variant.name for variant in variants]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        taken = " (the name of the reference itself)" if doubled[0] == REFERENCE else ""
        raise InputError(f"{path}: two variants are called {doubled[0]!r}{taken}. Rename one.")
    return SweepFile(
        path=path,
        profile=profile,
        data=None if data is None else path.parent / str(data),
        machines=machines,
        parameters=_parameters(reference, notebooks, f"{path}: reference:"),
        variants=variants,
    )


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if value in (None, ""):
        return {}
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected entries of the form 'name: value', found {value!r}.")
    return {str(name): entry for name, entry in value.items()}


def _listed(content: Mapping[str, Any], path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Give name, group and entry of the named variants, then of those of the grids."""
    for name, named in _mapping(content.get("variants"), f"{path}: variants").items():
        entry = _mapping(named, f"{path}: {name}")
        yield name, str(entry.pop("group", "")), entry
    grids = content.get("grid") or []
    for grid in grids if isinstance(grids, list) else [grids]:
        axes = _mapping(grid, f"{path}: grid")
        for name, values in axes.items():
            if not isinstance(values, list) or not values:
                raise InputError(f"{path}: grid: {name} = {values}: expected a list of values.")
        for chosen in itertools.product(*axes.values()):
            entry = dict(zip(axes, chosen, strict=True))
            name = ", ".join(f"{key} = {value}" for key, value in entry.items())
            yield name, " × ".join(axes), entry


def _variant(
    name: str, group: str, entry: dict[str, Any], reference: Variant,
    notebooks: list[Notebook], where: str,
) -> Variant:  # fmt: skip
    """Read one variant; what it does not say is the reference's."""
    system = str(entry.pop("system", reference.system))
    seeds = _seeds(entry.pop("seeds"), where) if "seeds" in entry else reference.seeds
    if len(seeds) != len(reference.seeds):
        raise InputError(
            f"{where} has {len(seeds)} seeds, the reference {len(reference.seeds)}. "
            "Give it as many, so that each has a partner."
        )
    return Variant(name, group, system, _parameters(entry, notebooks, where), seeds)


def _parameters(values: Mapping[str, Any], notebooks: list[Notebook], where: str) -> dict[str, Any]:
    for name, instead in _SET_ELSEWHERE.items():
        if name in values:
            raise InputError(f"{where} {name}: {instead}.")
    return read_parameters(values, notebooks, where=f"{where} ")


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


@dataclass(frozen=True)
class Cell:
    """One variant with one of its seeds."""

    variant: Variant
    position: int  # which of the variant's seeds; cells of one position are paired
    chain: list[Stage]  # the notebooks, in order

    @property
    def seeds(self) -> str:
        """Its seed, or those of an ensemble, as text."""
        return "+".join(map(str, self.variant.seeds[self.position]))

    @property
    def name(self) -> str:
        """Name for messages."""
        return f"{self.variant.name}, seed {self.seeds}"

    @property
    def is_finished(self) -> bool:
        """Whether its last notebook ran to the end."""
        return self.chain[-1].is_finished


def plan_cells(
    sweep: SweepFile, notebooks: Sequence[Notebook], *, data: Path, build: Path
) -> list[Cell]:
    """Give all cells of a sweep: first those of the first seed, so that each seed is complete."""
    plan = partial(
        plan_chain, [(notebook, code_key(notebook.path)) for notebook in notebooks],
        data=data.resolve(), data_key=key_of_data(data, sweep.machines),
        root=build.resolve() / "sweeps",
    )  # fmt: skip
    common = {**PROFILES[sweep.profile], **sweep.parameters, "machines": sweep.machines}
    cells = []
    for position in range(len(sweep.variants[0].seeds)):
        for variant in sweep.variants:
            seeds = list(variant.seeds[position])
            chain = plan({**common, **variant.changes, "seeds": seeds})
            cells.append(Cell(variant, position, chain))
    return cells
