"""The command line refuses what it cannot use before anything runs."""

import subprocess
import sys
from pathlib import Path

import pytest
from corpus import make_tree, train_and_test

from asdlib.workbook import cli, environment, notebooks

ROOT = Path(__file__).resolve().parents[1]


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(list(arguments)) == 2
    return capsys.readouterr().err


def test_unknown_option_lists_options(capsys):
    message = failure(capsys, "--frobnicate", "3")
    assert "--frobnicate" in message
    assert "--machines" in message


def test_abbreviated_option_is_unknown(capsys):
    assert "--machines" in failure(capsys, "--mach", "fan")


def test_unknown_command_lists_commands(capsys):
    assert "run, fetch, score, sweep, lab, test" in failure(capsys, "dance")


def test_unknown_profile_lists_profiles(capsys):
    assert "smoke, demo, full" in failure(capsys, "--profile", "huge")


def test_unknown_notebook_lists_notebooks(capsys):
    assert "01, 02, 03, 04" in failure(capsys, "--only", "07")


def test_missing_data_folder(capsys, tmp_path):
    (tmp_path / "somewhere").mkdir()
    message = failure(capsys, "--data", str(tmp_path / "nowhere"))
    assert "nowhere: expected an existing folder" in message
    assert "there are: somewhere" in message


def test_what_is_passed_over_is_told_before_anything_runs(capsys, tmp_path, monkeypatch):
    data = make_tree(tmp_path / "set", [*train_and_test("fan"), "fan/old/a.wav"])
    (data / "notes.txt").write_text("")
    monkeypatch.setattr(cli, "_execute", lambda *arguments: 0)
    assert cli.main(["--data", str(data), "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().err
    assert "1 passed over (in no split's folder): fan/old/a.wav\n" in said
    assert "1 passed over (no recording): notes.txt\n" in said


@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>", "a|b", "=HYPERLINK(1)", "a$b"])
def test_a_machine_name_that_is_not_plain_is_refused(capsys, tmp_path, name):
    make_tree(tmp_path / "set" / name, ["train/section_00_source_train_normal_0000.wav"])
    message = failure(capsys, "--data", str(tmp_path / "set"), "--out", str(tmp_path))
    assert f"{name}: the machine's name has the character" in message
    assert not list(tmp_path.rglob("*.ipynb"))


def test_unknown_parameter_lists_parameters(capsys, tmp_path):
    message = failure(capsys, "--data", str(tmp_path), "--out", str(tmp_path), "--set", "epoch=3")
    assert "epochs" in message
    assert "n_fft" in message


def test_parameter_of_wrong_type(capsys, tmp_path):
    message = failure(capsys, "--data", str(tmp_path), "--out", str(tmp_path), "--set", "epochs=x")
    assert "epochs='x'" in message
    assert "expected a whole number" in message


def test_name_that_is_no_folder_name_writes_nothing(capsys, tmp_path):
    out = tmp_path / "out"
    message = failure(capsys, "--data", str(tmp_path), "--out", str(out), "--name", "../up")
    assert "'../up'" in message
    assert not out.exists()


def test_parameter_with_an_option_of_its_own(capsys, tmp_path):
    message = failure(
        capsys, "--data", str(tmp_path), "--out", str(tmp_path), "--set", "run_name=x"
    )
    assert "use --name" in message


def test_unknown_machine_lists_machines(capsys, tmp_path, simulated_smoke):
    message = failure(
        capsys, "--data", str(simulated_smoke), "--out", str(tmp_path), "--machines", "fan,pump"
    )
    assert "fan,pump" in message
    assert "bearingSim" in message


def test_empty_data_folder(capsys, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    message = failure(capsys, "--data", str(empty), "--out", str(tmp_path))
    assert str(empty) in message


def test_unwritable_output(capsys, tmp_path, simulated_smoke):
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    message = failure(capsys, "--data", str(simulated_smoke), "--out", str(blocker / "below"))
    assert "cannot be written" in message


def test_help_fits_one_screen_and_names_every_option():
    shown = subprocess.run(
        [str(ROOT / "run_all.sh"), "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert len(shown.splitlines()) <= 52
    assert max(map(len, shown.splitlines())) <= 100
    for parser in (cli._run_parser(), cli._sweep_parser()):
        for option in parser._option_string_actions:
            assert option in shown


def test_assignments_take_the_type_of_the_default():
    book = notebooks.Notebook(Path("01_x.ipynb"), {"rate": 1.0, "names": [], "deep": True})
    values = notebooks.parse_assignments(["rate=3", "names=[a, b]", "deep=False"], [book])
    assert values == {"rate": 3.0, "names": ["a", "b"], "deep": False}
    assert isinstance(values["rate"], float)


def test_requirements_are_pinned_exactly():
    pins = environment.required_versions((ROOT / "requirements.txt").read_text())
    assert pins["torch"] == "2.13.0"
    assert all(version[0].isdigit() for version in pins.values())


def test_local_version_label_satisfies_a_pin(monkeypatch):
    monkeypatch.setattr(environment.metadata, "version", lambda name: "2.13.0+cu130")
    assert environment.unsatisfied({"torch": "2.13.0"}) == []
    assert environment.unsatisfied({"torch": "2.14.0"}) == ["torch"]


def test_unpinned_requirement_is_refused():
    with pytest.raises(ValueError, match="name==version"):
        environment.required_versions("torch>=2")


def test_environment_answers_the_shell(tmp_path):
    wanted = tmp_path / "requirements.txt"
    wanted.write_text("no-such-package==1.0\n")
    script = str(ROOT / "asdlib" / "workbook" / "environment.py")
    answer = subprocess.run([sys.executable, script, "satisfied", str(wanted)], check=False)
    assert answer.returncode == 1
