"""`eztorch predictions`: what is shown, measured and fused on the command line."""

import subprocess
import sys

import pytest
import torch

from eztorch.cli import main
from eztorch.evaluation import Predictions, fuse, measure
from eztorch.predictions.commands import PREDICTIONS


@pytest.fixture
def streams(tmp_path):
    """Files of two streams of 12 videos and 4 classes, in which each tells what the other does not."""
    files = []
    for number, name in enumerate(("rgb", "flow")):
        labels = torch.arange(12) % 4
        logits = torch.randn(12, 4, generator=torch.Generator().manual_seed(number))
        logits[range(number, 12, 2), labels[number::2]] += 4
        protocol = {"split": "test", "views": {"temporal": 10, "spatial": 3}, "n_evaluated": 12, "n_expected": 13}
        names = tuple(f"v{place:02d}{'.mp4' if number == 0 else ''}" for place in range(12))
        file = tmp_path / name / "predictions" / "test.safetensors"
        Predictions(torch.arange(12), labels, logits.softmax(1), names, tuple("abcd"), protocol).save(file)
        files.append(file)
    return files


@pytest.mark.parametrize("words", [["--help"], *([name, "--help"] for name in PREDICTIONS.commands)])
def test_help__does_not_load_torch(words):
    code = (
        "import sys; from eztorch.cli import main; main(sys.argv[1:]); print('torch' in sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "predictions", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.strip() == "False"
    assert "eztorch predictions" in done.stdout


def test_commands__load_neither_lightning_nor_torchvision(streams):
    code = (
        "import sys; from eztorch.cli import main; main(sys.argv[1:]); "
        "print({'lightning', 'torchmetrics', 'torchvision'} & sys.modules.keys(), file=sys.stderr)"
    )
    for words in (["score", str(streams[0])], ["fuse", *map(str, streams)]):
        command = [sys.executable, "-c", code, "predictions", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert done.stderr.strip() == "set()"


def test_show__tells_what_is_in_a_file(streams, capsys):
    assert main(["predictions", "show", str(streams[0]), "--rows", "2"]) == 0
    told = capsys.readouterr().out
    for line in (
        "videos   12",
        "classes  4",
        "views.temporal  10",
        "n_expected      13",
        "v00.mp4  is a, predicted a (0.9",
    ):
        assert line in told, line
    assert "v02.mp4" not in told


def test_show__tells_of_what_is_missing(tmp_path, capsys):
    labels = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    Predictions(torch.tensor([0, 4]), labels, torch.tensor([[0.9, 0.2], [0.1, 0.3]])).save(tmp_path / "a.safetensors")
    assert main(["predictions", "show", str(tmp_path / "a.safetensors")]) == 0
    told = capsys.readouterr().out
    assert "2, without names" in told
    assert "0  is 0 and 1, predicted 0 (0.900)" in told
    assert "4  is nothing, predicted 1 (0.300)" in told


def test_score__prints_what_measure_gives(streams, tmp_path, capsys):
    values = measure(Predictions.load(streams[0]), ["acc_1", "acc_3", "ece"])
    words = ["--metric", "acc_1", "acc_3", "ece", "--classes", str(tmp_path / "classes.csv")]
    assert main(["predictions", "score", str(streams[0]), *words]) == 0
    told = capsys.readouterr().out
    for name, value in values.items():
        assert [name, f"{value:.0f}" if name.startswith("n_") else f"{value:.4f}"] in [
            line.split() for line in told.splitlines()
        ]
    assert "12 of 13 videos were evaluated." in told
    assert len((tmp_path / "classes.csv").read_text().splitlines()) == 5


def test_score__takes_groups(streams, tmp_path, capsys):
    (tmp_path / "groups.csv").write_text("a,x\nb,x\nc,y\nd,y\n")
    assert main(["predictions", "score", str(streams[0]), "--groups", str(tmp_path / "groups.csv")]) == 0
    assert "group_acc_sum" in capsys.readouterr().out
    (tmp_path / "groups.csv").write_text("a,x\n")
    assert main(["predictions", "score", str(streams[0]), "--groups", str(tmp_path / "groups.csv")]) == 2
    assert "3 of 4 classes have no group: b, c, d" in capsys.readouterr().err


def test_fuse__writes_what_fuse_gives_and_a_table(streams, tmp_path, capsys):
    output = tmp_path / "fused.safetensors"
    words = ["predictions", "fuse", *map(str, streams), "--weights", "1", "1.5", "--of", "logits", "-o", str(output)]
    assert main(words) == 0
    one, two = map(Predictions.load, streams)
    expected, found = fuse([one, two], [1, 1.5], of="logits"), Predictions.load(output)
    assert torch.equal(found.scores, expected.scores)
    assert found.protocol["fusion_of"] == ["rgb", "flow"]
    table = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert table["rgb"] == ["flow", "fusion"]
    assert table["acc_1"] == [f"{measure(each)['acc_1']:.4f}" for each in (one, two, expected)]
    assert main(words) == 2
    assert "is there already; --force replaces it" in capsys.readouterr().err
    assert main([*words, "--force"]) == 0


def test_fuse__finds_weights_and_says_on_what(streams, tmp_path, capsys):
    output = tmp_path / "fused.safetensors"
    assert main(["predictions", "fuse", *map(str, streams), "--grid", "-o", str(output)]) == 0
    told, found = capsys.readouterr().out, Predictions.load(output)
    one, two = map(Predictions.load, streams)
    best = max(measure(fuse([one, two], [step, 10 - step]), ["acc_1"])["acc_1"] for step in range(11))
    assert measure(found, ["acc_1"])["acc_1"] == best
    assert best > max(measure(each, ["acc_1"])["acc_1"] for each in (one, two))
    assert "The best of 11 weights by acc_1" in told
    assert "the best for these very videos" in told
    assert found.protocol["weights_chosen_on"] == "these videos"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--weights", "1", "2", "3"], "There are 2 streams and 3 weights"),
        (["--grid", "--weights", "1", "2"], "write one of the two"),
        (["--metric", "eec"], "Did you mean 'ece'?"),
    ],
)
def test_fuse__says_what_is_wrong(streams, capsys, words, message):
    assert main(["predictions", "fuse", *map(str, streams), *words]) == 2
    assert message in capsys.readouterr().err


def test_fuse__of_other_videos_names_them(streams, capsys):
    one = Predictions.load(streams[0])
    Predictions(one.idx[1:], one.labels[1:], one.scores[1:], one.names[1:], one.class_names).save(streams[1])
    assert main(["predictions", "fuse", *map(str, streams)]) == 2
    assert "flow lacks 1 of rgb: v00" in capsys.readouterr().err
