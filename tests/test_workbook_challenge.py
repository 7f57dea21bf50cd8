"""The commands for the challenge's data, on a local stand-in of its hosts."""

import json
import shutil
from argparse import Namespace
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pandas as pd
import pytest
from challenge_server import EVAL_TRUTH, TINY, dev_files, fill, serve, zip_bytes

from asdlib.challenge import catalogue, read_facts
from asdlib.challenge.transfer import Hosts
from asdlib.data import read_clips
from asdlib.report.tables import differences, render_differences, result_table
from asdlib.scoring import METRIC_COLUMNS, published_figures
from asdlib.workbook import cli, datasets

GOLDEN = Path(__file__).parent / "golden" / "worked_example"


@pytest.fixture
def server(monkeypatch):
    with serve() as found:
        fill(found)
        monkeypatch.setenv("ASDLIB_ZENODO_URL", found.url + "/")
        monkeypatch.setenv("ASDLIB_GITHUB_URL", found.url)
        monkeypatch.setitem(catalogue.EDITIONS, "dcase2025", TINY)
        yield found


def failure(capsys, *arguments):
    assert cli.main(list(arguments)) == 2
    return capsys.readouterr().err


def test_the_hosts_are_named_by_the_environment(monkeypatch):
    monkeypatch.setenv("ASDLIB_ZENODO_URL", "http://mirror/")
    monkeypatch.setenv("ASDLIB_GITHUB_URL", "http://other")
    hosts = Hosts.from_environment()
    assert hosts.archive(7, "dev_fan.zip") == "http://mirror/records/7/files/dev_fan.zip"
    assert hosts.truth("a.csv").startswith("http://other/nttcslab/")
    monkeypatch.delenv("ASDLIB_ZENODO_URL")  # nothing is fetched here
    assert Hosts.from_environment().listing(7) == "https://zenodo.org/api/records/7"


def test_fetch(server, capsys, tmp_path):
    call = ["fetch", "dcase2025", "--subset", "both", "--data-dir", str(tmp_path)]
    assert cli.main(call) == 0
    shown = capsys.readouterr().err
    assert "4 archives: 0.00 GB to download" in shown
    assert "GB free" in shown
    assert f"complete in {tmp_path / 'dcase2025t2'}" in shown
    assert len(read_clips(tmp_path / "dcase2025t2")) == 28
    assert (tmp_path / "dcase2025t2" / "truth" / "eval_data_list_2025.csv").exists()
    assert cli.main([*call, "--machines", "fan,ToyPet"]) == 0


def test_fetch_without_the_lists_is_no_failure(server, capsys, tmp_path):
    for path in list(server.files):
        if "datasets" in path:
            del server.files[path]
    assert cli.main(["fetch", "dcase2025", "--data-dir", str(tmp_path)]) == 0
    assert "hidden truth stays hidden" in capsys.readouterr().err


def test_fetch_may_keep_the_archives(server, tmp_path):
    call = ["fetch", "dcase2025", "--machines", "fan", "--data-dir", str(tmp_path)]
    assert cli.main([*call, "--keep-archives"]) == 0
    archives = tmp_path / "dcase2025t2" / "archives"
    assert [path.name for path in archives.iterdir()] == ["dev_fan.zip"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["fetch", "dcase2019"],
            "no data set dcase2019. There are: dcase2023, dcase2024, dcase2025, dcase2026",
        ),
        (
            ["fetch", "dcase2025", "--subset", "test"],
            "no --subset test. There are: dev, eval, both",
        ),
        (["fetch", "dcase2025", "--machines", "pump"], "pump: not in dcase2025"),
        (["fetch"], "required: dataset"),
        (["--dataset", "dcase2025", "--data", "x"], "--data: is another folder"),
        (["--subset", "dev"], "--subset: belongs to --dataset"),
        (["--extra-train", "dcase2024"], "--extra-train: belongs to --dataset"),
        (["--dataset", "dcase2025", "--extra-train", "dcase2025"], "of the run itself"),
        (
            ["--dataset", "dcase2025", "--subset", "eval", "--machines", "fan"],
            "none of them is in the subset eval of dcase2025. There are: AutoTrash",
        ),
        (["score", str(GOLDEN), "--truth", "dcase2019"], "expected dcase2023"),
        (["score", str(GOLDEN), "--truth", "dcase2024", "--name", "../x"], "--name '../x'"),
        (["score", "--truth", "dcase2025"], "required: folders"),
    ],
)
def test_calls_that_make_no_sense(capsys, arguments, message):
    assert message in failure(capsys, *arguments)


def choose(dataset="dcase2025", subset=None, machines=None, extra=None):
    options = Namespace(subset=subset, machines=machines, extra_train=extra, data_dir=Path("/d"))
    return datasets.choose(options, dataset)


