import base64
import json
import re
from html.parser import HTMLParser

import pytest
import torch

from eztorch.visualization import save_contact_sheet, write_report
from eztorch.visualization.report import charts, headline

METRICS = {
    "pretrain/loss": ([0.0, 9.0], [4.0, 2.0]),
    "lr-LARS": ([0.0, 9.0], [0.0, 0.6]),
    "knn/acc_1": ([0.0, 9.0], [0.2, 0.551]),
    "knn/acc_1_untrained": ([0.0], [0.2]),
    "knn/n_evaluated": ([9.0], [95.0]),
    "knn/n_expected": ([9.0], [96.0]),
    "health/std": ([9.0], [0.1]),
    "time/samples_per_s": ([0.0, 9.0], [100.0, 300.0]),
    "time/data_wait": ([0.0, 9.0], [0.5, 0.1]),
}


class Page(HTMLParser):
    """Checks that tags match and keeps text, pictures and addresses."""

    VOID = ("meta", "img", "source")

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.sources = [], "", []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.sources += [value for name, value in attributes if name in ("src", "srcset", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def write_csv(folder):
    steps = sorted({step for steps, _ in METRICS.values() for step in steps})
    lines = [",".join(["step", *METRICS])]
    for step in steps:
        cells = [str(dict(zip(*curve, strict=True)).get(step, "")) for curve in METRICS.values()]
        lines.append(",".join([str(int(step)), *cells]))
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture
def run_dir(tmp_path):
    write_csv(tmp_path)
    save_contact_sheet(torch.rand(2, 3, 4, 8, 8), tmp_path / "views.png")
    (tmp_path / "failed_samples.csv").write_text(
        "split,epoch,idx,path,decoder,reason\ntrain,0,3,a<b>.mp4,pyav,no frames\n"
    )
    (tmp_path / "environment.json").write_text(
        json.dumps({"python": "3.11", "packages": {"torch": "2.15"}, "gpus": []})
    )
    return tmp_path


def test_report__is_one_file_that_opens_offline_and_says_it_all(run_dir):
    path = write_report(
        run_dir,
        title="a & b",
        command="python run/pretrain.py -cn demo a='<x>'",
        num_classes=8,
        recipe="demo",
        differences=[("trainer.max_epochs", 200, 3)],
    )
    assert path == run_dir / "report.html"
    page = Page(path.read_text(encoding="utf-8"))
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert all(base64.b64decode(source.split(",")[1])[1:4] == b"PNG" for source in page.sources)
    assert len(page.sources) == 2 * 6 + 1  # six charts, each for a light and a dark page, and the views
    text = re.sub(r"\s+", " ", page.text)
    for expected in (
        "a & b",
        "20.0% → 55.1%",
        "+35.1 points, chance 12.5%, 95 of 96 samples evaluated",
        "python run/pretrain.py -cn demo a='<x>'",
        "Differences from demo",
        "trainer.max_epochs2003",
        "a<b>.mp4",
        "packages.torch2.15",
        "health/std0.19",
    ):
        assert expected in text, expected
    assert "gpus" not in text


def test_report__of_an_empty_folder_is_a_page(tmp_path):
    page = Page(write_report(tmp_path, title="t", command="c").read_text(encoding="utf-8"))
    assert page.sources == []
    assert "Failed samples" not in page.text
    assert "Differences" not in page.text


def test_report__says_that_a_run_is_the_recipe(tmp_path):
    page = Page(write_report(tmp_path, title="t", command="c", recipe="demo").read_text(encoding="utf-8"))
    assert "Differences from demoNone." in page.text


def test_report__shows_the_first_of_many_failures_and_counts_them(tmp_path):
    lines = [f"train,0,{i},v{i}.mp4,pyav,bad" for i in range(120)]
    (tmp_path / "failed_samples.csv").write_text("\n".join(["split,epoch,idx,path,decoder,reason", *lines]) + "\n")
    page = Page(write_report(tmp_path, title="t", command="c").read_text(encoding="utf-8"))
    assert "120 in all, the first 50 of them here." in page.text
    assert "v49.mp4" in page.text
    assert "v50.mp4" not in page.text


def test_report__shows_the_tests_under_corruptions(tmp_path):
    (tmp_path / "robustness.csv").write_text("corruption,severity,value\nclean,0,0.75\njpeg,3,0.5\n")
    page = Page(write_report(tmp_path, title="t", command="c").read_text(encoding="utf-8"))
    assert "Robustnesscorruptionseverityvalueclean00.75jpeg30.5" in page.text


def test_headline__puts_the_key_result_first():
    tiles = headline(METRICS, 1 / 8)
    assert tiles[0][:2] == ("kNN accuracy", "20.0% → 55.1%")
    assert ("Loss", "4 → 2", "10 steps") in tiles
    assert ("Speed", "200 samples/s", "30% of the time waiting for data") in tiles
    only_after = {"knn/acc_1": ([9.0], [0.5])}
    assert headline(only_after, None) == [("kNN accuracy", "50.0%", "")]
    supervised = {
        name: ([9.0], [value])
        for name, value in {"test/acc_1": 0.7, "test/n_evaluated": 9, "test/n_expected": 10}.items()
    }
    assert headline(supervised, None) == [("Test accuracy", "70.0%", "9 of 10 samples evaluated")]


def test_charts__show_what_there_is():
    assert [chart.title for chart in charts(METRICS, 0.125)][:3] == ["Loss", "Learning rate", "Accuracy"]
    assert charts({}, None) == []
    accuracy = charts(METRICS, 0.125)[2]
    assert (list(accuracy.curves), accuracy.levels, accuracy.is_share) == (["kNN"], {"chance": 0.125}, True)


def test_charts__of_many_learning_rates_show_the_slowest_and_the_fastest():
    rates = {f"lr-AdamW/{i}": ([0.0, 1.0], [0.0, 0.1 * i]) for i in range(12)}
    assert list(charts(rates, None)[0].curves) == ["AdamW/0", "AdamW/11"]
