"""The command line refuses what it cannot use before anything runs."""

import argparse
import contextlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from corpus import list_chunk, make_tree, train_and_test, wav_bytes
from hypothesis import given, settings
from hypothesis import strategies as st

from asdlib.workbook import cli, environment, notebooks, run_command
from asdlib.workbook.check import add_options as add_check_options
from asdlib.workbook.run_command import add_options, print_results
from asdlib.workbook.sweep import add_sweep_options

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
    assert "run, check, learn, fetch, score, sweep, lab, test" in failure(capsys, "dance")


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
    monkeypatch.setattr(run_command, "_execute", lambda *arguments: 0)
    assert cli.main(["--data", str(data), "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().err
    assert "1 passed over (in no split's folder): fan/old/a.wav\n" in said
    assert "1 passed over (no recording): notes.txt\n" in said


def test_the_folder_is_checked_before_anything_runs(capsys, tmp_path, monkeypatch):
    data = make_tree(tmp_path / "set", [f"fan/normal/{n}.wav" for n in "abc"], sample_rate=48000)
    (data / "fan/normal/d.wav").write_bytes(b"")
    executed = []
    monkeypatch.setattr(run_command, "_execute", lambda *arguments: executed.append(arguments) or 0)
    call = ["--data", str(data), "--out", str(tmp_path)]
    *table, first, second, third = failure(capsys, *call).splitlines()
    assert table[0].endswith("set: plain folders, 3 recordings, machines: 1")
    assert "48000" in table[2]
    assert first == "run_all.sh: 2 things cannot be used:"
    assert second.endswith("d.wav: is an empty file (0 bytes). Copy or download it again.")
    assert third.startswith("3 recordings at 48000 Hz, expected 16000 Hz: add --set resample=true")
    assert not executed
    (data / "fan/normal/d.wav").unlink()
    assert cli.main([*call, "--set", "resample=true"]) == 0
    assert len(executed) == 1
    assert cli.main([*call, "--from", "02"]) == 0  # which finds what notebook 01 has decoded


def test_a_folder_with_blanks_gives_a_run_its_name(capsys, tmp_path, monkeypatch):
    data = make_tree(tmp_path / "Meine Messung (1)", [f"fan/normal/{n}.wav" for n in "abc"])
    names = []
    monkeypatch.setattr(
        run_command, "_execute", lambda *arguments: names.append(arguments[-1]) or 0
    )
    assert cli.main(["--data", str(data), "--out", str(tmp_path)]) == 0
    assert names == ["Meine_Messung_1_"]


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
    assert "has no machine fan, pump" in message
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
    assert len(shown.splitlines()) <= 62
    assert max(map(len, shown.splitlines())) <= 100
    sweep_parser = argparse.ArgumentParser(add_help=False)
    add_sweep_options(sweep_parser)
    parsers = [argparse.ArgumentParser(add_help=False) for _ in range(2)]
    for parser, is_check in zip(parsers, (True, False), strict=True):
        add_check_options(parser, is_check=is_check)
    for parser in (add_options(argparse.ArgumentParser(add_help=False)), sweep_parser, *parsers):
        for option in parser._option_string_actions:
            assert option in shown


def test_assignments_take_the_type_of_their_declaration():
    values = notebooks.parse_assignments(
        ["learning_rate=3", "machines=[a, 1]", "details=False"], notebooks.list_notebooks()
    )
    assert values == {"learning_rate": 3.0, "machines": ["a", "1"], "details": False}
    assert isinstance(values["learning_rate"], float)


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


# -- numbers, names and what goes wrong --------------------------------------------------------


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("batch_size=032", "a whole number, 2 or more"),
        ("batch_size=1_0", "a whole number, 2 or more"),
        ("batch_size=true", "a whole number, 2 or more"),
        ("batch_size=16.0", "a whole number, 2 or more"),
        ("epochs=9007199254740993", "a whole number, 1 or more"),
        ("learning_rate=inf", "a number above 0"),
        ("learning_rate=nan", "a number above 0"),
        ("learning_rate=1e999", "a number above 0"),
        ("learning_rate=0x10", "a number above 0"),
        ("resample=yes", "true or false"),
        ("noise_mix_snr_db=[0, x]", "each entry a number"),
        ("noise_mix_snr_db=[15, 0]", "the lowest and the highest"),
        ("method_by_machine={fan: cluster}", "{machine: auto or none"),
        ("method_by_machine={fan: clusters", "brackets and quotes must be closed"),
        ("views=[lines, line]", "view 'line': expected one of"),
        ("seeds=[0, 0]", "none twice"),
        ("warmup_epochs=30", "less than epochs=20"),
        ("highpass_hz={fan: 9000}", "less than fmax_hz=8000"),
        ("onset_day=61", "a day of growth_days=60"),
        ("alarm_window=1", "cannot keep to 1 false alarms a year"),
    ],
)
def test_values_are_held_to_their_declaration_before_anything_starts(
    capsys, tmp_path, assignment, expected
):
    out = tmp_path / "out"
    message = failure(
        capsys, "--data", str(tmp_path), "--name", "x", "--out", str(out), "--set", assignment
    )
    assert message.startswith(f"run_all.sh: --set {assignment.partition('=')[0]}")
    assert expected in message
    assert len(message.splitlines()) <= 5
    assert not out.exists()


