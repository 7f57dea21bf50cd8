"""Three tiny notebooks that behave like a workbook, for tests of sweeps."""

from pathlib import Path

import nbformat

_PLACE = """data_dir: str = "."  # recordings
out_dir: str = "."  # receives everything
run_name: str = "x"  # names folders
machines: list = []  # machine types
workers: int = 0  # threads
"""
_BEGIN = """import os, time
from pathlib import Path
build, log = Path(out_dir, "build", run_name), Path(data_dir).parent / "log.txt"
"""

_PREPARE = """with log.open("a") as file:
    file.write(f"01 {long_clips}\\n")
(build / "prepared.txt").write_text(long_clips)"""

# Like a training: resumes from a checkpoint in the cache that all stages share.
_TRAIN = """window = (build / "prepared.txt").read_text()
marks = build.parent / "cache" / f"{window}{epochs}{seeds}"
marks.mkdir(exist_ok=True)
with log.open("a") as file:
    file.write(f"03 {epochs} {seeds} threads={os.environ['OMP_NUM_THREADS']} pid={os.getpid()}\\n")
if epochs == 13 and not (Path(data_dir).parent / "mended").exists():
    raise ValueError("thirteen is not allowed\\nhere")
for epoch in range(epochs):
    if not (marks / str(epoch)).exists():
        time.sleep(excerpt_s)
        while epoch >= 3 and (Path(data_dir).parent / "hold").exists():
            time.sleep(0.05)
        (marks / str(epoch)).write_text(str(os.getpid()))
(build / "epochs.txt").write_text(str(epochs))"""

_SCORE = """with log.open("a") as file:
    file.write(f"04 {neighbours} {seeds}\\n")
results = Path(out_dir, "results", run_name)
results.mkdir(parents=True, exist_ok=True)
(results / "scores.csv").write_text((build / "epochs.txt").read_text())"""


def write_notebooks(folder: Path) -> Path:
    """Write 01, 03 and 04; what they execute is noted in ``log.txt`` beside the recordings.

    ``epochs = 13`` fails until a file ``mended`` lies beside the recordings; while ``hold`` lies
    there, a training waits after its third epoch.
    """
    folder.mkdir(parents=True, exist_ok=True)
    decoding = "window_s: float = 0.0\nresample: bool = False\nchannel: object = -1\n"
    seeds = "seeds: list = [0]  # seeds\n"
    training = "epochs: int = 2  # passes\nexcerpt_s: float = 0.0  # per epoch\n"
    books = {
        "01_prepare": (decoding + 'long_clips: str = "centre"  # what is kept\n', _PREPARE),
        "03_train": (seeds + training, _TRAIN),
        "04_score": (seeds + "neighbours: int = 1  # k\n", _SCORE),
    }
    for name, (parameters, code) in books.items():
        cell = nbformat.v4.new_code_cell(_PLACE + parameters, metadata={"tags": ["parameters"]})
        cells = [nbformat.v4.new_markdown_cell(f"## Heading of {name}"), cell]
        cells.append(nbformat.v4.new_code_cell(_BEGIN + code))
        metadata = {"kernelspec": {"name": "python3", "display_name": "x", "language": "python"}}
        book = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
        nbformat.write(book, folder / f"{name}.ipynb")
    return folder
