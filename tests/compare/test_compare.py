"""`eztorch compare` on run directories of real files."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from eztorch.cli import main
from eztorch.compare.commands import COMPARE
from eztorch.compare.comparison import BEST, Table, compare, direction
from eztorch.compare.runs import find_runs, read_run
from eztorch.compare.terminal import blocks
from eztorch.compare.webpage import shared_charts
from eztorch.utils.errors import ConfigError, DataError

ROOT = Path(__file__).parents[2]


def make_run(folder, *, temp=0.1, accuracy=0.5, loss=1.0, torch="2.14", files=None, evaluated=256):
    folder.mkdir(parents=True)
    config = {
        "dir": {"run": str(folder), "root": str(folder.parent), "exp": folder.name, "data": "/data"},
        "model": {"temp": temp, "queue": {"size": 64}, "sizes": [1, 2]},
        "callbacks": {"checkpoint": {"dirpath": f"{folder}/checkpoints"}},
        "objective": None,
    }
    metrics = {
        "knn/acc_1": accuracy,
        "knn/n_evaluated": evaluated,
        "knn/n_expected": 256,
        "pretrain/loss": loss,
        "health/std": 0.1,
        "time/data_wait": 0.2,
        "lr-AdamW": 0.0,
    }
    lines = [
        "step,pretrain/loss,knn/acc_1,knn/n_evaluated,time/samples_per_s",
        f"0,{loss + 1},,,100",
        f"9,{loss},,,300",
    ]
    lines += [f"19,{loss},{accuracy - 0.1},256,200", f"29,{loss},{accuracy},256,200"]
    contents = {
        "config.yaml": yaml.safe_dump(config),
        "metrics.json": json.dumps(metrics),
        "metrics.csv": "\n".join(lines) + "\n",
        "environment.json": json.dumps({"python": "3.11", "packages": {"torch": torch}, "gpus": []}),
        "report.html": "<html></html>",
    }
    for name, text in {**contents, **(files or {})}.items():
        if text is not None:
            (folder / name).write_text(text)
    return folder


@pytest.fixture
def pair(tmp_path):
    make_run(tmp_path / "a", temp=0.1, accuracy=0.5, loss=1.5)
    make_run(tmp_path / "b", temp=0.2, accuracy=0.75, loss=2.0, torch="2.15", evaluated=250)
    return tmp_path


@pytest.fixture
def sweep(tmp_path):
    folder = tmp_path / "sweep"
    for number in range(12):
        make_run(folder / f"{number}_model.temp-{number % 3}", temp=number % 3, accuracy=0.1 + 0.05 * (7 * number % 12))
    (folder / "multirun.csv").write_text("job\n")
    return folder


def names(*words):
    return [run.name for run in find_runs([str(word) for word in words]).runs]


def output(capsys, *words):
    status = main(["compare", *map(str, words)])
    streams = capsys.readouterr()
    return status, streams.out, streams.err


def test_find_runs__takes_directories_files_in_them_folders_and_patterns(pair, sweep, monkeypatch):
    assert names(pair / "b", pair / "a") == ["b", "a"]
    assert names(pair / "a" / "report.html", f"{pair}/a/", pair / "b") == ["a", "b"]
    assert names(f"{pair}/[ab]") == ["a", "b"]
    assert names(sweep)[:3] == ["0_model.temp-0", "1_model.temp-1", "2_model.temp-2"]
    assert names(sweep)[-1] == "11_model.temp-2"  # by number, not by letter
    assert names(pair)[:3] == ["a", "b", "sweep/0_model.temp-0"]
    monkeypatch.chdir(pair)
    assert names("a", "b/../b") == ["a", "b"]


def test_find_runs__a_run_that_holds_a_multirun_is_one_of_them(tmp_path):
    outer = make_run(tmp_path / "outer")
    make_run(outer / "0_x")
    assert names(outer) == ["outer"]
    (outer / "multirun.csv").write_text("job\n")
    assert names(outer) == ["outer", "outer/0_x"]


def test_find_runs__names_what_is_left_out(pair):
    (pair / "empty").mkdir()
    (pair / "broken").mkdir()
    (pair / "broken" / "metrics.json").write_text("{")
    (pair / "notes.txt").write_text("")
    found = find_runs([str(pair / name) for name in ("a", "empty", "broken", "nothing", "notes.txt")])
    assert [run.name for run in found.runs] == ["a"]
    empty, nothing, notes, broken = found.broken
    assert empty == f"{pair}/empty: neither it nor a folder in it has one of config.yaml, metrics.json, metrics.csv"
    assert nothing == f"{pair}/nothing: there is no such folder, and none like it"
    assert notes == f"{pair}/notes.txt: its folder is no run directory"
    assert broken.startswith(f"{pair}/broken: no config.yaml; no environment.json; no metrics.csv; metrics.json cannot")
    with pytest.raises(DataError, match=r"there is no run to compare\.\n  .*nothing: there is no such folder"):
        find_runs([str(pair / "nothing")])


@pytest.mark.parametrize(
    ("files", "note"),
    [
        ({"environment.json": None}, "no environment.json"),
        ({"config.yaml": "a: [1"}, "config.yaml cannot be read"),
        ({"config.yaml": "- 1"}, "config.yaml cannot be read (it is no mapping)"),
        ({"metrics.csv": "loss\n1\n"}, "metrics.csv cannot be read"),
        ({"metrics.csv": "step,loss\n1,x\n"}, "metrics.csv cannot be read"),
        ({"metrics.json": '{"a": null}'}, "metrics.json cannot be read"),
        ({"environment.json": "[]"}, "environment.json cannot be read"),
    ],
)
def test_read_run__notes_each_file_that_is_missing_or_broken_and_keeps_the_others(tmp_path, files, note):
    run = read_run(make_run(tmp_path / "a", files=files))
    assert run.notes[0].startswith(note)
    assert run.config or "config.yaml" in files
    assert run.metrics["pretrain/loss"] == 1.0


def test_read_run__shows_the_last_values_of_a_run_that_has_not_ended(tmp_path):
    run = read_run(make_run(tmp_path / "a", accuracy=0.4, files={"metrics.json": None}))
    assert run.metrics["knn/acc_1"] == 0.4
    assert run.notes == ("no metrics.json", "it runs, or was stopped: the last values of metrics.csv are shown")


def test_read_run__takes_a_configuration_for_what_it_does_and_not_for_where(pair):
    first, second = find_runs([str(pair)]).runs
    assert first.config["callbacks.checkpoint.dirpath"] == "${dir.run}/checkpoints"
    different = {key for key in first.config if first.config[key] != second.config[key]}
    assert different == {"model.temp"}
    assert first.speed() == {"samples/s": 200.0}


def test_compare__two_runs_are_columns_with_the_best_values_marked(pair):
    results, speeds, configuration, surroundings = compare(find_runs([str(pair)]).runs).tables()
    assert results.header == ("metric", "1: a", "2: b")
    assert results.rows == [
        ("knn/acc_1", "0.5 (256/256)", f"0.75 (250/256){BEST}"),
        ("pretrain/loss", f"1.5{BEST}", "2"),
        ("health/std", "0.1", "0.1"),
    ]
    assert speeds.rows == [("1: a", "200"), ("2: b", "200")]
    assert configuration.rows == [("model.temp", "0.1", "0.2")]
    assert surroundings.rows == [("packages.torch", "2.14", "2.15")]


def test_compare__many_runs_are_rows_and_their_differences_are_grouped(sweep):
    results, _, configuration = compare(find_runs([str(sweep)]).runs, sort="knn/acc_1").tables()
    assert results.header == ("run", "knn/acc_1", "pretrain/loss", "health/std")
    values = [float(row[1].split()[0]) for row in results.rows]
    assert values == sorted(values, reverse=True)
    assert [BEST in row[1] for row in results.rows] == [True] + [False] * 11
    assert not any(BEST in row[2] for row in results.rows)  # all the same
    ((key, grouped),) = configuration.rows
    found = {value: numbers.split(", ") for value, numbers in re.findall(r"(\d+) \(([\d, ]+)\)", grouped)}
    assert key == "model.temp"
    assert {value: {results.rows[int(i) - 1][0][-1] for i in found[value]} for value in found} == {
        "0": {"0"},
        "1": {"1"},
        "2": {"2"},
    }


def test_compare__sorts_losses_from_the_lowest_and_runs_without_the_metric_last(tmp_path):
    for name, loss in (("a", 2.0), ("b", 1.0), ("c", float("nan")), ("d", 3.0)):
        make_run(tmp_path / name, loss=loss)
    (tmp_path / "d" / "metrics.json").write_text('{"x": 1}')
    ordered = compare(find_runs([str(tmp_path)]).runs, sort="pretrain/loss").runs
    assert [run.name for run in ordered] == ["b", "a", "c", "d"]


def test_compare__chooses_metrics_by_patterns(pair):
    runs = find_runs([str(pair)]).runs
    assert compare(runs, patterns=["health/*", "lr-*"]).metrics == ["health/std", "lr-AdamW"]
    with pytest.raises(ConfigError, match=r"--metric='knn/acc_2' is not known.*Did you mean 'knn/acc_1'"):
        compare(runs, patterns=["knn/acc_2"])
    with pytest.raises(ConfigError, match=r"--sort='pretrian/loss' is not known.*Did you mean 'pretrain/loss'"):
        compare(runs, sort="pretrian/loss")


def test_compare__objectives_come_first(tmp_path):
    make_run(tmp_path / "a", files={"config.yaml": "objective: health/std\n"})
    assert compare(find_runs([str(tmp_path)]).runs).metrics[0] == "health/std"


def test_direction__of_metrics_by_their_last_word():
    assert {name: direction(name) for name in ("val/map", "test/ece", "online/val_loss", "health/std", "lossless")} == {
        "val/map": 1,
        "test/ece": -1,
        "online/val_loss": -1,
        "health/std": 0,
        "lossless": 0,
    }


def test_blocks__fit_the_width_and_lose_no_column(sweep):
    table = compare(find_runs([str(sweep)]).runs, patterns=["*"]).tables()[0]
    parts = list(blocks(table, 60))
    assert [name for part in parts for name in part.header[1:]] == list(table.header[1:])
    assert all(part.header[0] == "run" and len(part.rows) == 12 for part in parts)
    assert len(parts) > 1
    (whole,) = blocks(table, 10_000)
    assert whole.rows == [list(row) for row in table.rows]


@pytest.mark.parametrize("width", [80, 100, 120, 121])
def test_blocks__keep_two_runs_side_by_side(width):
    cell = "long" * 40
    assert len(list(blocks(Table("Differences", ["key", "a", "b"], [[cell, cell, cell]]), width))) == 1


def test_page__breaks_neither_names_nor_numbers(pair, tmp_path):
    page = tmp_path / "compare.html"
    assert main(["compare", str(pair / "a"), str(pair / "b"), "--output", str(page)]) == 0
    assert '<td class="short">0.75 (250/256)' in page.read_text()


def test_command__prints_tables_that_the_terminal_has_room_for(pair, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    status, out, err = output(capsys, pair / "a", pair / "b")
    assert (status, err) == (0, "")
    assert all(len(line.rstrip()) <= 70 for line in out.splitlines())
    for words in ("0.75 (250/256)", "model.temp", "packages.torch", "samples/s"):
        assert words in out
    assert "callbacks" not in out


def test_command__left_out_runs_are_named_and_the_others_compared(pair, capsys):
    status, out, err = output(capsys, pair / "a", pair / "nothing")
    assert status == 1
    assert "0.5 (256/256)" in out
    assert err == f"eztorch compare: left out: {pair}/nothing: there is no such folder, and none like it\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["/nothing/here"], "eztorch compare: error: there is no run to compare."),
        ([], "eztorch compare: error: the following arguments are required: RUN"),
        (["a", "--srot", "x"], "eztorch compare: error: unknown flag '--srot'. Did you mean '--sort'?"),
        (["b", "-o", "a"], "eztorch compare: error: --output a: expected a file whose name ends in .html."),
    ],
)
def test_command__says_what_it_cannot_use(pair, words, message, capsys, monkeypatch):
    monkeypatch.chdir(pair)
    status, _, err = output(capsys, *words)
    assert status == 2
    assert message in err


def test_command__prints_json_that_is_valid(pair, capsys):
    (pair / "a" / "metrics.json").write_text('{"knn/acc_1": NaN, "pretrain/loss": 1.0}')
    status, out, err = output(capsys, pair, "--json", "--metric", "knn/*")
    assert (status, err) == (0, "")
    content = json.loads(out, parse_constant=pytest.fail)
    first, second = content["runs"]
    assert first["metrics"] == {"knn/acc_1": None}
    assert second["metrics"] == {"knn/acc_1": 0.75, "knn/n_evaluated": 250, "knn/n_expected": 256}
    assert (first["config"], second["config"]) == ({"model.temp": 0.1}, {"model.temp": 0.2})
    assert second["environment"] == {"packages.torch": "2.15"}
    assert content["left_out"] == []


def test_command__of_runs_without_metrics_that_are_the_same(tmp_path, capsys):
    for name in ("a", "b"):
        make_run(tmp_path / name, files={"metrics.json": "{}", "metrics.csv": "step\n"})
    status, out, _ = output(capsys, tmp_path, "-o", tmp_path / "new" / "page.html")
    assert status == 0
    assert out == "The runs have no metrics, and do not differ in anything that is known of them.\n"
    assert "2 runs side by side" in (tmp_path / "new" / "page.html").read_text()


def test_command__writes_values_of_configurations_that_json_does_not_know(tmp_path, capsys):
    for name, value in (("a", ".inf"), ("b", "2026-01-02"), ("c", "[]")):
        make_run(tmp_path / name, files={"config.yaml": f"x: {value}\n"})
    _, out, _ = output(capsys, tmp_path, "--json")
    content = json.loads(out, parse_constant=pytest.fail)
    assert [run["config"]["x"] for run in content["runs"]] == ["inf", "2026-01-02", []]


@pytest.mark.parametrize("example", COMPARE.examples)
def test_examples__are_commands_that_the_parser_takes(example):
    program, name, *words = shlex.split(example)
    assert (program, name) == ("eztorch", "compare")
    assert COMPARE.parser().parse_words(words).runs


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.text, self.sources = "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.sources += [value for name, value in attributes if name in ("src", "srcset", "href")]

    def handle_data(self, data):
        self.text += data


def test_command__writes_a_page_that_opens_offline(pair, capsys, monkeypatch):
    monkeypatch.chdir(pair)
    status, _, err = output(capsys, "a", "b", "gone<b>", "--output")
    assert status == 1
    assert "compare.html: 2 runs" in err
    page = Page((pair / "compare.html").read_text(encoding="utf-8"))
    assert len(page.sources) == 2 * 3  # loss, accuracy and speed, each for a light and a dark page
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    for words in ("2 runs side by side", "0.75 (250/256)", "model.temp0.10.2", "gone<b>: there is no such folder"):
        assert words in page.text, words


def test_shared_charts__overlay_what_several_runs_have(sweep, pair):
    two = shared_charts(compare(find_runs([str(pair / "a"), str(pair / "b")]).runs))
    assert [chart.title for chart in two] == ["knn/acc_1", "pretrain/loss", "time/samples_per_s"]
    assert list(two[0].curves) == ["1: a", "2: b"]
    assert [chart.is_share for chart in two] == [True, False, False]
    many = shared_charts(compare(find_runs([str(sweep)]).runs, patterns=["*loss"]))
    assert [(chart.title, list(chart.curves)) for chart in many] == [("pretrain/loss", [str(i + 1) for i in range(12)])]
    (pair / "b" / "metrics.csv").write_text("step,pretrain/loss\n0,1\n")
    lonely = shared_charts(compare(find_runs([str(pair / "a"), str(pair / "b")]).runs))
    assert [chart.title for chart in lonely] == ["pretrain/loss"]


def test_command__imports_neither_torch_nor_what_draws(pair):
    code = (
        "import sys; from eztorch.cli import main; status = main(sys.argv[1:]); "
        "print(*{'torch', 'numpy', 'matplotlib', 'lightning'} & set(sys.modules), file=sys.stderr); sys.exit(status)"
    )
    for words in (["--help"], [str(pair / "a"), str(pair / "b")]):
        command = [sys.executable, "-W", "error", "-c", code, "compare", *words]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr.strip()) == (0, "")
    assert "eztorch compare" in done.stdout or "Metrics" in done.stdout