def test_numbers_are_read_as_json_reads_them():
    books = notebooks.list_notebooks()
    texts = ["learning_rate=1e-3", "fmin_hz=+50", "highpass_hz={fan: null, pump: .5e3}"]
    values = notebooks.parse_assignments([*texts, "method=true", "backends=knn"], books)
    assert values == {
        "learning_rate": 0.001, "fmin_hz": 50.0, "highpass_hz": {"fan": None, "pump": 500.0},
        "method": "true", "backends": ["knn"],
    }  # fmt: skip


@pytest.mark.parametrize("name", ["x" * 300, "cache", "Sweeps", "a b", ".."])
def test_names_that_cannot_be_a_runs(capsys, tmp_path, name):
    message = failure(capsys, "--data", str(tmp_path), "--out", str(tmp_path), "--name", name)
    assert message.startswith("run_all.sh: --name ")
    assert len(message) < 250


def test_parameters_by_machine_name_machines_that_are_there(capsys, tmp_path, simulated_smoke):
    message = failure(capsys, "--data", str(simulated_smoke), "--out", str(tmp_path),
                      "--set", "method_by_machine={fam: none}")  # fmt: skip
    assert "--set method_by_machine: no machine fam" in message
    assert "bearingSim" in message


def test_what_nobody_foresaw_is_told_in_few_lines(capsys, monkeypatch):
    def fail(arguments):
        raise RuntimeError("\n".join("abcdefgh"))

    monkeypatch.setitem(cli.COMMANDS, "run", fail)
    lines = failure(capsys).splitlines()
    assert lines[0] == "run_all.sh: RuntimeError: a"
    assert lines[-1] == "... 5 more lines, which --debug shows."
    assert len(lines) == 5
    message = failure(capsys, "--debug")
    assert "Traceback" in message
    assert message.endswith("h\n--debug shows where it happened.\n")


def test_an_older_table_is_not_printed_as_new(capsys, tmp_path):
    table = tmp_path / "results" / "x" / "table.md"
    table.parent.mkdir(parents=True)
    table.write_text("old figures")
    print_results(tmp_path, "x", is_new=False)
    shown = capsys.readouterr().out
    assert "old figures" not in shown
    assert "of an earlier run; --from 04 makes them anew" in shown
    print_results(tmp_path, "x", is_new=True)
    assert "old figures" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_signals_end_a_run_as_ctrl_c_does(tmp_path, name):
    code = (
        "import time; from asdlib.workbook import cli; cli._stop_as_ctrl_c();"
        "cli.COMMANDS['run'] = lambda _: print('up', flush=True) or time.sleep(60);"
        "raise SystemExit(cli.main([]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: [signal.signal(one, signal.SIG_DFL)
                            for one in (signal.SIGINT, signal.SIGHUP)],
    )  # fmt: skip
    assert process.stdout.readline() == "up\n"
    process.send_signal(getattr(signal, name))
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.startswith("run_all.sh: interrupted. What was computed stays")
    assert "Traceback" not in errors


