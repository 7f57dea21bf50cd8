import errno
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from dataclasses import replace

import numpy as np
import psutil
import pytest

from asdlib.base import InputError
from asdlib.data import content_key, open_existing, open_or_build
from asdlib.data.cache import cached, join_stores, read_arrays, write_arrays

N_ROWS = 20


def build(root, *, fill=None, settings=None, lengths=None, **options):
    """A store of 20 rows in blocks of 3, row i full of i."""
    lengths = np.full(N_ROWS, 50) if lengths is None else np.asarray(lengths)
    ids = [f"clip {i}" for i in range(len(lengths))]

    def fill_with_row_number(first, last, out):
        out[...] = np.repeat(np.arange(first, last), lengths[first:last])

    options = {"row_shape": (), "dtype": np.int32, "block_rows": 3, "workers": 2, **options}
    return open_or_build(
        root,
        settings=settings or {"version": 1},
        ids=ids,
        lengths=lengths,
        fill=fill or fill_with_row_number,
        **options,
    )


def assert_complete(store):
    np.testing.assert_array_equal(store.fixed(), np.tile(np.arange(N_ROWS)[:, None], 50))


class Counter:
    """A fill that counts its rows and fails from a given row on."""

    def __init__(self, fail_at=None, error=None):
        self.rows, self.fail_at = [], fail_at
        self.error = error or InputError("row 9 is bad")

    def __call__(self, first, last, out):
        if self.fail_at is not None and last > self.fail_at:
            raise self.error
        self.rows += range(first, last)
        out[...] = np.repeat(np.arange(first, last), 50)


def test_rows_shapes_and_lengths(tmp_path):
    lengths = [2, 0, 5, 1]

    def fill(first, last, out):
        out[...] = np.repeat(np.arange(first, last), lengths[first:last])[:, None, None]

    store = build(tmp_path, fill=fill, lengths=lengths, row_shape=(3, 2), dtype=np.float16)
    assert len(store) == 4
    for position, length in enumerate(lengths):
        assert store.row(position).shape == (length, 3, 2)
        assert (store.row(position) == position).all()
    with pytest.raises(InputError, match="rows have 4 lengths, expected one"):
        store.fixed()


def test_a_store_cannot_be_changed(tmp_path):
    store = build(tmp_path)
    with pytest.raises(ValueError, match="read-only"):
        store.row(0)[0] = 1


def test_an_unfilled_part_is_zero(tmp_path):
    """Memory is reused from block to block; what one leaves must not show up in the next."""

    def fill(first, last, out):
        out[:: first % 2 + 1] = 7

    store = build(tmp_path, fill=fill, workers=1)
    assert (store.row(3).reshape(-1, 2) == [7, 0]).all()


def test_positions(tmp_path):
    store = build(tmp_path)
    assert store.positions(["clip 7", "clip 0"]).tolist() == [7, 0]
    with pytest.raises(InputError, match="holds no row for 1 clips, the first is clip 99"):
        store.positions(["clip 7", "clip 99"])


def test_released_rows_can_be_read_again(tmp_path):
    store = build(tmp_path)
    row = store.row(4)
    store.release()
    assert (row == 4).all()
    assert_complete(store)


def test_release_gives_memory_back(tmp_path):
    store = build(tmp_path, lengths=np.full(N_ROWS, 500_000), workers=1)
    rss = psutil.Process().memory_info
    before = rss().rss
    assert store.flat.sum() > 0
    assert rss().rss - before > 30e6
    store.release()
    assert rss().rss - before < 5e6


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("block_rows", [1, 3, 20, 100])
def test_blocks_and_threads_do_not_matter(tmp_path, workers, block_rows):
    assert_complete(build(tmp_path, workers=workers, block_rows=block_rows))


def test_progress_adds_up(tmp_path):
    progress = []
    build(tmp_path, on_progress=progress.append)
    build(tmp_path, on_progress=progress.append)
    assert sum(progress) == 2 * N_ROWS


