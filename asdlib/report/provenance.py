"""Where a table or figure came from: the JSON sidecar beside every result."""

from __future__ import annotations

import json
import platform
import subprocess
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("torch", "numpy", "scipy", "pandas", "scikit-learn", "librosa", "matplotlib")
PROJECT_ROOT = Path(__file__).resolve().parents[2]


def git_state(root: Path = PROJECT_ROOT) -> dict[str, Any]:
    """Commit of the code and whether tracked files differ from it; None outside git."""

    def ask(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        # Results are rewritten by every run, so they do not make the code "dirty".
        changed = ask("status", "--porcelain", "--untracked-files=no", "--", "asdlib", "notebooks")
        return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(changed)}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


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
    """Join the facts of a run with the state of code, packages and clock.

    Parameters
    ----------
    **facts
        JSON-serialisable: notebook, settings, seeds, device, data manifest hash...

    Returns
    -------
    dict
    """
    return {
        **facts,
        "git": git_state(),
        "versions": package_versions(),
        "platform": platform.machine(),
        "utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def shown_path(path: Path) -> str:
    """Give a path as results may show it: relative to the project where it lies inside it."""
    resolved = path.resolve()
    if resolved.is_relative_to(PROJECT_ROOT):
        return resolved.relative_to(PROJECT_ROOT).as_posix()
    return resolved.as_posix()


def sidecar_text(provenance: dict[str, Any]) -> str:
    """Text of a sidecar file."""
    return json.dumps(provenance, indent=1, sort_keys=True, default=str) + "\n"