# -- the script that is the door ---------------------------------------------------------------


def test_script_works_through_a_link_and_with_cdpath(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "asd").symlink_to(ROOT / "run_all.sh")
    (tmp_path / "again").symlink_to("bin/asd")
    shown = subprocess.run(
        ["./again", "--help"], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "CDPATH": f"{tmp_path}:/"},
    ).stdout  # fmt: skip
    assert shown == (ROOT / "asdlib" / "workbook" / "help.txt").read_text()


@pytest.fixture
def checkout(tmp_path):
    """A copy of the script with no requirements, so that its environment is made in seconds."""
    for name in ("run_all.sh", "asdlib/workbook/environment.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "requirements.txt").write_text("# none\n")
    (tmp_path / "asdlib" / "workbook" / "cli.py").write_text("print('reached')\n")
    return tmp_path


def call(checkout, **environment) -> subprocess.CompletedProcess:
    own = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH")
    inherited = {name: value for name, value in os.environ.items() if name not in own}
    return subprocess.run(
        [str(checkout / "run_all.sh")], cwd=checkout, capture_output=True, text=True, check=False,
        env={**inherited, "PYTHON": sys.executable, **environment},
    )  # fmt: skip


def test_environment_whose_interpreter_is_gone_is_made_again(checkout):
    gone = checkout / ".venv" / "bin" / "python"
    gone.parent.mkdir(parents=True)
    gone.symlink_to("/no/such/python3")
    stamp = environment.fingerprint("# none\n")
    (checkout / ".venv" / ".requirements").write_text(stamp + "\n")
    answer = call(checkout)
    assert (answer.returncode, answer.stdout) == (0, "reached\n"), answer.stderr
    assert "installing" not in call(checkout).stderr


def test_interpreter_that_is_not_there(checkout):
    answer = call(checkout, PYTHON="/no/such/python3")
    assert answer.returncode == 2
    assert answer.stderr.startswith("run_all.sh: /no/such/python3: no such interpreter")


@pytest.mark.parametrize(
    ("version", "machine", "expected"),
    [((3, 14), "x86_64", "expected 3.10 to 3.13"), ((3, 9), "arm64", "expected 3.10 to 3.13"),
     ((3, 12), "x86_64", "Intel Mac"), ((3, 12), "arm64", "")],
)  # fmt: skip
def test_what_cannot_be_installed_is_said_in_a_sentence(monkeypatch, version, machine, expected):
    monkeypatch.setattr(environment.sys, "version_info", (*version, 0))
    monkeypatch.setattr(environment.sys, "platform", "darwin")
    monkeypatch.setattr(environment.platform, "machine", lambda: machine)
    said = environment.obstacle()
    assert expected in said
    assert bool(said) == bool(expected)


# -- properties --------------------------------------------------------------------------------

_WORDS = st.sampled_from(
    ["fan", "pump", "01", "06", "[", "{a: [1", "a=b", "a|b", "$x$", "<b>", "=1", "ä ö", "..", "/",
     "~", "{}", "{fan: 1}", "null", "nan", "1e999", "-1", "0", "3", "smoke", "\n", "'",
     "#", "&a *a", "!x"]
) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
            max_size=8)  # fmt: skip