def test_settings_ids_lengths_and_type_make_the_key(tmp_path):
    stores = [
        build(tmp_path),
        build(tmp_path, settings={"version": 2}),
        build(tmp_path, lengths=np.full(N_ROWS, 49)),
        build(tmp_path, dtype=np.int16),
    ]
    assert len({store.directory for store in stores}) == 4


def test_the_key_refuses_what_has_no_text(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        content_key({"a": float("nan")})


def test_finished_blocks_survive_an_error(tmp_path):
    with pytest.raises(InputError, match="row 9 is bad"):
        build(tmp_path, fill=Counter(fail_at=9), workers=1)
    progress, rest = [], Counter()
    assert_complete(build(tmp_path, fill=rest, on_progress=progress.append))
    assert sorted(rest.rows) == list(range(9, N_ROWS))
    assert progress[0] == 9
    assert sum(progress) == N_ROWS


def test_ctrl_c_ends_a_build_that_can_be_resumed(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, fill=Counter(fail_at=9, error=KeyboardInterrupt()), workers=1)
    rest = Counter()
    assert_complete(build(tmp_path, fill=rest))
    assert min(rest.rows) == 9


def store_folder(root):
    (folder,) = root.iterdir()
    return folder


def test_a_torn_journal_line_is_no_finished_block(tmp_path):
    with pytest.raises(InputError):
        build(tmp_path, fill=Counter(fail_at=9), workers=1)
    journal = store_folder(tmp_path) / "done.txt"
    journal.write_text(journal.read_text()[:-4])
    rest = Counter()
    assert_complete(build(tmp_path, fill=rest))
    assert min(rest.rows) == 6


def test_a_finished_block_that_was_lost_is_built_again(tmp_path):
    """After a power cut the journal may list what never reached the disk."""
    with pytest.raises(InputError):
        build(tmp_path, fill=Counter(fail_at=9), workers=1)
    with (store_folder(tmp_path) / "data.bin").open("r+b") as file:
        file.seek(4 * 50 * 4)
        file.write(bytes(100))
    rest = Counter()
    assert_complete(build(tmp_path, fill=rest))
    assert min(rest.rows) == 3
    assert not set(rest.rows) & {0, 1, 2, 6, 7, 8}


def test_a_half_allocated_file_starts_anew(tmp_path):
    with pytest.raises(InputError):
        build(tmp_path, fill=Counter(fail_at=9), workers=1)
    os.truncate(store_folder(tmp_path) / "data.bin", 300)
    rest = Counter()
    assert_complete(build(tmp_path, fill=rest))
    assert len(rest.rows) == N_ROWS


@pytest.mark.parametrize("size", [0, 100, 4 * 50 * N_ROWS + 4])
def test_a_damaged_store_is_refused(tmp_path, size):
    folder = build(tmp_path).directory
    os.truncate(folder / "data.bin", size)
    with pytest.raises(InputError, match="is damaged, expected 4000 bytes. Delete the folder"):
        build(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "{}", '{"settings": {}}'])
def test_a_damaged_description_is_refused(tmp_path, content):
    folder = build(tmp_path).directory
    (folder / "meta.json").write_text(content)
    with pytest.raises(InputError, match="is damaged .*Delete the folder"):
        build(tmp_path)


