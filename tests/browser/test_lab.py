"""Every notebook in JupyterLab as a reader meets it: run from top to bottom, and a widget used.

Needs Chromium and the package playwright (``pip install playwright``; it brings no browser of its
own and needs none).
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

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
#: Notebook 02 has menus, too, where it has annotated a machine.
WITH_MENUS = {"01_spectrum_exploration", SCORING}
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
def server(simulated_smoke, tmp_path_factory) -> Iterator[str]:
    """JupyterLab on a run that has only been planned: the notebooks make it."""
    out = tmp_path_factory.mktemp("lab")
    values = {**PROFILES["smoke"], "data_dir": str(simulated_smoke), "out_dir": str(out),
              "machines": ["bearingSim"], "details": True, "epochs": 1, "ae_epochs": 1,
              "explained_clips": 1, "growth_days": 30, "onset_day": 11}  # fmt: skip
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
    """No error, nothing on standard error but progress, no table wider than its place."""
    outputs = page.evaluate(OUTPUTS)
    assert not [one["evalue"] for one in outputs if one["output_type"] == "error"]
    said = "".join("".join(one["text"]) for one in outputs if one.get("name") == "stderr")
    assert not [line for line in re.split(r"[\r\n]+", said) if line and "%|" not in line]
    assert page.evaluate(TOO_WIDE) == []
    return outputs


@pytest.mark.parametrize("notebook", NAMES, indirect=True)
def test_notebook_runs_and_fits(request, notebook):
    outputs = check(notebook)
    first = next(one for one in outputs if one.get("name") == "stdout")
    assert "".join(first["text"]).startswith("Run simulated_browser_lab: simulated clips of ")
    menus = notebook.locator(".jupyter-widgets select")
    name = request.node.callspec.params["notebook"]
    if name in WITH_MENUS:
        menus.first.wait_for()  # widgets appear some time after their cell has run
    if menus.count():
        picture = notebook.locator(".widget-output img").last
        before = str(picture.get_attribute("src"))
        menus.last.select_option(index=1)
        sync_api.expect(picture).not_to_have_attribute("src", before, timeout=60_000)
        check(notebook)
    if name == SCORING:
        shown = notebook.locator(".widget-output").last
        pictures = shown.locator("img")
        before = pictures.count()
        canvas = notebook.locator(".jupyter-matplotlib-canvas-container canvas").last
        canvas.click(position={"x": 200, "y": 120})
        sync_api.expect(pictures).to_have_count(before + 1, timeout=60_000)
        sync_api.expect(shown.locator("audio").first).to_be_attached()
        check(notebook)
