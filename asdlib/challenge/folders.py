"""Folders of recordings: what an archive is unpacked to, and what of it a run may see.

An archive is extracted to a hidden folder beside its destination (``.<archive>.partial``), which is
renamed to ``.<archive>.complete`` once every file is there and its checksum holds. Only then do its
pieces move into the machine's folder, the training clips last: what is half unpacked is never taken
for data.

A view is a data folder in the challenge's layout made of links: training and test clips of machines
that are scored, training clips of those that only train along. The truth of evaluation clips is not
in it, so that whatever reads clips, annotates, trains or selects cannot see it.
"""

from __future__ import annotations

import json
import shutil
import stat
import threading
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from asdlib.base import InputError, write_atomically, writing
from asdlib.challenge.catalogue import SUBSET_FOLDERS, SUBSETS, Edition, Lock
from asdlib.challenge.transfer import StoppedError
from asdlib.data.audio import list_recordings
from asdlib.data.told import SPLIT_FOLDERS, split_folders

FILE_NAME = "dataset.json"
_TRAINING = ("train", "supplemental")
#: Recorded sound shrinks to a half at best; an archive that grows by more holds something else.
_LARGEST_RATIO = 4
_ALWAYS_ALLOWED_BYTES = 1 << 20
_JUNK = {"__MACOSX", ".DS_Store", "Thumbs.db"}


#: A file of an archive, and where it belongs below its machine's folder.
_Member = tuple[zipfile.ZipInfo, PurePosixPath]


def _read_members(archive: zipfile.ZipFile, path: Path, machine_type: str) -> list[_Member]:
    """List the files of an archive with their places; texts elsewhere stay where they are."""
    members: dict[str, _Member] = {}
    for info in archive.infolist():
        parts = PurePosixPath(info.filename.replace("\\", "/")).parts
        if info.is_dir() or not parts or _JUNK & set(parts) or parts[-1].startswith("._"):
            continue
        is_link = stat.S_ISLNK(info.external_attr >> 16)
        if is_link or parts[0].startswith("/") or ".." in parts or ":" in parts[0]:
            raise InputError(
                f"{path}: holds {info.filename!r}, which would be written outside its folder. "
                "Nothing was unpacked. Delete the archive and fetch it from the record."
            )
        place = _place(parts, machine_type)
        if place is None:
            if not info.filename.lower().endswith(".wav"):
                continue  # a text somewhere else, such as doc/readme.txt
            raise InputError(
                f"{path}: holds {info.filename!r}, expected files of {machine_type} alone. "
                "Is it the archive of another machine?"
            )
        if members.setdefault(str(place).lower(), (info, place))[0] is not info:
            raise InputError(f"{path}: holds {place} twice. Fetch the archive again.")
    return list(members.values())


def unpack(
    path: Path,
    machine_folder: Path,
    *,
    splits: tuple[str, ...],
    on_ready: Callable[[dict[str, int]], object] = lambda clips: None,
    stopped: threading.Event | None = None,
) -> None:
    """Unpack an archive, which must hold the ``splits``, into a machine's folder.

    ``on_ready`` is called with the clips of every split when all is extracted, before anything
    moves to its place: what is noted then holds, wherever a kill may come.
    """
    stem = machine_folder.parent / f".{machine_folder.name}@{path.stem}"
    partial, complete = Path(f"{stem}.partial"), Path(f"{stem}.complete")
    shutil.rmtree(partial, ignore_errors=True)
    remedy = "Free space or name another folder (--data-dir), then run the same command."
    with ExitStack() as failed:
        failed.callback(shutil.rmtree, partial, ignore_errors=True)
        try:
            with writing(partial, remedy), zipfile.ZipFile(path) as archive:
                members = _read_members(archive, path, machine_folder.name)
                wavs = [place for _, place in members if place.suffix.lower() == ".wav"]
                clips = dict(Counter(place.parts[0] for place in wavs if len(place.parts) > 1))
                _check_content(path, clips, splits, machine_folder)
                _check_room(path, members, machine_folder.parent)
                for info, place in members:
                    if stopped is not None and stopped.is_set():
                        raise StoppedError
                    (partial / place).parent.mkdir(parents=True, exist_ok=True)
                    with archive.open(info) as source, (partial / place).open("wb") as sink:
                        shutil.copyfileobj(source, sink, 1 << 20)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            raise InputError(f"{path}: is damaged ({error}). Fetch it again.") from error
        failed.pop_all()
    on_ready(clips)
    partial.rename(complete)
    settle(complete, machine_folder)


def settle(complete: Path, machine_folder: Path) -> None:
    """Move what was unpacked completely to its place; may be repeated after any interruption."""
    if not machine_folder.exists():
        complete.rename(machine_folder)
        return
    for piece in sorted(complete.iterdir(), key=lambda piece: (piece.name == "train", piece.name)):
        target = machine_folder / piece.name
        if target.is_file():
            target.unlink()  # an attribute list that both archives of a machine bring
        piece.rename(target)
    complete.rmdir()


def finish_leftovers(raw: Path) -> None:
    """Bring a data folder back to order after a kill: finish complete pieces, drop partial ones."""
    for folder in sorted(raw.glob(".*.partial")):
        shutil.rmtree(folder)
    for folder in sorted(raw.glob(".*.complete")):
        settle(folder, raw / folder.name[1:].split("@", 1)[0])


def published_splits(machine_folder: Path) -> dict[str, Path]:
    """Folder of every split as published; ``test_rename`` is none, its names tell the truth."""
    found = split_folders(machine_folder) if machine_folder.is_dir() else {}
    own = ((split, folder) for split, folders in found.items() for folder in folders)
    return {split: folder for split, folder in own if folder.name.lower() == split}


