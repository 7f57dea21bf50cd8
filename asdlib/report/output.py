"""What a run says while it works, and leaves: texts and tables that say whence they come."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
from IPython import get_ipython
from tqdm import tqdm

from asdlib.base import PROJECT_ROOT, file_hash, write_atomically

#: Set to "log" by whoever redirects the output to a file: one line every now and then
#: instead of a line that is overwritten.
PROGRESS_VARIABLE = "ASDLIB_PROGRESS"
#: Set by whoever executes a notebook with nobody before it: no menus there.
STATIC_VARIABLE = "ASDLIB_STATIC"
_LOG_INTERVAL_S = 10.0
_PACKAGES = ("torch", "numpy", "scipy", "pandas", "scikit-learn", "librosa", "matplotlib")
#: Texts that a spreadsheet would run as a formula; +3, -3.5 and names such as "-pump" it would not.
_FORMULA = re.compile(r"[=@\t\r]|[+-](?![\w .+-]*$)")


class _LogBar(tqdm):  # type: ignore[misc]
    """A bar that writes whole lines, for output that cannot be overwritten."""

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:  # noqa: ARG002
        """Write the bar as a line of its own."""
        self.fp.write((msg if msg is not None else str(self)) + "\n")
        self.fp.flush()
        return True


@contextmanager
def progress_bar(
    total: int, description: str, *, unit: str = "clip", is_scaled: bool = False
) -> Iterator[Callable[[int], object]]:
    """Show a bar while a block runs; yields what counts it forward.

    It stands on standard error, in JupyterLab on standard output: the other is red there.
    ``is_scaled`` shows counts with k, M and G, as for bytes.
    """
    watched = _is_watched()
    file = sys.stdout if watched else sys.stderr
    options: dict[str, Any] = {"desc": description, "file": file, "ncols": 100}
    options |= {"unit": unit if is_scaled else f" {unit}", "unit_scale": is_scaled}
    options["delay"] = 1.0  # what is over in a second needs no bar
    if os.environ.get(PROGRESS_VARIABLE) == "log" and not watched:
        seconds = _LOG_INTERVAL_S
        bar = _LogBar(total=total, mininterval=seconds, maxinterval=seconds, **options)
    else:
        bar = tqdm(total=total, mininterval=0.5, **options)
    with bar:
        yield bar.update


def _is_watched() -> bool:
    """Whether this is a notebook that somebody sits before."""
    return get_ipython() is not None and not os.environ.get(STATIC_VARIABLE)


def shorten_interrupts() -> None:
    """Let an interrupted cell end in one line, where somebody sits before the notebook."""
    if _is_watched():
        get_ipython().set_custom_exc((KeyboardInterrupt,), _say_interrupted)


def _say_interrupted(_shell: Any, *_error: Any, tb_offset: int | None = None) -> list[str]:  # noqa: ARG001
    message = "Interrupted. What was computed stays: run the cell again to go on."
    sys.stderr.write(message + "\n")
    return [message]


def say(message: str) -> None:
    """Tell the user something on standard error."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()


@cache
def package_versions() -> dict[str, str]:
    """Installed versions of the packages that shape results, and of Python."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "missing"
    return versions


def collect_provenance(**facts: Any) -> dict[str, Any]:
    """Join JSON-serialisable facts of a run with the state of code, packages and clock."""
    return {
        **facts,
        "git": _git_state(),
        "versions": package_versions(),
        "platform": platform.machine(),
        "utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _git_state() -> dict[str, Any]:
    """Commit of the code and whether tracked files differ from it; None outside git."""

    def ask(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(PROJECT_ROOT), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        # Results are rewritten by every run, so they do not make the code "dirty".
        changed = ask("status", "--porcelain", "--untracked-files=no", "--", "asdlib", "notebooks")
        return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(changed)}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


def shown_path(path: Path) -> str:
    """Give a path as results may show it: relative to the project where it lies inside it."""
    resolved = path.resolve()
    if resolved.is_relative_to(PROJECT_ROOT):
        return resolved.relative_to(PROJECT_ROOT).as_posix()
    return resolved.as_posix()


def sidecar_path(path: Path) -> Path:
    """Give the path of a result's sidecar: the file name with ``.json`` behind it."""
    return path.with_name(path.name + ".json")


def write_sidecar(path: Path, *files: Path, provenance: dict[str, Any]) -> Path:
    """Write a sidecar that names its files with the first digits of their SHA-256."""
    facts = {**provenance, "sha256": {file.name: file_hash(file) for file in files}}
    write_atomically(path, json.dumps(facts, indent=1, sort_keys=True, default=str) + "\n")
    return path


def was_edited(path: Path) -> bool:
    """Whether a result exists and differs from what its sidecar says was written."""
    sidecar = sidecar_path(path)
    if not path.exists() or not sidecar.exists():
        return path.exists()
    return bool(json.loads(sidecar.read_text())["sha256"].get(path.name) != file_hash(path))


def save_text(text: str, path: Path, *, provenance: dict[str, Any]) -> list[Path]:
    """Write a text file and its sidecar; returns both paths.

    A file that somebody changed by hand since it was written is not lost: it is kept beside
    the new one with ``_edited`` behind its stem, and its path is the third that is returned.
    """
    kept = []
    if was_edited(path) and path.read_text(encoding="utf-8") != text:
        kept = [path.replace(path.with_name(f"{path.stem}_edited{path.suffix}"))]
    write_atomically(path, text)
    return [path, write_sidecar(sidecar_path(path), path, provenance=provenance), *kept]


def save_table(table: pd.DataFrame, path: Path, *, provenance: dict[str, Any]) -> list[Path]:
    """Write a table as CSV (empty where unknown) as `save_text` does.

    A text that a spreadsheet would run as a formula gets an apostrophe before it.
    """
    harmless = table.copy(deep=False)
    for name in table.select_dtypes(exclude=["number", "bool"]):
        texts = table[name].astype(object)
        is_formula = texts.map(lambda text: isinstance(text, str) and bool(_FORMULA.match(text)))
        if is_formula.any():
            harmless[name] = texts.mask(is_formula, "'" + texts.astype("string"))
    return save_text(harmless.to_csv(index=False), path, provenance=provenance)
