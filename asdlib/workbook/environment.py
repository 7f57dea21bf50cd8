"""Does this interpreter satisfy requirements.txt? Standard library only.

Called by ``run_all.sh`` before anything is installed::

    python environment.py satisfied requirements.txt     exit status 0 or 1
    python environment.py fingerprint requirements.txt   prints what .venv must be built from
"""

from __future__ import annotations

import hashlib
import platform
import sys
from importlib import metadata
from pathlib import Path


def required_versions(text: str) -> dict[str, str]:
    """Read ``name==version`` lines without comments; any other line is a ValueError."""
    pins = {}
    for line in text.splitlines():
        requirement = line.split("#")[0].strip()
        if requirement:
            name, separator, version = requirement.partition("==")
            if not separator:
                raise ValueError(f"requirements.txt: expected name==version, found {requirement!r}")
            pins[name.strip()] = version.strip()
    return pins


def unsatisfied(pins: dict[str, str]) -> list[str]:
    """Names of the pinned packages that are missing or installed in another version.

    A local label such as ``+cpu`` or ``+cu130`` does not count as another version.
    """
    wrong = []
    for name, version in pins.items():
        try:
            installed = metadata.version(name).split("+")[0]
        except metadata.PackageNotFoundError:
            installed = ""
        if installed != version:
            wrong.append(name)
    return wrong


def fingerprint(text: str) -> str:
    """Hash of the requirements and of the interpreter's version."""
    version = ".".join(map(str, sys.version_info[:2]))
    return hashlib.sha256(f"{version}\n{text}".encode()).hexdigest()


def obstacle() -> str:
    """Say why the requirements cannot be installed here; empty if they can."""
    version = ".".join(map(str, sys.version_info[:2]))
    if not (3, 10) <= sys.version_info[:2] <= (3, 13):
        return f"is Python {version}: expected 3.10 to 3.13. Name one with PYTHON=/path/to/python."
    if (sys.platform, platform.machine()) == ("darwin", "x86_64"):
        return (
            "runs on an Intel Mac (or under Rosetta), for which there is no such PyTorch: use "
            "Apple silicon's own Python, Linux, or a container."
        )
    return ""


def main(arguments: list[str]) -> int:
    """Answer one question of ``run_all.sh``; see the module's docstring."""
    question, path = arguments
    text = Path(path).read_text(encoding="utf-8")
    if question == "fingerprint":
        if obstacle():
            sys.stderr.write(f"run_all.sh: {sys.executable} {obstacle()}\n")
            return 2
        sys.stdout.write(fingerprint(text) + "\n")
        return 0
    return 1 if unsatisfied(required_versions(text)) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