def test_a_store_of_other_settings_under_the_same_name_is_refused(tmp_path):
    folder = build(tmp_path).directory
    meta = json.loads((folder / "meta.json").read_text())
    meta["settings"]["version"] = 2
    (folder / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(InputError, match="has other settings, ids or lengths than its name says"):
        build(tmp_path)


@pytest.mark.parametrize("place", [0, 1700, 3999])
def test_a_flipped_bit_is_found_on_opening(tmp_path, place):
    folder = build(tmp_path).directory
    with (folder / "data.bin").open("r+b") as file:
        file.seek(place)
        value = file.read(1)[0]
        file.seek(place)
        file.write(bytes([value ^ 4]))
    row = place // 200 // 3 * 3
    with pytest.raises(InputError, match=rf"data.bin: is damaged in rows {row} to .*Delete the f"):
        build(tmp_path)
    with pytest.raises(InputError, match="data.bin: is damaged"):
        open_existing(folder)


def test_a_store_too_large_to_be_read_whole_is_sampled(tmp_path, monkeypatch):
    folder = build(tmp_path).directory
    monkeypatch.setattr("asdlib.data.store._VERIFIED_WHOLE", 3999)
    monkeypatch.setattr("asdlib.data.store._VERIFIED", 1200)
    seen = []
    monkeypatch.setattr(
        random, "sample", lambda blocks, count: seen.append(count) or blocks[:count]
    )
    with (folder / "data.bin").open("r+b") as file:
        file.seek(3900)
        file.write(bytes(50))
    assert len(open_existing(folder)) == N_ROWS
    assert seen == [3]  # of 7 blocks
    monkeypatch.setattr(random, "sample", lambda blocks, count: blocks[-count:])
    with pytest.raises(InputError, match="data.bin: is damaged in rows 18 to 19"):
        open_existing(folder)


def test_reordered_ids_and_other_lengths_are_refused(tmp_path):
    folder = build(tmp_path).directory
    ids, meta = (json.loads((folder / name).read_text()) for name in ("ids.json", "meta.json"))
    (folder / "ids.json").write_text(json.dumps(ids[::-1]))
    with pytest.raises(InputError, match="other settings, ids or lengths.*Delete the folder"):
        build(tmp_path)
    (folder / "ids.json").write_text(json.dumps(ids))
    meta["lengths"][:2] = [49, 51]
    (folder / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(InputError, match="other settings, ids or lengths.*Delete the folder"):
        open_existing(folder)


@pytest.mark.parametrize("content", ["", "0-3 00000000\n", "\x00" * 40])
def test_a_journal_that_does_not_cover_the_rows_is_refused(tmp_path, content):
    folder = build(tmp_path).directory
    (folder / "done.txt").write_text(content)
    with pytest.raises(InputError, match=r"done.txt: does not list every block.*Delete the folder"):
        build(tmp_path)


def test_a_build_that_goes_on_in_other_blocks_can_be_verified(tmp_path):
    with pytest.raises(InputError):
        build(tmp_path, fill=Counter(fail_at=9), workers=1)
    assert_complete(build(tmp_path, block_rows=4))


def test_a_store_is_opened_by_its_folder(tmp_path):
    folder = build(tmp_path).directory
    assert_complete(open_existing(folder))
    (folder / "meta.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        open_existing(folder)
    (folder / "meta.json").unlink()
    with pytest.raises(InputError, match="holds no complete store. Run the notebook"):
        open_existing(folder)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written .Not a directory.*--out"):
        build(tmp_path / "file" / "cache")


def test_a_full_disk_is_met_before_the_first_row(tmp_path, monkeypatch):
    def full(descriptor, offset, length):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    fill = Counter()
    with pytest.raises(InputError, match=r"data.bin: needs 0.00 GiB \(No space left on device\)"):
        build(tmp_path, fill=fill)
    assert fill.rows == []
    assert not (store_folder(tmp_path) / "data.bin").exists()
    monkeypatch.undo()
    assert_complete(build(tmp_path))


def test_a_disk_that_fills_up_while_writing(tmp_path, monkeypatch):
    synchronise = os.fsync

    def full(descriptor):
        if os.fstat(descriptor).st_size == 4000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        synchronise(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"data.bin: cannot be written \(No space left on dev"):
        build(tmp_path)
    monkeypatch.undo()
    assert_complete(build(tmp_path))


def test_a_file_system_that_cannot_reserve_space(tmp_path, monkeypatch):
    def unsupported(descriptor, offset, length):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", unsupported)
    assert_complete(build(tmp_path))


SLOW_BUILD = """
    import sys, time
    from pathlib import Path
    import numpy as np
    from asdlib.data import open_or_build

    def fill(first, last, out):
        time.sleep(0.02)
        out[...] = np.repeat(np.arange(first, last), 50)
        print(first, flush=True)

    open_or_build(
        Path(sys.argv[1]), settings={"version": 1}, ids=[f"clip {i}" for i in range(20)],
        lengths=np.full(20, 50), row_shape=(), dtype=np.int32, fill=fill, block_rows=3,
        workers=1,
    )
"""


def start_slow_build(root):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SLOW_BUILD), str(root)],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_killed_build_is_resumed(tmp_path):
    with start_slow_build(tmp_path) as process:
        for _ in range(4):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    folder = store_folder(tmp_path)
    assert not (folder / "meta.json").exists()
    assert len((folder / "done.txt").read_text().splitlines()) >= 2
    rest = Counter()
    assert_complete(build(tmp_path, fill=rest))
    assert 0 < len(rest.rows) <= N_ROWS - 6
    assert 0 not in rest.rows


def test_two_processes_build_a_store_once(tmp_path):
    with start_slow_build(tmp_path) as first:
        first.stdout.readline()
        rows, progress = Counter(), []
        started = time.monotonic()
        store = build(tmp_path, fill=rows, on_progress=progress.append)
        assert time.monotonic() - started < 10
        assert first.wait(10) == 0
    assert_complete(store)
    assert rows.rows == []
    assert progress == [N_ROWS]


def test_whole_run_results_are_kept_and_read_by_their_settings(tmp_path):
    path, made = tmp_path / "new" / "result.npz", []

    def make():
        made.append(1)
        return {"level_db": np.arange(3.0)}

    def result(seed=0):
        return cached(path, make, kind="residuals", settings={"seed": seed})["level_db"].tolist()

    assert result() == result() == [0.0, 1.0, 2.0]
    assert len(made) == 1
    result(seed=1)
    assert len(made) == 2


def test_a_flipped_bit_in_a_result_is_found_and_the_result_made_anew(tmp_path):
    path = tmp_path / "result.npz"
    arrays = {"level_db": np.arange(50.0), "settings": np.array("{}")}
    write_arrays(path, arrays)
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 16
        path.write_bytes(damaged)
        with suppress(InputError):  # else the bit means nothing, such as a date
            found = read_arrays(path, "level_db")
            np.testing.assert_array_equal(found["level_db"], arrays["level_db"])
    path.write_bytes(whole[:-30])
    made = cached(path, lambda: {"level_db": np.ones(1)}, kind="residuals", settings={})
    assert made["level_db"].tolist() == [1.0]


def test_a_result_that_lacks_an_array_is_damaged(tmp_path):
    write_arrays(tmp_path / "result.npz", {"settings": np.array("{}")})
    with pytest.raises(InputError, match="result.npz: is damaged"):
        read_arrays(tmp_path / "result.npz", "level_db")
    with pytest.raises(InputError, match="there are no arrays. Run the notebook first"):
        read_arrays(tmp_path / "other.npz")


def test_joined_stores_hold_the_rows_of_all_in_order(tmp_path):
    lengths = [3, 1, 70, 2, 5]

    def halves(first, last, out):
        out[...] = np.repeat(np.arange(first, last), lengths[first:last]) + 0.5

    whole = build(tmp_path, dtype=np.float64)
    ragged = open_or_build(
        tmp_path, settings={"version": 2}, ids=list("abcde"), lengths=np.array(lengths),
        row_shape=(), dtype=np.float64, fill=halves,
    )  # fmt: skip
    again = replace(whole, ids=whole.ids + "!")
    joined = join_stores([whole, ragged, again], cache_dir=tmp_path)
    assert joined.ids.tolist() == [*whole.ids, *"abcde", *(whole.ids + "!")]
    assert joined.settings["version"] == 1  # what follows reads how rows were made
    for store in (whole, ragged):
        for name in store.ids:
            np.testing.assert_array_equal(joined.row_of(name), store.row_of(name))
    np.testing.assert_array_equal(joined.row_of("clip 19!"), whole.row_of("clip 19"))
