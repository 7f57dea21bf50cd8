"""Every notebook in JupyterLab as a reader meets it: run from top to bottom, its widgets used.

Needs Chromium and the package playwright (``pip install playwright``; it brings no browser of its
own and needs none).
"""

import base64
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asdlib.data import simulate
from asdlib.data.simulate.machines import CorpusSize
from asdlib.workbook import run_command
from asdlib.workbook.notebooks import PROFILES, SCORING, list_notebooks

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed"),
]
ROOT = Path(__file__).resolve().parents[2]
NAMES = [book.path.stem for book in list_notebooks()]
WITH_MAPS = {"02_attribute_annotation", SCORING}
WITH_MENUS = {"01_spectrum_exploration", *WITH_MAPS}
#: So many training clips that notebook 02 annotates the machine.
SIZE = CorpusSize(train_source=28, train_target=4, test=4, supplemental=4, short_s=2.0)
TIMEOUT_S = 150
#: All cells are drawn, so that what is looked for is in the page.
SETTINGS = {"windowingMode": "none"}
OUTPUTS = """() => jupyterapp.shell.currentWidget.content.model.sharedModel.cells
  .flatMap(cell => cell.toJSON().outputs || [])"""
#: A kernel that has not answered yet may lose what it is asked to run; playwright waits forever.
RUN = """seconds => Promise.race([
  (async () => {
    const context = jupyterapp.shell.currentWidget.sessionContext;
    await context.ready;
    await context.session.kernel.info;
    await jupyterapp.commands.execute('notebook:run-all-cells');
    return true;
  })(),
  new Promise(done => setTimeout(() => done(false), 1000 * seconds)),
])"""
ASK = """async code => {
  const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  const asked = kernel.requestExecute({code, store_history: false});
  let said = '';
  asked.onIOPub = message => { said += message.content.text || ''; };
  await asked.done;
  return said;
}"""
#: The two points of a map that lie furthest from all others: clip, and place in shares of the map.
LONELY = """import json
title, (places, clip_ids) = next(iter(points.items()))
axes = next(one for one in clip_map.axes if one.get_title() == title)
pixels = axes.transData.transform(places)
apart = np.sort(np.linalg.norm(pixels[:, None] - pixels, axis=2), axis=1)[:, 1]
shares = (pixels / clip_map.bbox.size * [1, -1] + [0, 1]).tolist()
print(json.dumps([(clip_ids[i], *shares[i]) for i in apart.argsort()[-2:]]))"""
TOO_WIDE = """() => [...document.querySelectorAll('.jp-OutputArea-output')]
  .filter(one => one.querySelector('table') && one.scrollWidth > one.clientWidth + 1)
  .map(one => one.innerText.slice(0, 200))"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.3)
    raise AssertionError(f"no JupyterLab at {url}")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A small simulated corpus of a machine without attributes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(simulate.SIZES, "browser", SIZE)
        root = tmp_path_factory.mktemp("data") / "simulated_browser"
        return simulate.write_corpus(root, size="browser", machines=["bearingSim"])


@pytest.fixture(scope="module")
def server(data, tmp_path_factory) -> Iterator[str]:
    """JupyterLab on a run that has only been planned: the notebooks make it."""
    out = tmp_path_factory.mktemp("lab")
    values = {**PROFILES["smoke"], "data_dir": str(data), "out_dir": str(out), "details": True,
              "epochs": 1, "ae_epochs": 1, "explained_clips": 1, "growth_days": 30,
              "onset_day": 11}  # fmt: skip
    run_command.note_parameters(out, "simulated_browser", values)
    settings = out / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text(json.dumps(SETTINGS))
    port = free_port()
    own = {"JUPYTER_CONFIG_DIR": str(out / "config"), "PYTHONPATH": str(ROOT),
           "JUPYTERLAB_SETTINGS_DIR": str(out / "settings"),
           "JUPYTERLAB_WORKSPACES_DIR": str(out / "workspaces")}  # fmt: skip
    command = [sys.executable, "-m", "asdlib.workbook.cli", "lab", "--name", "simulated_browser",
               "--out", str(out), "--no-browser", "--allow-root", f"--port={port}",
               "--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True"]  # fmt: skip
    with (out / "log.txt").open("w") as log:
        process = subprocess.Popen(command, cwd=out, env={**os.environ, **own}, stderr=log,
                                   stdout=log, start_new_session=True)  # fmt: skip
    try:
        wait_for(f"http://127.0.0.1:{port}/lab", process)
        yield f"http://127.0.0.1:{port}/lab/tree/build/simulated_browser_lab/notebooks"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


@pytest.fixture(scope="module")
def page(server) -> Iterator[sync_api.Page]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(1000 * TIMEOUT_S)
        yield page
        browser.close()


@pytest.fixture
def notebook(request, server, page) -> sync_api.Page:
    """The page with a notebook opened and all its cells run."""
    page.goto(f"{server}/{request.param}.ipynb?reset")
    page.wait_for_selector(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell")
    assert page.evaluate(RUN, TIMEOUT_S), f"{request.param}: not at its end after {TIMEOUT_S} s"
    return page


def check(page: sync_api.Page) -> list[dict]:
    """No error, nothing on standard error, no table wider than its place."""
    outputs = page.evaluate(OUTPUTS)
    assert not [one["evalue"] for one in outputs if one["output_type"] == "error"]
    assert not [one["text"] for one in outputs if one.get("name") == "stderr"]
    assert page.evaluate(TOO_WIDE) == []
    return outputs


def click_and_hear(page: sync_api.Page, data: Path) -> None:
    """A click on a point of the map names that point's clip, and brings its picture and sound."""
    shown = page.locator(".widget-output").last
    canvas = page.locator(".jupyter-matplotlib-canvas-container canvas").last
    canvas.scroll_into_view_if_needed()
    size = canvas.bounding_box()
    for clip_id, x, y in json.loads(page.evaluate(ASK, LONELY)):
        canvas.click(position={"x": x * size["width"], "y": y * size["height"]})
        first = shown.locator("div:has(> audio)").first
        sync_api.expect(first).to_contain_text(clip_id.rsplit("/", 1)[-1], timeout=60_000)
        sync_api.expect(shown.locator("img")).to_have_count(1)
        source = str(first.locator("source").get_attribute("src"))
        heard, _ = soundfile.read(io.BytesIO(base64.b64decode(source.split(",")[1])))
        recorded, _ = soundfile.read(data / "dev_data" / "raw" / clip_id)
        assert np.corrcoef(heard, recorded)[0, 1] > 0.999


@pytest.mark.parametrize("notebook", NAMES, indirect=True)
def test_notebook_runs_and_fits(request, notebook, data):
    outputs = check(notebook)
    first = next(one for one in outputs if one.get("name") == "stdout")
    assert "".join(first["text"]).startswith("Run simulated_browser_lab: simulated clips of ")
    name = request.node.callspec.params["notebook"]
    menus = notebook.locator(".jupyter-widgets select")
    if name in WITH_MENUS:
        menus.first.wait_for()  # widgets appear some time after their cell has run
        picture = notebook.locator(".widget-output img").last
        before = str(picture.get_attribute("src"))
        menus.last.select_option(index=1)
        sync_api.expect(picture).not_to_have_attribute("src", before, timeout=60_000)
        check(notebook)
    if name in WITH_MAPS:
        click_and_hear(notebook, data)
        check(notebook)