def test_what_is_scored_and_what_trains_along():
    dev = choose()
    assert (dev.name, len(dev.scored), dev.trained_along) == ("dcase2025_dev", 7, [])
    both = choose(subset="both", extra=["dcase2024"])
    assert (both.name, len(both.scored)) == ("dcase2025_both_with_2024", 15)
    held_out = choose(subset="eval")
    assert (len(held_out.scored), len(held_out.trained_along)) == (8, 7)
    few = choose(subset="eval", machines=["ToyPet", "fan"])
    assert (few.scored, few.trained_along) == (["ToyPet"], ["fan"])


def test_two_channels_choose_the_near_one_and_say_so(server, tmp_path, monkeypatch):
    noisy = replace(TINY, name="dcase2026", channels=2, truth=(), clips={})
    monkeypatch.setitem(catalogue.EDITIONS, "dcase2026", noisy)
    files = {name: zip_bytes(dev_files(name, channels=2)) for name in ("fan", "valve")}
    server.put_record(1, {f"dev_{name}.zip": content for name, content in files.items()})
    options = Namespace(subset=None, machines=None, extra_train=None, data_dir=tmp_path)
    chosen = datasets.choose(options, "dcase2026")
    for channel in (0, 1):
        found = datasets.bring(chosen, tmp_path / "view", channel)
        assert found == {"channel": channel}
        facts = read_facts(tmp_path / "view")
        assert (facts["channel"], facts["channels"], facts["verified"]) == (channel, 2, True)
    assert set(read_clips(tmp_path / "view")["channels"]) == {2}


def test_another_year_trains_along(server, tmp_path, monkeypatch):
    older = replace(TINY, name="dcase2024", truth=())
    monkeypatch.setitem(catalogue.EDITIONS, "dcase2024", older)
    options = Namespace(subset=None, machines=["fan"], extra_train=["dcase2024"], data_dir=tmp_path)
    datasets.bring(datasets.choose(options, "dcase2025"), tmp_path / "view", 0)
    clips = read_clips(tmp_path / "view")
    assert set(clips.query("split == 'test'")["machine_type"]) == {"fan"}
    assert set(clips["machine_type"]) == {"fan", "fan_2024", "valve_2024", "ToyPet_2024"}
    assert not (tmp_path / "dcase2024t2" / "eval_data" / "raw" / "ToyPet" / "test").exists()
    assert set(read_facts(tmp_path / "view")["lock"]) == {"dcase2025", "dcase2024"}


def score(out, *folders, truth=GOLDEN / "eval_data_list.csv", name="scored"):
    call = ["score", *map(str, folders), "--truth", str(truth), "--out", str(out), "--name", name]
    return cli.main([*call, "--data-dir", str(out / "data")])


def test_a_submission_is_scored_with_the_official_table(tmp_path, capsys):
    assert score(tmp_path, GOLDEN) == 0
    folder = tmp_path / "results" / "scored"
    official = pd.read_csv(folder / "official.csv")
    value = official.loc[official["row"] == "official score", "auc"].item()
    assert value == pytest.approx(float(Fraction(4485, 6341)))
    assert f"{value:.4f}" in capsys.readouterr().out
    for name in ("scores.csv", "metrics.csv", "official.csv", "table.csv", "table.md"):
        assert json.loads((folder / f"{name}.json").read_text())["command"] == "score"
    table = pd.read_csv(folder / "table.csv")
    assert set(table["system"]) == {"worked_example"}


def test_several_systems_become_columns_and_true_names_are_known(tmp_path, capsys):
    renamed = tmp_path / "renamed"
    shutil.copytree(GOLDEN, renamed)
    machine_type, true = "", {}
    for line in (GOLDEN / "eval_data_list.csv").read_text().split():
        published, _, name = line.partition(",")
        machine_type = machine_type if name else published
        true[machine_type, published] = name
    for path in renamed.glob("*_test.csv"):
        machine_type = path.name.split("_")[2]
        rows = [line.split(",") for line in path.read_text().split()]
        path.write_text("".join(f"{true[machine_type, a]},{b}\n" for a, b in rows))
    assert score(tmp_path, GOLDEN, renamed) == 0
    official = pd.read_csv(tmp_path / "results" / "scored" / "official.csv")
    one, two = (part.drop(columns="system").reset_index(drop=True)
                for _, part in official.groupby("system"))  # fmt: skip
    pd.testing.assert_frame_equal(one, two)
    assert "| worked_example | renamed |" in capsys.readouterr().out


def test_submissions_that_cannot_be_scored(tmp_path, capsys):
    short = tmp_path / "short"
    shutil.copytree(GOLDEN, short)
    path = short / "anomaly_score_valve_section_00_test.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    (short / "decision_result_valve_section_00_test.csv").unlink()
    assert score(tmp_path, short) == 2
    assert "of valve 1 of 4 clips are missing" in capsys.readouterr().err
    assert score(tmp_path, tmp_path) == 2
    assert "holds no anomaly_score" in capsys.readouterr().err
    assert score(tmp_path, GOLDEN, GOLDEN) == 2
    assert "a second system called worked_example" in capsys.readouterr().err