_PARAMETERS = [name for one in notebooks.list_notebooks() for name in one.parameters]
_OPTIONS = st.sampled_from(
    ["--machines", "--name", "--seeds", "--profile", "--only", "--from", "--extra-train", "--x"]
)
_CALLS = st.lists(
    st.tuples(_OPTIONS, _WORDS)
    | st.tuples(st.just("--set"),
                st.builds("{}={}".format, st.sampled_from(_PARAMETERS) | _WORDS, _WORDS)),
    max_size=4,
)  # fmt: skip
_FILES = st.lists(
    st.sampled_from([*train_and_test("fan"), "fan/a.wav", "a|b/normal/a.wav", "fan/normal/$x$.wav",
                     "pump/normal/=1.wav", "fan/old/a.wav", "fan/attributes_00.csv", "clips.csv"]),
    max_size=6, unique=True,
)  # fmt: skip


#: Of one machine that can be used, with recordings in places that are read or passed over.
_MACHINES = st.lists(
    st.sampled_from(["check/b.wav", "normal/sub/c.wav", "normal/.d.wav", "old/e.wav", "f.wav",
                     "check/Messung 3 (Süd).wav", "train/g.wav", "test/2026-05-02/h.wav"]),
    max_size=4, unique=True,
).map(["normal/1.wav", "normal/2.wav", "normal/3.wav"].__add__)  # fmt: skip
_SOUNDS = st.binary(max_size=60) | st.builds(
    wav_bytes, st.binary(max_size=96), code=st.sampled_from([1, 3, 7, 85, 0xFFFE]),
    bits=st.sampled_from([0, 8, 12, 16, 24, 32, 64]), channels=st.integers(0, 3),
    sample_rate=st.sampled_from([0, 1, 8000, 16000, 44100, 192000]),
    announced=st.none() | st.sampled_from([0, 7, 2**32 - 1]),
    before=st.just(b"") | st.builds(list_chunk, st.integers(0, 9)),
)  # fmt: skip
_COLUMNS = ["path", "machine_type", "domain", "condition", "split", " path", "rpm", "", "file_name"]
_TABLES = st.builds(
    lambda rows, end: end.join(",".join(row) for row in rows) + end,
    st.lists(st.lists(st.sampled_from([*_COLUMNS, *train_and_test("fan"), "normal", "target",
                                       "fan/a.wav", "../x.wav", "fan", '"']) | _WORDS, max_size=5),
             max_size=4),
    st.sampled_from(["\n", "\r\n", ";\n", "\r", ""]),
) | st.text(st.characters(exclude_categories=["Cs"]), max_size=30)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.just([]) | _CALLS, st.just([]) | _FILES, st.lists(_SOUNDS, max_size=3), _TABLES,
       st.just([]) | _MACHINES)  # fmt: skip
def test_whatever_is_asked_ends_well_or_in_five_plain_lines(
    tmp_path_factory, calls, files, sounds, table, machine
):
    root = tmp_path_factory.mktemp("call")
    make_tree(root / "set", files)
    make_tree(root / "set" / "wheel", machine, n_samples=4800)
    (root / "set").mkdir(exist_ok=True)
    recordings = sorted((root / "set").rglob("*.wav"))
    for path, sound in zip(recordings, sounds, strict=False):
        path.write_bytes(sound)
    for path in root.rglob("*.csv"):
        path.write_text(table, encoding="utf-8", newline="")
    words = [word for call in calls for word in call]
    arguments = ["--data", str(root / "set"), "--out", str(root), *words]
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(said):
        patch.setattr(run_command, "_execute", lambda *arguments: 0)
        status = cli.main(arguments)
    message = said.getvalue()
    assert status in (0, 2), message
    if status == 2:
        end = message[message.index("run_all.sh: ") :]
        assert len(end.splitlines()) <= 5, end
        assert "--debug shows where" not in end
    elif not {"--machines", "--only", "--from"} & set(words):  # all is read, or counted and named
        read = int(re.search(r", (\d+) recordings, machines", message)[1])
        passed_over = sum(map(int, re.findall(r"^(\d+) passed over", message, re.MULTILINE)))
        assert read + passed_over >= len(recordings), message
    assert "Traceback" not in message