def count_wavs(machine_folder: Path) -> dict[str, int]:
    """Count the wav files of every split that a machine's folder has."""
    found = published_splits(machine_folder)
    return {split: len(list_recordings(folder)) for split, folder in found.items()}


def _place(parts: tuple[str, ...], machine_type: str) -> PurePosixPath | None:
    """Give a member's place: its split, in lower case, and its name; None for another machine's."""
    folders = [part.lower() for part in parts[:-1]]
    split = next((name for name in folders if name in SPLIT_FOLDERS), "")
    above = folders[: folders.index(split)] if split else folders
    if above and above[-1] != machine_type.lower():
        return None
    return PurePosixPath(split, parts[-1])


def _check_content(
    path: Path, clips: dict[str, int], splits: tuple[str, ...], machine_folder: Path
) -> None:
    missing = [split for split in splits if split not in clips]
    if missing:
        raise InputError(
            f"{path}: holds no clips of {missing[0]}/, expected {' and '.join(splits)}. "
            "Is it the archive of another part?"
        )
    for split in sorted(clips):
        if (machine_folder / split).exists():
            raise InputError(
                f"{machine_folder / split}: is there already and is not what {path.name} holds. "
                "Remove the folder and run the same command."
            )


def _check_room(path: Path, members: list[_Member], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    needed, free = sum(info.file_size for info, _ in members), shutil.disk_usage(folder).free
    size = path.stat().st_size
    if needed > max(_LARGEST_RATIO * size, _ALWAYS_ALLOWED_BYTES):
        raise InputError(
            f"{path}: has {size} bytes and would unpack to {needed}, more than {_LARGEST_RATIO} "
            "times as much; recordings do not. Nothing was unpacked. Delete it and fetch it again."
        )
    if needed > free:
        raise InputError(
            f"{folder}: has {free / 1e9:.2f} GB free, {path.name} unpacks to "
            f"{needed / 1e9:.2f} GB. Free space or name another folder (--data-dir)."
        )


@dataclass(frozen=True)
class Source:
    """Machines of an edition that a view takes."""

    edition: Edition
    data_dir: Path
    scored: Sequence[str] = ()  # machine types with training and test clips
    trained_along: Sequence[str] = ()  # with their training clips alone
    label: str = ""  # behind the names of machines of another year (``_2024``)


def lay_out(
    folder: Path, sources: Sequence[Source], *, channel: int | str | None
) -> dict[str, Any]:
    """Lay out a view anew and describe it in its ``dataset.json``; the first source is scored.

    ``verified``: all scored clips come from archives with the record's checksum; ``lock`` is the
    hash of every lock file.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / FILE_NAME).exists():
        raise InputError(f"{folder}: is in the way; a view of the recordings is laid out there.")
    shutil.rmtree(folder, ignore_errors=True)  # removes links, never what they point to
    for source in sources:
        for machine_type in [*source.scored, *source.trained_along]:
            splits = (*_TRAINING, "test") if machine_type in source.scored else _TRAINING
            _link_machine(folder / (machine_type + source.label), source, machine_type, splits)
    first = sources[0]
    facts = {
        "edition": first.edition.name,
        "subsets": [
            name for name in SUBSETS if set(first.scored) & set(first.edition.machines[name])
        ],
        "scored": sorted(first.scored),
        "trained_along": sorted(
            name + source.label for source in sources for name in source.trained_along
        ),
        "verified": is_verified(first.edition, first.data_dir, first.scored),
        "channel": channel,
        "channels": first.edition.channels,
        "lock": {
            source.edition.name: Lock(source.data_dir / source.edition.folder).digest()
            for source in sources
        },
    }
    write_atomically(folder / FILE_NAME, json.dumps(facts, indent=1) + "\n")
    return facts


def read_facts(folder: Path) -> Mapping[str, Any]:
    """Read what a view's ``dataset.json`` says; empty for any other folder."""
    path = folder / FILE_NAME
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def is_verified(edition: Edition, data_dir: Path, machines: Sequence[str]) -> bool:
    """Tell whether all clips of machines were unpacked from archives with the pinned checksum."""
    lock = Lock(data_dir / edition.folder)
    subsets = [subset for subset in SUBSETS if set(machines) & set(edition.machines[subset])]
    archives = edition.archives(subsets, machines=list(machines))
    return all(lock.archive(one.file_name).get("verified", False) for one in archives)


def _link_machine(folder: Path, source: Source, machine_type: str, splits: Sequence[str]) -> None:
    edition = source.edition
    subset = next(name for name in SUBSETS if machine_type in edition.machines[name])
    base = SUBSET_FOLDERS[subset]
    root = (source.data_dir / edition.folder).resolve()
    machine_folder = root / base / "raw" / machine_type
    there = published_splits(machine_folder)
    missing = [split for split in splits if split not in there and split != "supplemental"]
    if missing:
        raise InputError(f"{machine_folder}: has no folder {missing[0]}. Fetch the data first.")
    folder.mkdir(parents=True)
    for split in splits:
        if split in there:
            (folder / split).symlink_to(there[split])
    for path in sorted(machine_folder.glob("attributes_[0-9][0-9].csv")):
        (folder / path.name).symlink_to(path)
    lists = root / "truth" / "ground_truth_attributes" / edition.folder / base / machine_type
    # True attributes of training clips, for the agreement alone; never those of test clips.
    for path in sorted(lists.glob("attributes_*_train_correspondence.csv")):
        (folder / path.name).symlink_to(path)