def test_scoring_against_an_edition_fetches_its_list(server, tmp_path, capsys):
    folder = tmp_path / "team" / "submission"
    folder.mkdir(parents=True)
    rows = [(name, i) for i, (name, _) in enumerate(EVAL_TRUTH)]
    for kind in ("anomaly_score", "decision_result"):
        text = "".join(f"{name},{value % 2}\n" for name, value in rows)
        (folder / f"{kind}_ToyPet_section_00_test.csv").write_text(text)
    dev = "".join(
        f"section_00_{domain}_test_{condition}_0000_spd_1.wav,{i}\n"
        for i, (domain, condition) in enumerate(
            (domain, condition) for domain in ("source", "target")
            for condition in ("normal", "anomaly"))
    )  # fmt: skip
    (folder / "anomaly_score_fan_section_00_test.csv").write_text(dev)
    assert score(tmp_path, folder, truth="dcase2025") == 0
    table = pd.read_csv(tmp_path / "results" / "scored" / "table.csv")
    assert {"team", "baseline MSE"} <= set(table["system"])
    assert set(table["machine_type"]) == {"fan", "ToyPet", "all"}
    own = table[table["system"] == "team"]
    assert own["value"].notna().all()


def write_scores(folder, machine, names):
    folder.mkdir(exist_ok=True)
    text = "".join(f"{name},{i}\n" for i, name in enumerate(names))
    (folder / f"anomaly_score_{machine}_section_00_test.csv").write_text(text)
    return folder


def test_development_machines_need_no_list(tmp_path):
    names = [f"section_00_{domain}_test_{condition}_{i:04d}_a_1.wav"
             for i, (domain, condition) in enumerate(
                 [("source", "normal"), ("target", "normal"), ("source", "anomaly")])]  # fmt: skip
    team = write_scores(tmp_path / "team", "fan", names)
    assert score(tmp_path, team, truth="dcase2025") == 0
    table = pd.read_csv(tmp_path / "results" / "scored" / "table.csv")
    assert {"team", "report (Chu and Qian)"} <= set(table["system"])


@pytest.mark.parametrize(
    ("machine", "truth", "message"),
    [
        ("pump", "dcase2025", "dcase2025: has no machine pump. There are: ToyCar"),
        ("Sander", "dcase2026", "no list of true names is known"),
        ("pump", GOLDEN / "eval_data_list.csv", "its domain or condition is unknown"),
    ],
)
def test_scores_without_truth_are_refused(tmp_path, capsys, machine, truth, message):
    team = write_scores(tmp_path / "team", machine, ["section_00_0000.wav"])
    assert score(tmp_path, team, truth=truth) == 2
    assert message in capsys.readouterr().err


def test_machines_without_scores_are_named(tmp_path, capsys):
    part = tmp_path / "part"
    part.mkdir()
    for path in GOLDEN.glob("*_fan_*"):
        shutil.copy(path, part)
    assert score(tmp_path, part) == 0
    assert "without scores: valve" in capsys.readouterr().out


def make_table(machines, published):
    rows = [
        ("knn", 0, machine, metric, 0.6, 0.5, 0.7, 50, 100, "")
        for machine in [*machines, "all"]
        for metric in ("auc_source", "auc_target", "pauc")
    ]
    rows.append(("knn", 0, "all", "official_score", 0.6, 0.5, 0.7, 350, 700, ""))
    metrics = pd.DataFrame(rows, columns=METRIC_COLUMNS).astype({"seed": "Int64"})
    return result_table(metrics, published=published)


def test_differences_to_the_published_figures():
    published = published_figures("dcase2025", ["dev"])
    machines = list(dict.fromkeys(published["machine_type"]))[:7]
    table = differences(make_table(machines, published), system="knn")
    row = table.query("machine_type == 'ToyCar' and metric == 'auc_source'")
    found = dict(zip(row["published_system"], row["difference"], strict=True))
    assert found == pytest.approx({
        "report (Chu and Qian)": 0.6 - 0.9430,
        "baseline MSE": 0.6 - 0.7105,
        "baseline Mahalanobis": 0.6 - 0.7317,
    })  # fmt: skip
    official = table[table["metric"] == "official_score"]
    assert "best ensemble" in official["published_system"].tolist()
    text = render_differences(table)
    assert "| ToyCar | AUC (source) | -0.343 | -0.111 | -0.132 |" in text
    assert differences(make_table(machines, None), system="knn").empty


def test_means_stand_only_beside_means_over_the_same_machines():
    published = published_figures("dcase2025", ["dev", "eval"])
    assert "all" not in set(published["machine_type"])
    table = make_table(["fan", "ToyPet"], published)
    means = table[table["machine_type"] == "all"]
    assert set(means["system"]) == {"knn"}
    assert set(published_figures("dcase2023", ["dev"])) == set(published)
